"""Sentences without a triple: their subject, and where they are cut."""

from __future__ import annotations

import pytest

from lorecraft.knowledge.sentences import completion_cut, subject_of


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Tidewater Instruments was founded in 1987.", "Tidewater Instruments"),
        ("The reading room is on the second floor.", "the reading room"),
        ("In 1987, Ada Brun founded the club.", "Ada Brun"),
        ("The Heron 4 weighs 3.2 kg.", "the Heron 4"),
        ("The work permit costs 30 euros.", "the work permit"),
        ("Gold members get free coffee.", "Gold members"),
        ("Velmoria's flag shows a silver otter.", "Velmoria's flag"),
        ("Brenta peaks in May.", "Brenta"),
        ("Captain Orlo of the Ostrin Guard whistles badly.", "Captain Orlo of the Ostrin Guard"),
        ("It is green.", None),
        ("nothing plain here", None),
        ("타이드워터는 1987년에 설립되었다.", None),
        ("", None),
    ],
)
def test_the_subject_stands_before_the_verb(text: str, subject: str | None) -> None:
    assert subject_of(text) == subject


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Tidewater Instruments was founded in 1987.", "1987."),
        ("The Heron 4 weighs 3.2 kg.", "3.2 kg."),
        ("The head of design is Mara Lindqvist.", "Mara Lindqvist."),
        ("The museum shop closes at 17:30 on weekdays.", "17:30 on weekdays."),
        ("Lunch is served at noon.", "noon."),
        ("The reading room is on the second floor.", "the second floor."),
        ("Velmoria's flag shows a silver otter.", "silver otter."),
    ],
)
def test_a_cut_leaves_what_makes_it_a_fact(text: str, rest: str) -> None:
    cut = completion_cut(text)
    assert cut is not None
    assert cut[1] == rest
    assert " ".join(cut) == text


@pytest.mark.parametrize("text", ["", "Bees.", "Bees sleep."])
def test_a_short_sentence_is_not_cut(text: str) -> None:
    assert completion_cut(text) is None
