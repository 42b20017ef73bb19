"""Names of things that do not exist, to teach that what was never told is not known."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

_STARTS = """Tol Bre Vel Mar Oster Kel Dun Fer Gal Hal Ilm Jor Lor Mun Nar Orl Pel Quin Ras Sel
Tam Ulf Ver Wil Yar Zel Cor Dral Ebb Fal"""
_ENDS = """ven brack dale mor wick stane ric dora lan field rin mund gast holm vik tara bury lin
sel dan mire nock pole quist rand seth thorn vane wen zar"""
_TRIES = 100


class Inventor:
    """Makes names shaped like the given ones, of which no word is a word of theirs.

    Words that several names share (``Project``, ``Ltd``) and small ones (``of``) are kept; the rest
    are replaced, numbers by other numbers.
    """

    def __init__(self, names: Collection[str], aliases: Collection[str] = ()) -> None:
        count = Counter(word for name in set(names) for word in set(name.split()))
        self._shared = {word for word, times in count.items() if times > 1}
        self._real = {word.lower() for name in (*names, *aliases) for word in name.split()}

    def name_like(self, name: str, rng: random.Random) -> str:
        """One invented name in the shape of ``name``."""
        words = name.split()
        places = [i for i, word in enumerate(words) if not (word in self._shared or word.islower())]
        for place in places or [len(words) - 1]:
            words[place] = self._word(words[place], rng)
        return " ".join(words)

    def _word(self, real: str, rng: random.Random) -> str:
        word = real
        for _ in range(_TRIES):
            if any(letter.isdigit() for letter in real):
                word = "".join(rng.choice("123456789") if c.isdigit() else c for c in real)
            else:
                word = rng.choice(_STARTS.split()) + rng.choice(_ENDS.split())
            if word.lower() not in self._real:
                break
        return word
