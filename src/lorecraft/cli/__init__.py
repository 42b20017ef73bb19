"""The command line: one thin file for each command; what is heavy loads when a command needs it."""

from lorecraft.cli.app import app, main

__all__ = ["app", "main"]
