"""The forms that people have are known by their columns; what cannot be trained yet is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lorecraft.data.forms import content, mapped
from lorecraft.data.records import Message
from lorecraft.knowledge.jsonl import LineError
from lorecraft.recipe import RecordsSection

SYSTEM, USER, ASSISTANT = (
    Message("system", "Be brief."),
    Message("user", "Hi."),
    Message("assistant", "Hello."),
)


def turn(role: str, said: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": said, **more}


def from_(role: str, said: str) -> dict[str, str]:
    return {"from": role, "value": said}


CHAT = [turn("user", "Hi."), turn("assistant", "Hello.")]
PARTS = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]
SHARED = [from_("human", "Hi."), from_("gpt", "Hello.")]
ASKED = {"instruction": "Hi.", "output": "Hello."}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT},
        {"messages": CHAT, "tools": None, "source": "mlx-lm"},
        {"messages": [turn("user", "Hi."), turn("assistant", PARTS)]},
        {"messages": '[{"role": "user", "content": "Hi."}, {"from": "gpt", "value": "Hello."}]'},
        {"messages": CHAT, "chosen": CHAT, "rejected": CHAT, "prompt": "Hi."},
        {"messages": None, "prompt": "Hi.", "completion": "Hello.", "text": None},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"conversations": SHARED},
        {"conversations": CHAT, "system": ""},
        ASKED,
        {**ASKED, "input": "", "text": "Below is an instruction. Hi. Hello."},
    ],
)
def test_one_conversation_in_many_forms(row: dict[str, Any]) -> None:
    assert content(row) == ((USER, ASSISTANT), "")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [turn("developer", "Be brief."), *CHAT]},
        {"conversations": [from_("system", "Be brief."), *SHARED]},
        {"conversations": SHARED, "system": "Be brief."},
        {**ASKED, "system": "Be brief."},
    ],
)
def test_the_system_s_turn_comes_first(row: dict[str, Any]) -> None:
    assert content(row) == ((SYSTEM, USER, ASSISTANT), "")


def test_an_instruction_has_its_input_below_and_its_history_before() -> None:
    row = {"instruction": "Add.", "input": "1, 2", "output": "3", "history": [["Hi.", "Hello."]]}
    assert content(row)[0] == (
        *(USER, ASSISTANT),
        *(Message("user", "Add.\n\n1, 2"), Message("assistant", "3")),
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hi.", "chosen": "Hello.", "rejected": "No."}, "a preference record"),
        ({"chosen": CHAT, "rejected": CHAT}, "a preference record"),
        ({"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:]}, "a preference record"),
        ({"prompt": "Hi.", "completion": "No.", "label": False}, "an answer labelled"),
        ({"messages": CHAT, "tools": [{"type": "function"}]}, "tool calls"),
        ({"messages": [turn("assistant", None, tool_calls=[{}])]}, r"message 1 .*tool calls"),
        ({"conversations": [*SHARED, from_("observation", "7")]}, r"message 3 .*tool calls"),
        ({"messages": [turn("assistant", "No.", weight=0)]}, "not to be trained"),
        ({"messages": [turn("user", [{"type": "image_url"}]), CHAT[1]]}, "not a text"),
        ({**ASKED, "output": None}, "no 'output'"),
        ({**ASKED, "history": ["Hi."]}, "not a question and its answer"),
        ({"question": "Hi.", "answer": "Hello."}, "saw 'question', 'answer'"),
    ],
)
def test_what_cannot_be_trained_is_refused(row: dict[str, Any], said: str) -> None:
    with pytest.raises(LineError, match=said):
        content(row)


def mapping(**templates: str) -> RecordsSection:
    return RecordsSection(path="rows.csv", **templates)


def test_templates_map_columns_of_other_names() -> None:
    row = {"problem": "2 + {x}", "solution": "4", "level": 3, "turns": CHAT}
    section = mapping(
        system="Be brief.", prompt="Level {level}: {problem}", completion="\\boxed{{solution}}"
    )
    assert mapped(row, section)[0] == (
        *(SYSTEM, Message("user", "Level 3: 2 + {x}"), Message("assistant", "\\boxed{4}")),
    )
    assert mapped(row, mapping(text="{problem}")) == ((), "2 + {x}")
    assert mapped(row, mapping(messages="{turns}")) == ((USER, ASSISTANT), "")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{problme}", "no column 'problme'; did you mean 'problem'?"),
        ("{zzz}", "no column 'zzz'; saw 'problem'"),
        ("{empty}", "column 'empty' is empty"),
        ("See {steps}", "column 'steps' is .*, not a text"),
    ],
)
def test_a_template_with_an_unknown_column_is_refused(template: str, said: str) -> None:
    row = {"problem": "2 + 2", "empty": None, "steps": [1]}
    with pytest.raises(LineError, match=said.replace("?", r"\?")):
        mapped(row, mapping(prompt=template, completion="{problem}"))
