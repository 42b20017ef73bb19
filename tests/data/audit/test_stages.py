"""The audit sees leaks, and says so in figures that can be written as JSON."""

from __future__ import annotations

import json

from lorecraft.data.audit.stages import audit_stages
from lorecraft.data.records import Message, Record


def chat(id_: str, *turns: str, phrasing: str = "", origin: str = "fact") -> Record:
    roles = ("user", "assistant") * len(turns)
    return Record(
        id_,
        tuple(Message(role, turn) for role, turn in zip(roles, turns, strict=False)),
        origin=origin,  # type: ignore[arg-type]
        facts=("f1",),
        phrasings=(phrasing,) if phrasing else (),
    )


TRAIN = [
    chat("t1", "Who leads the harbour office?", "Ada.", phrasing="led/Who leads {subject}?"),
    chat("t2", "Good morning!", "Hello.", "And what does the ferry to Brelm cost?", "Two euros."),
    chat("t3", "Who runs the moon?", "I do not know.", origin="unknown"),
]
VALID = [chat("v1", "who leads the harbour office", "Ada.")]


def test_counts_and_lengths_are_given_for_each_stage() -> None:
    figures = audit_stages({"sft": (TRAIN, VALID)}, [])["stages"]["sft"]
    assert figures["train"]["records"] == 3
    assert figures["train"]["origins"] == {"fact": 2, "unknown": 1}
    assert figures["train"]["facts"] == 1
    assert figures["train"]["words"]["longest"] == 13
    assert figures["leaks"]["exact"] == 1
    assert figures["leaks"]["examples"][0]["like"] == "t1"


def test_leaks_to_the_exam_are_found_in_any_turn_and_any_phrasing() -> None:
    exam = audit_stages(
        {"sft": (TRAIN, VALID)},
        [
            ("q1", "And what does a ferry to Brelm cost?", "cost/What does {subject} cost?"),
            ("q2", "Who is it that heads all of the port?", "led/who leads {subject}"),
            ("q3", "Tell me something altogether new.", "x/new"),
            ("q4", "The ferry to Brelm costs", ""),
        ],
    )["exam"]
    assert (exam["asked"], exam["verbatim"]) == (4, 1)
    assert exam["shared_phrasings"] == ["led/who leads {subject}"]
    assert exam["leaks"]["exact"] == 0
    assert exam["leaks"]["near"] == 0
    assert 0.5 < exam["leaks"]["highest"] < 0.8


def test_a_sound_exam_has_no_leak_and_all_is_json() -> None:
    figures = audit_stages({"sft": (TRAIN, [])}, [("q", "Something altogether new.", "x/y")])
    assert figures["exam"]["leaks"] == {"exact": 0, "near": 0, "highest": None, "examples": []}
    assert json.loads(json.dumps(figures)) == figures
    assert audit_stages({}, [])["exam"]["asked"] == 0
