"""Mixing in what the model should keep."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Literal

from lorecraft.data.records import Message, Record
from lorecraft.data.views import Joined, Mapped, Picked
from lorecraft.knowledge.general import rehearsal


def general_records(kind: Literal["text", "chat"], seed: int) -> list[Record]:
    """The rehearsal items told (``text``) or asked and answered (``chat``).

    Every item comes once, in seeded order, before any comes in its second phrasing, and so on: the
    first N records are as varied as N records can be.
    """
    rng = random.Random(f"{seed}/general/{kind}")
    by_item = []
    for item in rng.sample(rehearsal(), len(rehearsal())):
        phrasings = item.statements if kind == "text" else item.questions
        by_item.append(
            [
                Record(
                    id=f"general/{kind}/{item.id}/{index}",
                    messages=()
                    if kind == "text"
                    else (Message("user", phrasing), Message("assistant", item.answer)),
                    text=phrasing if kind == "text" else "",
                    origin="general",
                    phrasings=(phrasing,),
                    place="general knowledge",
                )
                for index, phrasing in rng.sample(list(enumerate(phrasings)), len(phrasings))
            ]
        )
    return [record for round_ in zip_longest(*by_item) for record in round_ if record is not None]


def mix(
    records: Sequence[Record], general: Sequence[Record], share: float, seed: int
) -> Sequence[Record]:
    """``records`` and as many general ones as make up ``share`` of the result, shuffled.

    General records are taken in order, none twice before all have been taken; a repeated one gets
    an id of its own. Where there are none, the result is ``records``.
    """

    def taken(turn: int) -> Record:
        lap, position = divmod(turn, len(general))
        record = general[position]
        return replace(record, id=f"{record.id}~{lap + 1}") if lap else record

    wanted = round(share / (1 - share) * len(records)) if general else 0
    mixed = Joined(records, Mapped(taken, range(wanted)))
    order = array("q", range(len(mixed)))
    random.Random(f"{seed}/mix").shuffle(order)
    return Picked(mixed, order)
