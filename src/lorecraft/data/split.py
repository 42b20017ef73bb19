"""Splits that nothing leaks across."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from lorecraft.data.records import Record
from lorecraft.data.similar import NEAR, Similar


def asked(record: Record) -> tuple[str, ...]:
    """What stands before the model's own words: the user's turns, or a plain text itself."""
    if record.text:
        return (record.text,)
    return tuple(message.content for message in record.messages if message.role == "user")


def split_groups(
    records: Sequence[Record], share: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """``(train, valid)`` in which near-duplicates and records with a common fact stay together.

    Whole groups go to ``valid``, in seeded order, while it holds no more than ``share`` of the
    records. It is empty when every group is larger than that.
    """
    groups = _groups(records)
    random.Random(f"{seed}/split").shuffle(groups)
    room = max(1, round(share * len(records))) if len(groups) > 1 else 0
    held: set[int] = set()
    for group in groups:
        if len(held) + len(group) <= room:
            held.update(group)
    train = [record for index, record in enumerate(records) if index not in held]
    return train, [records[index] for index in sorted(held)]


def without_leaks(valid: Sequence[Record], train: Sequence[Record]) -> list[Record]:
    """``valid`` less the records that ask what ``train`` asks in nearly the same words."""
    known = Similar([" ".join(asked(record)) for record in train])
    best = known.most_like([" ".join(asked(record)) for record in valid])
    return [record for record, like in zip(valid, best, strict=True) if not like or like[1] < NEAR]


def _groups(records: Sequence[Record]) -> list[list[int]]:
    leader = list(range(len(records)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    similar = Similar([" ".join(asked(record)) for record in records])
    for index, first in enumerate(similar.first):
        leader[find(index)] = find(first)
    for i, j in similar.pairs():
        leader[find(i)] = find(j)
    owner: dict[str, int] = {}
    for index, record in enumerate(records):
        for fact in record.facts:
            leader[find(index)] = find(owner.setdefault(fact, index))
    groups = defaultdict(list)
    for index in range(len(records)):
        groups[find(index)].append(index)
    return list(groups.values())
