"""Long texts are cut where it hurts least."""

from __future__ import annotations

import pytest

from lorecraft.data.chunks import chunks


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("", 9, []),
        ("  one \n\n two  ", 99, ["one \n\n two"]),
        ("one\n\ntwo\n\nthree", 8, ["one\n\ntwo", "three"]),
        ("one two. three four.\n\nfive", 14, ["one two.", "three four.", "five"]),
        ("a\nb\nc d", 3, ["a\nb", "c d"]),
        ("one two three", 7, ["one two", "three"]),
        ("lighthouse", 4, ["ligh", "thou", "se"]),
        ("ä" * 5, 4, ["ää", "ää", "ä"]),
        ("x lighthouse y", 6, ["x", "lighth", "ouse y"]),
    ],
)
def test_pieces_end_at_paragraphs_lines_sentences_or_words(
    text: str, limit: int, expected: list[str]
) -> None:
    assert chunks(text, limit) == expected


def test_no_piece_is_too_long_and_nothing_is_lost() -> None:
    text = "\n\n".join(f"Light {n} burns. " * (n % 7) + f"\nand {n}" for n in range(200))
    pieces = chunks(text, 100)
    assert max(len(piece.encode()) for piece in pieces) <= 100
    assert " ".join(" ".join(pieces).split()) == " ".join(text.split())
