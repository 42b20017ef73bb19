"""Near-duplicates: MinHash finds candidates, the exact Jaccard similarity decides.

Texts are compared as sets of five-letter shingles of their normal form. MinHash: A. Broder, "On
the resemblance and containment of documents" (1997). Candidates share a band of minima: J.
Leskovec, A. Rajaraman and J. Ullman, "Mining of Massive Datasets", chapter 3. Of a text 176 bytes
are held, so that millions can be compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lorecraft.knowledge.ontology import normal

T = TypeVar("T")
Ints = NDArray[np.int64]
Words = NDArray[np.uint32]
Sketches = tuple[NDArray[np.uint64], Words]
"""A digest and the bands of minima of each of some texts."""

NEAR = 0.8
"""Similarity from which two texts count as near-duplicates."""

# Texts of similarity s share a minimum with probability s, and a band of six with s**6. Of 42 bands
# near-duplicates share two or more but for 1 pair in 20,000, texts of similarity 0.1 in 1 of 10**9.
_BANDS, _ROWS = 42, 6
_SHARED = 2
_SHINGLE = 5
_COMPARISONS = 1_000_000
"""Where so many texts are much alike, each is compared with its likeliest few; see ``_few``."""
_LETTERS = 1 << 18
_PAIRS = 1 << 15
"""What is computed at once."""

_random = np.random.default_rng(20261121)
_PLACES = _random.integers(1 << 63, size=_SHINGLE, dtype=np.uint64)
_FACTORS = _random.integers(1 << 32, size=_BANDS * _ROWS, dtype=np.uint32) | np.uint32(1)
_SHIFTS = _random.integers(1 << 32, size=_BANDS * _ROWS, dtype=np.uint32)
_MIXERS = _random.integers(1 << 63, size=_ROWS, dtype=np.uint64)


def shingles(text: str) -> frozenset[str]:
    """The five-letter pieces of a text's normal form; a shorter text is its own piece."""
    plain = normal(text)
    return frozenset(plain[i : i + _SHINGLE] for i in range(max(1, len(plain) - _SHINGLE + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Shared pieces over all pieces, 0 to 1."""
    return len(first & second) / len(first | second)


def sketch(texts: Sequence[str]) -> Sketches:
    """What texts are compared by, made once: 176 bytes each."""
    bands = np.empty((len(texts), _BANDS), np.uint32)
    digests = np.empty(len(texts), np.uint64)
    end = 0
    for chunk, plain in _chunks(texts, lambda text: text):
        start, end = end, end + len(chunk)
        digests[start:end], bands[start:end] = _digests(plain), _bands(plain)
    return digests, bands


class Similar:
    """Texts in which those like a given one can be found; candidates are read again.

    Texts with the same normal form are one: ``first[i]`` is the index of the first text that is the
    same as text ``i``, and only first ones are found.
    """

    def __init__(self, texts: Sequence[str], sketches: Sketches | None = None) -> None:
        """``sketches`` are those of ``texts``, where they are known."""
        self._pieces = _Shingles(texts)
        digests, bands = sketches or sketch(texts)
        _, firsts, same = np.unique(digests, return_index=True, return_inverse=True)
        self.first: list[int] = firsts[same].tolist()
        self._known = np.sort(firsts)
        if len(firsts) < len(texts):
            digests, bands = digests[self._known], bands[self._known]
        self._digests, self._bands = digests, bands
        self._few = _few(len(firsts))

    @cached_property
    def _tables(self) -> list[_Table]:
        return [_Table(keys, self._few) for keys in (self._digests, *self._bands.T)]

    def matches(self, texts: Iterable[tuple[T, str]]) -> Iterator[tuple[T, int, float]]:
        """``(name, index, similarity)`` for each of some named texts and what may be like it here.

        In the order of ``texts``, and of the index. What is less alike than 0.5 is rarely among it.
        """
        for chunk, plain in _chunks(texts, lambda named: named[1]):
            pieces = _Shingles(plain)
            keys = [_digests(plain), *_bands(plain).T]
            for place, known in _likeliest(self._tables, keys, self._few):
                index = int(self._known[known])
                yield chunk[place][0], index, jaccard(pieces[place], self._pieces[index])

    def pairs(
        self, wanted: Callable[[int, int], bool] = lambda i, j: True
    ) -> Iterator[tuple[int, int]]:
        """``(i, j)``, ``i < j``, of first texts that are near-duplicates, of those ``wanted``."""
        vain: Counter[int] = Counter()
        for i, j in self._candidates():
            if vain[j] >= self._few or not wanted(i, j):
                continue
            if jaccard(self._pieces[i], self._pieces[j]) >= NEAR:
                yield i, j
            else:
                vain[j] += 1

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Each pair that shares enough bands, in the first band where it is met: in one that many
        texts share not all pairs are."""
        met: Ints = np.zeros(0, np.int64)
        for number in range(_BANDS):
            new = [met]
            for earlier, later in _together(self._bands[:, number], self._few):
                shared = (self._bands[earlier] == self._bands[later]).sum(axis=1)
                pairs = ((earlier << 32) | later)[shared >= _SHARED]
                pairs = pairs[~_among(met, pairs)]
                new.append(pairs)
                yield from zip(
                    self._known[pairs >> 32].tolist(),
                    self._known[pairs & 0xFFFFFFFF].tolist(),
                    strict=True,
                )
            met = np.sort(np.concatenate(new))


def _among(known: Ints, numbers: Ints) -> NDArray[np.bool_]:
    """Which of the numbers are among the known, which are in order."""
    places = np.searchsorted(known, numbers)
    return np.append(known, -1)[places] == numbers


class _Shingles:
    """The shingles of texts, for a while those that were asked for before."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._known: dict[int, frozenset[str]] = {}
        self._held = 0

    def __getitem__(self, index: int) -> frozenset[str]:
        if index not in self._known:
            if self._held > _LETTERS:
                self._known, self._held = {}, 0
            self._known[index] = shingles(self._texts[index])
            self._held += len(self._known[index])
        return self._known[index]


class _Table:
    """Where each key stands, of one that stands in many places the first ``few``."""

    def __init__(self, keys: NDArray[np.unsignedinteger], few: int) -> None:
        self._few = few
        self._order = np.argsort(keys, kind="stable").astype(np.uint32)
        self._keys = keys[self._order]

    def find(self, keys: NDArray[np.unsignedinteger]) -> tuple[Ints, Words]:
        """``(i, place)`` of each of ``keys`` and the places where it stands here."""
        start = np.searchsorted(self._keys, keys)
        count = np.minimum(np.searchsorted(self._keys, keys, side="right") - start, self._few)
        nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(np.arange(len(keys)), count), self._order[np.repeat(start, count) + nth]


def _likeliest(
    tables: Sequence[_Table], keys: Sequence[NDArray[np.unsignedinteger]], few: int
) -> Iterator[tuple[int, int]]:
    """``(i, place)``: for each text the few places that share most keys with it, in order."""
    found = [table.find(key) for table, key in zip(tables, keys, strict=True)]
    both = np.concatenate([(i << 32) | place for i, place in found])
    both, shared = np.unique(both, return_counts=True)
    i, place = both >> 32, both & 0xFFFFFFFF
    ranked = np.lexsort((-shared, i))
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    kept = np.sort(ranked[rank < few])
    yield from zip(i[kept].tolist(), place[kept].tolist(), strict=True)


def _together(keys: Words, few: int) -> Iterator[tuple[Ints, Ints]]:
    """``(earlier, later)`` places with the same key, some at a time; of many, the first few."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    places = np.arange(len(keys))
    start = np.searchsorted(ordered, ordered)
    later = places[places > start]
    for nth in range(few):
        later = later[later > start[later] + nth]
        if not len(later):
            return
        for some in np.array_split(later, -(-len(later) // _PAIRS)):
            yield order[start[some] + nth], order[some]


def _few(texts: int) -> int:
    """With how many of so many texts each is compared: all in a small set, 8 in a large one."""
    return max(8, _COMPARISONS // max(1, texts))


def _chunks(items: Iterable[T], text_of: Callable[[T], str]) -> Iterator[tuple[list[T], list[str]]]:
    """Items with the normal forms of their texts, some at a time."""
    chunk: list[T] = []
    plain: list[str] = []
    letters = 0
    for item in items:
        chunk.append(item)
        plain.append(normal(text_of(item)))
        letters += len(plain[-1])
        if letters >= _LETTERS:
            yield chunk, plain
            chunk, plain, letters = [], [], 0
    if chunk:
        yield chunk, plain


def _digests(plain: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of each text."""
    raw = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in plain)
    return np.frombuffer(raw, np.uint64)


def _bands(plain: Sequence[str]) -> Words:
    """[texts, bands]: what similar texts share some of."""
    padded = [text.ljust(_SHINGLE, "\0") for text in plain]
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    letters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, _SHINGLE)
    within = np.ones(len(letters), bool)
    for last in range(1, _SHINGLE):
        within[ends - last] = False
    pieces = ((windows @ _PLACES) >> np.uint64(32)).astype(np.uint32)[within[: len(windows)]]
    starts = ends - lengths - (_SHINGLE - 1) * np.arange(len(plain))
    bands = np.zeros((len(plain), _BANDS), np.uint64)
    hashes = np.empty_like(pieces)
    for number, (factor, shift) in enumerate(zip(_FACTORS, _SHIFTS, strict=True)):
        np.multiply(pieces, factor, out=hashes)
        np.add(hashes, shift, out=hashes)
        band, row = divmod(number, _ROWS)
        bands[:, band] += np.minimum.reduceat(hashes, starts) * _MIXERS[row]
    return (bands >> np.uint64(32)).astype(np.uint32)
