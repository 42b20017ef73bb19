"""Docstrings become questions and answers, in whichever of three ways they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.data.docstrings import docstring_records
from lorecraft.data.records import Record

GOOGLE = """Light a lamp that

is trimmed and filled.

Args:
    oil (Litres): How much oil,
        at most four litres.
    *wicks: Some wicks. Such as

        - flat ones
    spark:

Returns:
    The lamp, which burns.

Raises:
    DryError: when there is no oil.

Example:
    >>> light(1)
"""
NUMPY = """Light a lamp that

is trimmed and filled.

Parameters
----------
oil : Litres
    How much oil,
    at most four litres.
*wicks
    Some wicks. Such as

    - flat ones

Returns
-------
The lamp, which burns.

Raises
------
DryError: when there is no oil.

See Also
--------
snuff : put out
"""
SPHINX = """Light a lamp that

is trimmed and filled.

:param Litres oil: Litres: How much oil,
    at most four litres.
:param wicks: Some wicks. Such as

    - flat ones
:type wicks: Wick
:returns: The lamp, which burns.
:raises DryError: when there is no oil.
"""


def records(folder: Path, doc: str, max_length: int = 512) -> dict[str, Record]:
    lines = "\n".join(f"    {line}" if line else "" for line in doc.splitlines())
    source = f'def light(oil, *wicks):\n    r"""{lines.strip()}\n    """\n'
    (folder / "lamp.py").write_text(source)
    return {r.id: r for r in docstring_records([str(folder / "lamp.py")], max_length)}


def answers(found: dict[str, Record]) -> dict[str, str]:
    return {record.messages[0].content: record.messages[1].content for record in found.values()}


@pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX], ids=["Google", "NumPy", "Sphinx"])
def test_each_part_of_a_docstring_is_asked_for(tmp_path: Path, doc: str) -> None:
    found = records(tmp_path, doc)
    assert answers(found) == {
        "What does the Python function `lamp.light` do?": "Light a lamp that\n\n"
        "is trimmed and filled.",
        "How is `lamp.light` called?": "`lamp.light(oil, *wicks)`",
        "What is the parameter `oil` of `lamp.light`?": "Litres: How much oil, "
        "at most four litres.",
        "What is the parameter `wicks` of `lamp.light`?": "Some wicks. Such as\n\n- flat ones",
        "What does `lamp.light` return?": "The lamp, which burns.",
        "What does `lamp.light` raise, and when?": "DryError: when there is no oil.",
    }
    assert {record.facts for record in found.values()} == {("lamp.light",)}
    assert found["lamp.light/parameter oil"].place == "lamp.py line 1"


def test_code_lists_and_running_text_that_looks_like_a_section_stay(tmp_path: Path) -> None:
    told = answers(records(tmp_path, "Light it so:\n\n    a = 1\n    b = 2\n\nOnly this\nway."))
    assert told["What does the Python function `lamp.light` do?"] == (
        "Light it so:\n\n    a = 1\n    b = 2\n\nOnly this way."
    )


def test_answers_end_at_a_border_within_the_length(tmp_path: Path) -> None:
    doc = " ".join(f"The lamp number {number} burns." for number in range(40))
    (answer,) = [
        answer for ask, answer in answers(records(tmp_path, doc, 128)).items() if "do?" in ask
    ]
    assert answer.endswith(" burns.") and 200 < len(answer) < 3 * 128


def test_what_says_too_little_is_not_asked(tmp_path: Path) -> None:
    assert list(records(tmp_path, "Light it.")) == ["lamp.light/signature"]


def test_copies_of_a_docstring_are_one_group(tmp_path: Path) -> None:
    doc = '    """Light a lamp that is filled."""\n'
    (tmp_path / "a.py").write_text(f"def one():\n{doc}def two():\n{doc}")
    first, second = docstring_records([str(tmp_path / "a.py")], 512)
    assert (first.facts, second.facts) == (("a.one",), ("a.two", "a.one"))


def test_what_sphinx_adds_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(
        '''
def confirm(abort=False):
    """Asks for a yes, with :meth:`~ask.prompt`, until there is one.

    :param abort: if this is set to `True` a negative answer aborts the
          exception by raising :exc:`Abort` at once.
    .. versionchanged:: 8.5.0
        Nothing else.
    """
'''
    )
    answers = [r.messages[-1].content for r in docstring_records([str(tmp_path)], 512)]
    told = "a negative answer aborts the exception by raising `Abort` at once."
    assert any(told in answer for answer in answers)
    assert not any("8.5.0" in answer or ":meth:" in answer for answer in answers)
