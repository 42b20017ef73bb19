"""Sequences that hold none of their items: a data set may be larger than memory.

An item is made anew each time it is asked for, from a line of a file in the end.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar, overload

S = TypeVar("S")
T = TypeVar("T")


class View(Sequence[T]):
    """A sequence whose items come from elsewhere; equal to any sequence of equal items."""

    def __init__(self, length: int) -> None:
        self._length = length

    @abstractmethod
    def at(self, index: int) -> T:
        """The item at an index from 0."""

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> View[T]: ...
    def __getitem__(self, index: int | slice) -> T | View[T]:
        if isinstance(index, slice):
            return Picked(self, range(*index.indices(self._length)))
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self.at(index if index >= 0 else index + self._length)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Picked(View[T]):
    """Some items of a sequence, by their indices."""

    def __init__(self, source: Sequence[T], indices: Sequence[int]) -> None:
        super().__init__(len(indices))
        self._source, self._indices = source, indices

    def at(self, index: int) -> T:
        return self._source[self._indices[index]]


class Joined(View[T]):
    """Several sequences, one after another."""

    def __init__(self, *parts: Sequence[T]) -> None:
        super().__init__(sum(map(len, parts)))
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def at(self, index: int) -> T:
        part = bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]


class Mapped(View[T]):
    """A function of each item."""

    def __init__(self, function: Callable[[S], T], source: Sequence[S]) -> None:
        super().__init__(len(source))
        self._function, self._source = function, source

    def at(self, index: int) -> T:
        return self._function(self._source[index])


def where(test: Callable[[T], bool], source: Sequence[T]) -> View[T]:
    """The items that pass a test, which is made now."""
    return Picked(source, array("q", (i for i, item in enumerate(source) if test(item))))


def evenly(items: Sequence[T], limit: int | None) -> Sequence[T]:
    """At most ``limit`` of them, evenly spaced."""
    if limit is None or limit >= len(items):
        return items
    return Picked(items, [index * len(items) // limit for index in range(limit)])
