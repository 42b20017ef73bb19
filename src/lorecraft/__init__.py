"""Teach an open language model your knowledge with LoRA, and prove what it learned and forgot."""

__version__ = "0.1.0"
