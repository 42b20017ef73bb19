"""Text as its tokens come: stop strings are never shown, and nothing is shown too early."""

from __future__ import annotations

import pytest

from lorecraft.data.decode import Decoded


class Bytes:
    stop_ids = frozenset({0})

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


def pieces(said, stop=()):
    answer, given = Decoded(Bytes(), stop), []
    for token in said:
        answer.add(token)
        given.append(answer.piece())
        if answer.ended:
            break
    return [*given, answer.piece(last=True)], answer


@pytest.mark.parametrize(
    ("said", "stop", "expected"),
    [
        ("one two", (), ["o", "n", "e", " ", "t", "w", "o", ""]),
        ("ab--cd", ("--",), ["a", "b", "", "", ""]),
        ("ab-cd", ("--",), ["a", "b", "", "-c", "d", ""]),
        ("ab-", ("--",), ["a", "b", "", "-"]),
        ("say END now", ("now", "END"), ["s", "a", "y", " ", "", "", "", ""]),
    ],
)
def test_a_piece_is_given_when_it_is_certain(said, stop, expected):
    given, answer = pieces(said.encode(), stop)
    assert given == expected
    assert answer.text == "".join(expected)


def test_half_a_character_waits_for_its_other_bytes():
    assert pieces("é!".encode())[0] == ["", "é", "!", ""]
    assert pieces("é!".encode()[:1])[0] == ["", "\ufffd"]


def test_the_tokenizers_own_end_ends_it():
    given, answer = pieces([97, 0, 98])
    assert answer.ended
    assert given == ["a", "", ""]
