"""A recipe's teller: where it is, and that no key can stand in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import RecipeError
from lorecraft.recipe import Recipe, load_recipe, smoke


def load(folder: Path, teller: str, source: str = "documents: guide.md") -> Recipe:
    (folder / "guide.md").write_text("A light.")
    path = folder / "recipe.yaml"
    path.write_text(f"name: x\nknowledge: {{{source}, teller: {{{teller}}}}}\n")
    return load_recipe(path)


@pytest.mark.parametrize(
    ("teller", "kinds"),
    [
        ("endpoint: base", ["cpt", "sft"]),
        ("endpoint: base, depths: []", ["cpt"]),
        ("endpoint: 'https://x.org/v1', model: m, key: $KEY", ["cpt", "sft"]),
    ],
)
def test_questions_that_are_told_are_fine_tuned(
    tmp_path: Path, teller: str, kinds: list[str]
) -> None:
    assert [stage.kind for stage in load(tmp_path, teller).stages] == kinds


@pytest.mark.parametrize(
    ("teller", "said"),
    [
        ("endpoint: 'localhost:8000', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://me:secret@x.org/v1', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://x.org/v1?key=secret', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://x.org/v1', model: m, key: sk-1", "name of an environment variable"),
        ("endpoint: 'http://x.org/v1#secret', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://x.org:99999/v1', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://x.org/é', model: m", "expected `base`, or a URL"),
        ("endpoint: 'http://x.org/v1'", "needs the name of a model"),
        ("endpoint: base, model: m", "the recipe's own model"),
        ("endpoint: base, budget: 5", "needs the price"),
        ("endpoint: base, styles: [emial]", "did you mean email"),
    ],
)
def test_a_teller_that_cannot_be_asked_is_refused(tmp_path: Path, teller: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load(tmp_path, teller)


def test_there_must_be_something_to_tell(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no documents or facts to tell"):
        load(tmp_path, "endpoint: base", "python: json")


def test_a_try_asks_nobody(tmp_path: Path) -> None:
    tried = smoke(load(tmp_path, "endpoint: base"))
    assert tried.knowledge is not None and tried.knowledge.teller is None
    assert [stage.kind for stage in tried.stages] == ["cpt"]  # there are no chats without it
