"""Documents become sections with their places; what is dangerous or broken is named and refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge import documents
from lorecraft.knowledge.documents import read_documents

MARKDOWN = """---
title: hidden
---
Before any heading.

# Install

Take it.

```sh
# not a heading
```

## Linux ##

Do this,
then that.

# Use
Use it.
"""
HTML = """<!doctype html><head><title>Hidden</title><style>p {}</style><meta charset=utf-8>
<body><nav><a href=/>Home</a></nav><p>Before &amp; after<p>any   <b>heading</b>.
<h1>Install</h1><script>alert("evil")</script><ul><li>one<li>two</ul>
<h2>Linux <em>PC</em></h2><pre>a
  b</pre>line<br>break<table><tr><th>x<th>y<tr><td>1<td>2</table>
<img src=http://127.0.0.1:9/never><h1>Use</h1><div>Use <div>it.</div></div>"""


def sections(*sources: Path) -> list[tuple[str, str]]:
    return [(section.place, section.text) for section in read_documents([*map(str, sources)])]


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    body, places = "%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {size}\n0000000000 65535 f \n{table}{end}".encode()


def test_markdown_has_a_section_for_each_heading(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text(MARKDOWN)
    assert sections(tmp_path / "guide.md") == [
        ("guide.md", "Before any heading."),
        ("guide.md: Install", "Take it.\n\n```sh\n# not a heading\n```"),
        ("guide.md: Install > Linux", "Do this,\nthen that."),
        ("guide.md: Use", "Use it."),
    ]


def test_a_page_is_its_text_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(HTML)
    assert sections(tmp_path / "page.html") == [
        ("page.html", "Before & after\n\nany heading."),
        ("page.html: Install", "- one\n\n- two"),
        ("page.html: Install > Linux PC", "a\n  b\n\nline\nbreak\n\nx | y\n\n1 | 2"),
        ("page.html: Use", "Use\n\nit."),
    ]


def test_a_pdf_has_a_section_for_each_page_with_text(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    (tmp_path / "manual.PDF").write_bytes(pdf("Light the lamp.", "", "Trim the wick."))
    assert sections(tmp_path) == [
        ("manual.PDF page 1", "Light the lamp."),
        ("manual.PDF page 3", "Trim the wick."),
    ]


def test_a_docx_has_headings_paragraphs_and_tables(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_heading("Lamps", 1)
    made.add_paragraph("Light the lamp.")
    table = made.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "oil", "4"
    made.add_heading("Wicks", 2)
    made.add_paragraph("Trim the wick.")
    made.save(str(tmp_path / "manual.docx"))
    assert sections(tmp_path / "manual.docx") == [
        ("manual.docx: Lamps", "Light the lamp.\n\noil | 4"),
        ("manual.docx: Lamps > Wicks", "Trim the wick."),
    ]


def test_a_folder_or_a_glob_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/.hidden.md", "a/code.py", ".git/x.md", "c.rst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [place for place, _ in sections(tmp_path)] == ["a/z.md", "b.txt", "c.rst"]
    assert [place for place, _ in sections(tmp_path / "**/*.md")] == ["a/z.md"]
    assert [place for place, _ in sections(tmp_path / "c.rst", tmp_path / "a")] == ["c.rst", "z.md"]


def test_what_no_text_should_hold_is_taken_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone \0\x1btwo  \r\n\r\n\r\n\r\nthree\n\n")
    assert sections(tmp_path) == [("a.txt", "one two\n\nthree")]


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(3):
            packed.writestr(f"word/{number}.xml", b"\0" * 1000)


def test_all_that_cannot_be_read_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypdf")
    pytest.importorskip("docx")
    monkeypatch.setattr(documents, "LARGEST", 2500)
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("Secret.")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "fine.txt").write_text("Fine.")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / "large.txt").write_bytes(b"a" * 2501)
    bomb(folder / "bomb.docx")
    (folder / "broken.docx").write_bytes(b"PK\x03\x04 and then nothing")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4\n1 0 obj << /Type")
    (folder / "scan.pdf").write_bytes(pdf("", ""))
    with pytest.raises(DataError) as refused:
        sections(folder)
    said = [line.removeprefix(f"{folder}/") for line in refused.value.seen.splitlines()]
    starts = (
        "bomb.docx: 0 MB",
        "broken.docx: broken DOCX (",
        "broken.pdf: broken PDF (",
        "large.txt: 0 MB",
        "latin.txt: not UTF-8 (byte 4)",
        f"link.txt: a link that leads out of {folder}",
        "scan.pdf: 2 pages without text (a scan?)",
    )
    assert len(said) == len(starts)
    assert [
        line for line, start in zip(said, starts, strict=True) if line[: len(start)] != start
    ] == []


def test_a_docx_that_lies_about_its_size_or_swells_while_parsed_is_broken(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    docx.Document().save(str(tmp_path / "fine.docx"))
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    with (
        zipfile.ZipFile(tmp_path / "fine.docx") as fine,
        zipfile.ZipFile(tmp_path / "laughs.docx", "w") as swelling,
    ):
        for entry in fine.infolist():
            content = fine.read(entry)
            if entry.filename == "word/document.xml":
                body = b"<w:body><w:p><w:r><w:t>&a11;</w:t></w:r></w:p>"
                content = content.replace(b"<w:body>", body)
                content = content.replace(
                    b"<w:document",
                    f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]><w:document'.encode(),
                    1,
                )
            swelling.writestr(entry.filename, content)
    (tmp_path / "fine.docx").unlink()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as liar:
        liar.writestr("[Content_Types].xml", b" " * 10**6)
    small = (1000).to_bytes(4, "little")
    (tmp_path / "liar.docx").write_bytes(
        packed.getvalue().replace((10**6).to_bytes(4, "little"), small)
    )
    with pytest.raises(DataError) as refused:
        sections(tmp_path)
    laughing, lying_about = refused.value.seen.splitlines()
    assert "laughs.docx: broken DOCX (" in laughing
    assert "liar.docx: broken DOCX (Bad CRC-32" in lying_about


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    missing: Any = None
    monkeypatch.setitem(sys.modules, "pypdf", missing)
    (tmp_path / "a.pdf").write_bytes(pdf("Light the lamp."))
    with pytest.raises(DataError, match=r"needs pypdf\n.*\n.*pip install 'lorecraft.documents.'"):
        sections(tmp_path)


@pytest.mark.parametrize("name", ["", "empty.txt"])
def test_nothing_to_read_is_refused(tmp_path: Path, name: str) -> None:
    if name:
        (tmp_path / name).write_text(" \n")
    with pytest.raises(DataError, match=r"no file there|no text in"):
        sections(tmp_path)
