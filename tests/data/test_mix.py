"""Mixing: the share is kept, and no general record comes twice before all have come."""

from __future__ import annotations

import pytest

from lorecraft.data.mix import general_records, mix
from lorecraft.data.records import Record
from lorecraft.knowledge.general import rehearsal, suite


def records(name: str, count: int) -> list[Record]:
    return [Record(f"{name}{n}", text=f"{name} {n}") for n in range(count)]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_the_share_is_that_of_the_result(share: float) -> None:
    mixed = mix(records("own", 100), records("general", 2000), share, 0)
    general = sum(record.id.startswith("general") for record in mixed)
    assert general / len(mixed) == pytest.approx(share, abs=0.01)
    assert len(mixed) - general == 100


def test_general_records_repeat_only_when_all_have_been_taken() -> None:
    mixed = mix(records("own", 9), records("general", 4), 0.5, 0)
    assert sorted(r.id for r in mixed if "~" not in r.id and r.id.startswith("general")) == [
        f"general{n}" for n in range(4)
    ]
    assert len({record.id for record in mixed}) == len(mixed) == 18
    assert mixed == mix(records("own", 9), records("general", 4), 0.5, 0)


def test_without_general_records_nothing_is_added() -> None:
    assert len(mix(records("own", 5), [], 0.5, 0)) == 5


def test_general_records_come_item_by_item_and_only_from_the_rehearsal() -> None:
    chat = general_records("chat", 0)
    items = len(rehearsal())
    assert len({record.id.rsplit("/", 1)[0] for record in chat[:items]}) == items
    examined = {item.id for item in suite()}
    assert not any(r.id.removeprefix("general/chat/").rsplit("/", 1)[0] in examined for r in chat)
    told = general_records("text", 0)
    assert all(record.text and not record.messages for record in told)
    assert {record.origin for record in (*chat, *told)} == {"general"}
