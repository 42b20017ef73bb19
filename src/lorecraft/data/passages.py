"""Documents as passages to read: plain texts for continued pre-training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lorecraft.data.chunks import BYTES_PER_TOKEN, chunks
from lorecraft.data.records import Record
from lorecraft.knowledge.documents import read_documents
from lorecraft.knowledge.strictness import Bad, strict


def passage_records(sources: Sequence[str], max_length: int, bad: Bad = strict) -> list[Record]:
    """A record for each piece of a section that ``max_length`` tokens have room for, under the
    section's headings. Raises DataError as ``read_documents``."""
    records = []
    numbers: Counter[str] = Counter()
    for section in read_documents(sources, bad) if sources else ():
        head = f"{section.heading}\n\n" if section.heading else ""
        room = BYTES_PER_TOKEN * max_length - len(head.encode())
        if room < BYTES_PER_TOKEN * max_length // 2:  # a heading that would crowd out the text
            head, room = "", BYTES_PER_TOKEN * max_length
        for text in chunks(section.text, room):
            numbers[section.file] += 1
            id_ = f"{section.file}:{numbers[section.file]}"
            records.append(Record(id=id_, text=head + text, place=section.place))
    return records
