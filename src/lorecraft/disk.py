"""Files and folders that are whole or not there, whatever kills the process or fills the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Within: write the file or folder that is to be ``path`` at the path that is given.

    At the end it is synced and takes its place. When anything fails, what was at ``path`` stays
    and nothing is left beside it. Raises OSError, which names ``path``.
    """
    partial, replaced = (path.with_name(f".{path.name}.{what}") for what in ("partial", "replaced"))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        _put_back(replaced, path)
        try:
            yield partial
            _sync(partial)
            if path.is_dir():  # a folder does not replace another at one stroke
                _remove(replaced)
                path.rename(replaced)
            partial.replace(path)
            _sync_entry(path.parent)
        except BaseException:
            with suppress(OSError):
                _put_back(replaced, path)
                _remove(partial)
            raise
        _remove(replaced)


def _put_back(replaced: Path, path: Path) -> None:
    """What was being replaced, where that was cut short."""
    if replaced.exists() and not path.exists():
        replaced.rename(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within: an OSError that names no file, as a full disk's, names ``path``."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make a file last, or a folder with all in it."""
    if path.is_dir():
        for entry in path.iterdir():
            _sync(entry)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
