"""Views: sequences that hold nothing of their own."""

from __future__ import annotations

import pytest

from lorecraft.data.views import Joined, Mapped, Picked, where


def test_items_are_made_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def square(number: int) -> int:
        asked.append(number)
        return number * number

    squares = Mapped(square, range(1_000_000))
    assert (len(squares), asked) == (1_000_000, [])
    assert (squares[3], squares[-1], asked) == (9, 999_999**2, [3, 999_999])


def test_a_view_is_a_sequence_like_any_other() -> None:
    view = Picked("abcdef", [5, 0, 2])
    assert view == ["f", "a", "c"] and view != ["f", "a"] and view != ["f", "a", "b"]
    assert list(view) == ["f", "a", "c"]
    assert view[1:] == ["a", "c"] and view[::-1] == ["c", "a", "f"]
    assert view[-3] == "f" and "c" in view and not view[3:]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            view[outside]


def test_parts_are_joined_in_order_and_empty_ones_are_nothing() -> None:
    joined = Joined("ab", "", [], "cd")
    assert joined == ["a", "b", "c", "d"]
    assert (joined[2], len(Joined())) == ("c", 0)


def test_what_passes_is_picked() -> None:
    assert where(str.isupper, "aBcD") == ["B", "D"]
