"""Near-duplicates: MinHash finds candidates, the exact Jaccard similarity decides.

Texts are compared as sets of five-letter shingles of their normal form. MinHash: A. Broder, "On
the resemblance and containment of documents" (1997).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datasketch import MinHash, MinHashLSH

from lorecraft.knowledge.ontology import normal

NEAR = 0.8
"""Similarity from which two texts count as near-duplicates."""

# Far under NEAR, so that the chance that a near-duplicate is no candidate is below 1 in 10,000.
_CANDIDATE = 0.5
_PERMUTATIONS = 128
_SHINGLE = 5


def shingles(text: str) -> frozenset[str]:
    """The five-letter pieces of a text's normal form; a shorter text is its own piece."""
    plain = normal(text)
    return frozenset(plain[i : i + _SHINGLE] for i in range(max(1, len(plain) - _SHINGLE + 1)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Shared pieces over all pieces, 0 to 1."""
    return len(first & second) / len(first | second)


class Similar:
    """Texts in which those like a given one can be found.

    Texts with the same normal form are one: ``first[i]`` is the index of the first text that is the
    same as text ``i``, and only first ones are found.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        seen: dict[str, int] = {}
        self.first = [seen.setdefault(normal(text), index) for index, text in enumerate(texts)]
        self._shingles = {index: shingles(text) for text, index in seen.items()}
        self._index = MinHashLSH(threshold=_CANDIDATE, num_perm=_PERMUTATIONS)
        self._signatures = dict(
            zip(self._shingles, _signatures(list(self._shingles.values())), strict=True)
        )
        for index, signature in self._signatures.items():
            self._index.insert(index, signature)

    def most_like(self, texts: Sequence[str]) -> list[tuple[int, float] | None]:
        """For each of ``texts``, ``(index, similarity)`` of the most similar text here.

        ``None`` where none comes near 0.5.
        """
        sets = [shingles(text) for text in texts]
        found = map(self._index.query, _signatures(sets))
        return [
            max(
                ((index, jaccard(pieces, self._shingles[index])) for index in candidates),
                key=lambda like: (like[1], -like[0]),
                default=None,
            )
            for pieces, candidates in zip(sets, found, strict=True)
        ]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """All ``(i, j)``, ``i < j``, of first texts that are near-duplicates."""
        for i, signature in self._signatures.items():
            for j in self._index.query(signature):
                if i < j and jaccard(self._shingles[i], self._shingles[j]) >= NEAR:
                    yield i, j


def _signatures(sets: Sequence[frozenset[str]]) -> Iterator[MinHash]:
    encoded = ([piece.encode() for piece in pieces] for pieces in sets)
    yield from MinHash.generator(encoded, num_perm=_PERMUTATIONS)
