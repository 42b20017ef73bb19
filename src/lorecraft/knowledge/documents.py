"""Documents as sections of text with their places. What stands in one is data: nothing is run,
fetched or followed."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorecraft.errors import DataError
from lorecraft.knowledge import html
from lorecraft.knowledge.files import SourceFile, files_at
from lorecraft.knowledge.jsonl import MISTAKES_SHOWN
from lorecraft.knowledge.strictness import Bad, strict

LARGEST = 200 * 2**20
"""Bytes of a file, or of all that is packed in one: a page of text has some thousand."""

_TAKE_OUT = "take these files out, or prepare with --keep-going"
_INSTALL = "pip install 'lorecraft[documents]'"
_MARKDOWN_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n(---|\.\.\.)\s*\n", re.DOTALL)

Block = tuple[int, str]
"""The level of a heading from 1, or 0; and its text."""


@dataclass(frozen=True)
class Section:
    """What stands under one heading, or on one page.

    Attributes:
        file: its name, from the folder that was named.
        place: file, and heading or page.
        heading: the headings that it is under (``Install > Linux``), or ``""``.
    """

    file: str
    place: str
    heading: str
    text: str


def read_documents(sources: Sequence[str], bad: Bad = strict) -> list[Section]:
    """Markdown, text, HTML, PDF and DOCX of files, folders and globs, in the order of their names.

    Raises:
        DataError: there is nothing to read; what ``bad`` raises, which is told of all files that
            cannot be read at once: broken, encrypted or without text, too large, a link that leads
            out of its folder, an extra that is missing.
    """
    sections: list[Section] = []
    wrong: list[DataError] = []
    for source in sources:
        for file in files_at(source, SUFFIXES):
            try:
                _check(file, source)
                sections += _sections(file)
            except DataError as error:
                wrong.append(error)
    if wrong:
        more = [f"and {len(wrong) - MISTAKES_SHOWN} more"] if len(wrong) > MISTAKES_SHOWN else []
        seen = [error.seen for error in wrong[:MISTAKES_SHOWN]]
        fix = next((error.fix for error in wrong if error.fix), _TAKE_OUT)
        bad(DataError("\n".join([*seen, *more]), wrong[0].expected, fix), "file", len(wrong))
    if not sections:
        raise DataError(f"no text in {', '.join(sources)}", "documents with text in them")
    return sections


def _check(file: SourceFile, source: str) -> None:
    folder = file.path.parents[file.name.count("/")]
    if not file.path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{file.path}: a link that leads out of {folder}", "files of the folder")
    try:
        size = file.path.stat().st_size
        if zipfile.is_zipfile(file.path):
            with zipfile.ZipFile(file.path) as packed:
                size = max(size, sum(entry.file_size for entry in packed.infolist()))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{file.path}: cannot be read ({error})") from error
    if size > LARGEST:
        raise DataError(
            f"{file.path}: {size / 2**20:,.0f} MB", f"at most {LARGEST / 2**20:,.0f} MB, unpacked"
        )


def _sections(file: SourceFile) -> Iterator[Section]:
    suffix = file.path.suffix.lower()
    if suffix == ".pdf":
        for number, text in enumerate(_pages(file.path), start=1):
            if text := clean(text):
                yield Section(file.name, f"{file.name} page {number}", "", text)
        return
    blocks = _BLOCKS.get(suffix, _plain)(file.path)
    for heading, text in _under_headings(blocks):
        if text := clean(text):
            place = f"{file.name}: {heading}" if heading else file.name
            yield Section(file.name, place, heading, text)


def _under_headings(blocks: Iterable[Block]) -> Iterator[tuple[str, str]]:
    """``(headings, text)`` of each section."""
    headings: list[Block] = []
    held: list[str] = []
    for level, text in blocks:
        if not level:
            held.append(text)
            continue
        yield " > ".join(title for _, title in headings), "\n\n".join(held)
        held = []
        headings = [*(above for above in headings if above[0] < level), (level, text)]
    yield " > ".join(title for _, title in headings), "\n\n".join(held)


def clean(text: str) -> str:
    """Without what no text should hold: halves of letters, control characters, spaces at ends."""
    text = text.encode("utf-8", "replace").decode()
    text = re.sub(r"[^\S\n]+\n", "\n", text.replace("\r\n", "\n"))
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1})", "a text in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _plain(path: Path) -> list[Block]:
    return [(0, _text(path))]


def _html(path: Path) -> list[Block]:
    return html.blocks(_text(path))


def _markdown(path: Path) -> Iterator[Block]:
    held: list[str] = []
    fence = ""
    for line in _FRONT_MATTER.sub("", _text(path)).splitlines():
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
        heading = None if fence else _MARKDOWN_HEADING.match(line)
        if heading:
            yield 0, "\n".join(held)
            yield len(heading[1]), heading[2]
            held = []
        else:
            held.append(line)
    yield 0, "\n".join(held)


def _pages(path: Path) -> list[str]:
    try:
        import pypdf
    except ImportError as error:
        raise DataError(f"{path}: reading PDF needs pypdf", "the extra", _INSTALL) from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it mends is no one's trouble
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted:
            raise DataError(f"{path}: encrypted", "a PDF that opens without a password")
        pages = [page.extract_text() for page in reader.pages]
    except DataError:
        raise
    # A broken PDF may raise anything, down to RecursionError.
    except Exception as error:
        raise DataError(f"{path}: broken PDF ({_first_line(error)})", "a PDF that opens") from error
    if not any(map(str.strip, pages)):
        raise DataError(
            f"{path}: {len(pages)} pages without text (a scan?)", "a PDF with text in it"
        )
    return pages


def _docx(path: Path) -> list[Block]:
    try:
        import docx
        from docx.table import Table
    except ImportError as error:
        raise DataError(f"{path}: reading DOCX needs python-docx", "the extra", _INSTALL) from error

    def block(item: Any) -> Block:
        if isinstance(item, Table):
            rows = (" | ".join(cell.text.strip() for cell in row.cells) for row in item.rows)
            return 0, "\n".join(rows)
        name = item.style.name if item.style is not None else ""
        heading = re.fullmatch(r"Title|Heading (\d)", name or "")
        if heading and item.text.strip():
            return int(heading[1] or 1), item.text.strip()
        return 0, item.text

    try:
        return [block(item) for item in docx.Document(str(path)).iter_inner_content()]
    # A broken package may raise anything: KeyError, lxml's errors, BadZipFile.
    except Exception as error:
        raise DataError(
            f"{path}: broken DOCX ({_first_line(error)})", "a DOCX that opens"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_BLOCKS: dict[str, Callable[[Path], Iterable[Block]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
}
SUFFIXES = (*_BLOCKS, ".pdf", ".txt", ".rst")
