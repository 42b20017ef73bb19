"""A small format and a text that keeps to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorecraft.style.load import load_format
from lorecraft.style.schema import Format

FORMAT = """\
sections:
  - heading: "Summary:"
    sentences: 1
    words: [3, 9]
  - heading: "Points:"
    bullets: 2
    words: [2, 6]
  - heading: "Question:"
    sentences: 1
    ends_with: "?"
words: [10, 40]
must_not_match: ['(?i)as an AI']
"""

GOOD = """\
Summary:
The lamp is lit at dusk.

Points:
- It burns oil.
- Its glass is cut by hand.

Question:
Who lights it in winter?
"""

Load = Callable[[str], Format]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def from_text(text: str) -> Format:
        (tmp_path / "format.yaml").write_text(text, "utf-8")
        return load_format(tmp_path / "format.yaml")

    return from_text


@pytest.fixture
def format(load: Load) -> Format:
    return load(FORMAT)


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def json_schema() -> str:
    """A format in JSON; without jsonschema, which is optional, its tests are skipped."""
    pytest.importorskip("jsonschema")
    return """\
json_schema:
  type: object
  required: [name, tags]
  properties:
    name: {type: string}
    tags: {type: array, items: {type: string}, maxItems: 2}
example: '{"name": "Skerrow", "tags": ["lamp", "oil"]}'
"""
