"""Splits that nothing leaks across."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.records import Record
from lorecraft.data.similar import NEAR, Similar
from lorecraft.data.views import Mapped, Picked


def asked(record: Record) -> tuple[str, ...]:
    """What stands before the model's own words: the user's turns, or a plain text itself."""
    if record.text:
        return (record.text,)
    return tuple(message.content for message in record.messages if message.role == "user")


def question(record: Record) -> str:
    """All that is asked of the model, as one text: what records are compared by."""
    return " ".join(asked(record))


def split_groups(
    records: Sequence[Record], share: float, seed: int
) -> tuple[Sequence[Record], Sequence[Record]]:
    """``(train, valid)`` in which near-duplicates and records with a common fact stay together.

    Whole groups go to ``valid``, in seeded order, while it holds no more than ``share`` of the
    records. It is empty when every group is larger than that.
    """
    group_of = _groups(records)
    sizes = np.bincount(group_of).tolist()
    groups = array("q", range(len(sizes)))
    random.Random(f"{seed}/split").shuffle(groups)
    room = max(1, round(share * len(records))) if len(groups) > 1 else 0
    held = bytearray(len(groups))
    for group in groups:
        if sizes[group] <= room:
            room -= sizes[group]
            held[group] = True
    train, valid = array("q"), array("q")
    for index, group in enumerate(group_of.tolist()):
        (valid if held[group] else train).append(index)
    return Picked(records, train), Picked(records, valid)


def without_leaks(valid: Sequence[Record], train: Sequence[Record]) -> Sequence[Record]:
    """``valid`` less the records that ask what ``train`` asks in nearly the same words."""
    similar = Similar(Mapped(question, valid))
    found = similar.matches((None, question(record)) for record in train)
    leaks = {index for _, index, score in found if score >= NEAR}
    return Picked(valid, [i for i, first in enumerate(similar.first) if first not in leaks])


def _groups(records: Sequence[Record]) -> NDArray[np.int64]:
    """The number of each record's group; groups are numbered as they appear."""
    leader = array("q", range(len(records)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    def join(first: int, second: int) -> None:
        leader[find(first)] = find(second)

    similar = Similar(Mapped(question, records))
    for index, first in enumerate(similar.first):
        join(index, first)
    for i, j in similar.pairs(wanted=lambda i, j: find(i) != find(j)):
        join(i, j)
    owner: dict[str, int] = {}
    for index, record in enumerate(records):
        for fact in record.facts:
            join(index, owner.setdefault(fact, index))
    leaders = np.array([find(index) for index in range(len(records))], np.int64)
    _, first_of, group_of = np.unique(leaders, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_of))[group_of]
