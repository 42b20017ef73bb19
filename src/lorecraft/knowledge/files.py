"""The files that a source names: one, those of a folder, or those that a glob matches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import IO, Literal, Protocol

from lorecraft.errors import DataError


class Readable(Protocol):
    """What rows are read from: a path, or a file elsewhere that is read as it comes."""

    @property
    def suffix(self) -> str: ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...


@dataclass(frozen=True, order=True)
class SourceFile:
    """A file, and its name for people: the path from the folder that the source names."""

    path: Path
    name: str


def files_at(where: str, suffixes: Collection[str]) -> list[SourceFile]:
    """In the order of their names. A file that is named itself may have any suffix; of a folder,
    what is hidden (``.git``) or has another suffix is passed over.

    Raises DataError when there is none.
    """
    path = Path(where)
    if path.is_file():
        return [SourceFile(path, path.name)]
    if has_magic(where) and not path.is_dir():
        root = next(above for above in path.parents if not has_magic(str(above)))
        paths = list(root.glob(path.relative_to(root).as_posix()))
    else:
        root, paths = path, list(path.rglob("*"))
    found = sorted(
        SourceFile(path, path.relative_to(root).as_posix())
        for path in paths
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith((".", "~$")) for part in path.relative_to(root).parts)
    )
    if not found:
        raise DataError(f"{where}: no file there", f"files that end in {', '.join(suffixes)}")
    return found
