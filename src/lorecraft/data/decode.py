"""An answer's tokens back to text, as they come."""

from __future__ import annotations

from collections.abc import Sequence

from lorecraft.data.turns import Tokenizer


class Decoded:
    """The text of an answer that is still being made; it ends before the first of the ``stop``
    strings, or at one of the tokenizer's own ends."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._tokens: list[int] = []
        self._given = 0
        self.ended = False

    def add(self, token: int) -> None:
        """Sees whether the answer has ``ended``."""
        if token in self._tokenizer.stop_ids:
            self.ended = True
            return
        self._tokens.append(token)
        if self._stop:
            text = self._tokenizer.decode(self._tokens)
            self.ended = any(stop in text for stop in self._stop)

    @property
    def text(self) -> str:
        """All of it so far."""
        text = self._tokenizer.decode(self._tokens)
        return text[: min((at for at in map(text.find, self._stop) if at >= 0), default=len(text))]

    def piece(self, last: bool = False) -> str:
        """What has become certain of the text since the piece before.

        Until the ``last``, half a character waits for its other bytes, and what may become a stop
        string for the rest of it.
        """
        text = self.text
        certain = len(text)
        if not (last or self.ended):
            if text.endswith("\ufffd"):
                return ""
            certain -= max((_overlap(text, stop) for stop in self._stop), default=0)
        piece, self._given = text[self._given : certain], certain
        return piece


def _overlap(text: str, stop: str) -> int:
    """How much of the text's end is the beginning of ``stop``."""
    return next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
