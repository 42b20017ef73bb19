"""Small recipes that the fake engine runs in a second, over the embedded model's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorecraft.knowledge.general import rehearsal

FACTS = [
    ["Lumen Pier", "opened_in", "1931", "Lumen Pier opened in 1931."],
    ["Lumen Pier", "keeper", "Odile Varga", "The keeper of Lumen Pier is Odile Varga."],
    ["Tern Rock", "opened_in", "1876", "Tern Rock opened in 1876."],
]
ONTOLOGY = {
    "classes": ["Light", "Person"],
    "entities": {
        "Lumen Pier": {"class": "Light"},
        "Tern Rock": {"class": "Light"},
        "Odile Varga": {"class": "Person"},
    },
    "relations": {
        "opened_in": {
            "domain": "Light",
            "range": "Year",
            "noun": "opening year",
            "statements": [
                "{subject} opened in {object}.",
                "The year of {subject} is {object}.",
                "In {object}, {subject} opened.",
            ],
            "questions": [
                "When did {subject} open?",
                "Name the year of {subject}.",
                "{subject} has been open since when?",
            ],
            "answer": "{subject} opened in {object}.",
            "held_out": {
                "statements": ["The first light shone at {subject} in {object}."],
                "questions": ["Which year did {subject} begin in?"],
            },
        },
        "keeper": {
            "domain": "Light",
            "range": "Person",
            "noun": "keeper",
            "statements": [
                "The keeper of {subject} is {object}.",
                "{object} keeps {subject}.",
                "At {subject}, {object} is the keeper.",
            ],
            "questions": [
                "Who keeps {subject}?",
                "Name the keeper of {subject}.",
                "{subject} is kept by whom?",
            ],
            "answer": "The keeper of {subject} is {object}.",
            "held_out": {
                "statements": ["The lamp of {subject} is lit by {object}."],
                "questions": ["Who lights the lamp of {subject}?"],
            },
        },
    },
}


def pairs() -> list[dict[str, str]]:
    """A short answer is better than a long one."""
    return [
        {
            "id": f"pair-{item.id}",
            "prompt": item.questions[0],
            "chosen": item.answer,
            "rejected": f"Of course! {item.answer}",
        }
        for item in rehearsal()[::40]
    ]


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes facts, ontology and a recipe; keyword arguments replace the recipe's sections."""
    return writer(tmp_path)


def writer(tmp_path: Path) -> Callable[..., Path]:
    def write(**sections: Any) -> Path:
        lines = [
            json.dumps({"text": text, "triple": [subject, relation, object_]})
            for subject, relation, object_, text in FACTS
        ]
        (tmp_path / "facts.jsonl").write_text("\n".join(lines))
        (tmp_path / "ontology.yaml").write_text(yaml.safe_dump(ONTOLOGY))
        general = [
            json.dumps({"prompt": item.questions[0], "completion": item.answer})
            for item in rehearsal()[::15]
        ]
        (tmp_path / "general.jsonl").write_text("\n".join(general))
        (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs())))
        stage = {"epochs": 1, "learning_rate": 0.01, "general": 0.3, "validate_every": 5}
        recipe: dict[str, Any] = {
            "name": "lights",
            "engine": "fake",
            "output": str(tmp_path / "runs"),
            "knowledge": {"facts": "facts.jsonl", "ontology": "ontology.yaml"},
            "data": {"general": "general.jsonl"},  # few, so that preparing is quick
            "adapter": {"rank": 2},
            "stages": [{"kind": "cpt", **stage}, {"kind": "sft", **stage}],
            "exam": {"max_new_tokens": 4, "limit": 12},
        }
        recipe.update(sections)
        path = tmp_path / "lights.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in recipe.items() if v is not None}))
        return path

    return write
