"""Read a recipe from YAML with all its mistakes at once, and write it out with every default."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lorecraft.errors import RecipeError
from lorecraft.recipe.schema import Recipe
from lorecraft.recipe.source import Dumper, Mistake, Source, read
from lorecraft.recipe.wording import explain


def load_recipe(path: Path | str, change: Callable[[dict[str, Any]], None] | None = None) -> Recipe:
    """Read and check a recipe; ``change`` may alter what was written before it is checked.

    Relative paths are taken from the recipe's folder (``output``: from the current folder) and are
    absolute in what is returned.

    Raises:
        RecipeError: the file cannot be read, or holds mistakes: all of them, each with its line.
    """
    path = Path(path)
    source = read(_text(path))
    if not source.mistakes and not isinstance(source.value, dict):
        source.mistakes.append(_not_a_recipe(source.value))
    if not isinstance(source.value, dict):
        raise _refusal(path, source.mistakes)
    if change is not None:
        change(source.value)
    output = str(Recipe.model_fields["output"].default)
    given = {"name": _default_name(path), "output": output, **source.value}
    mistakes = source.mistakes + _contradictions(source)
    recipe = None
    try:
        recipe = Recipe.model_validate_json(
            json.dumps(given), strict=True, context={"folder": path.absolute().parent}
        )
    except ValidationError as error:
        mistakes += explain(error.errors(include_url=False), source)
    if recipe is None or mistakes:
        raise _refusal(path, mistakes)
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every default written out; loading this text gives an equal recipe."""
    return yaml.dump(
        recipe.model_dump(mode="json"),
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


def _text(path: Path) -> str:
    if path.is_dir():
        raise RecipeError(
            f"{path} is a folder", "a recipe, a YAML file", f"lorecraft run {path / 'recipe.yaml'}"
        )
    if path.suffix == ".jsonl":
        raise RecipeError(
            f"{path} is data, not a recipe",
            "a YAML file that names it, such as\n    knowledge:\n      facts: " + path.name,
            "lorecraft init my-model, which writes a small recipe to start from",
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(
            f"no recipe at {path}", "a YAML file", "lorecraft init, which writes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read {path}: {error}", "a YAML file in UTF-8") from error


def _default_name(path: Path) -> str:
    path = path.absolute()
    name = path.parent.name if path.name == "recipe.yaml" else path.stem
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"


def _not_a_recipe(value: Any) -> Mistake:
    if value is None:
        return Mistake(1, "the file is empty; expected at least knowledge.facts or data.train")
    kind = "a list" if isinstance(value, list) else "a single value"
    return Mistake(1, f"expected keys such as knowledge: and stages:, saw {kind}")


def _contradictions(source: Source) -> list[Mistake]:
    """Sections that are right one by one and wrong together."""

    def section(name: str) -> dict[str, Any]:
        value = source.value.get(name)
        return value if isinstance(value, dict) else {}

    found = []
    knowledge, data, require = (section(name) for name in ("knowledge", "data", "require"))
    own = [knowledge.get(key) for key in ("facts", "tables", "documents", "python")]
    if not any(own) and not data.get("train") and not data.get("pairs"):
        expected = "knowledge.facts or data.train, or another source (docs/data.md)"
        found.append(Mistake(1, f"nothing to learn from; expected {expected}"))
    for key, of in (("valid", "train"), ("pairs_valid", "pairs")):
        if data.get(key) and not data.get(of):
            found.append(Mistake(source.line(("data", key)), f"data.{key}: there is no data.{of}"))
    if knowledge.get("teller") and not any(own[:3]):
        line = source.line(("knowledge", "teller"))
        found.append(Mistake(line, "knowledge.teller: there are no documents or facts to tell"))
    if knowledge.get("tables") and not knowledge.get("ontology"):
        line = source.line(("knowledge", "tables"))
        found.append(
            Mistake(line, "knowledge.tables: knowledge.ontology, which maps them, is missing")
        )
    asked = section("exam").get("kinds")
    wanted = require.get("kinds")
    if isinstance(wanted, dict) and isinstance(asked, list | None):
        found += [
            Mistake(
                source.line(("require", "kinds", kind)),
                f"require.kinds.{kind}: not examined; name it in exam.kinds, too",
            )
            for kind in wanted
            if kind not in (asked or ())
        ]
    if not knowledge.get("ontology"):
        found += [
            Mistake(source.line((name, "kinds")), f"{name}.kinds: knowledge.ontology is missing")
            for name in ("data", "exam")
            if section(name).get("kinds")
        ]
    if not knowledge.get("facts") and not knowledge.get("tables"):
        found += [
            Mistake(source.line(("require", name)), f"require.{name}: not measured without facts")
            for name in ("recall", "completion", "abstention", "bleed")
            if require.get(name) is not None
        ]
    elif not knowledge.get("ontology") and require.get("abstention") is not None:
        line = source.line(("require", "abstention"))
        found.append(Mistake(line, "require.abstention: not measured without an ontology"))
    if not source.value.get("style"):
        found += [
            Mistake(source.line(("require", name)), f"require.{name}: not measured without style")
            for name in ("format", "content", "unsupported")
            if require.get(name) is not None
        ]
    stages = source.value.get("stages")
    if isinstance(stages, list):
        found += _of_pairs(source, stages, data)
    if data.get("general") == "none" and isinstance(stages, list):
        found += [
            Mistake(
                source.line(("stages", index, "general")),
                f"stages[{index + 1}].general: no records to mix in, since data.general is none",
            )
            for index, stage in enumerate(stages)
            if isinstance(stage, dict) and stage.get("general")
        ]
    return found


def _of_pairs(source: Source, stages: list[Any], data: dict[str, Any]) -> Iterator[Mistake]:
    """Where stages and pairs do not go together."""
    pairs = bool(data.get("pairs"))
    kinds = [stage.get("kind") if isinstance(stage, dict) else None for stage in stages]
    if pairs and "dpo" not in kinds:
        yield Mistake(source.line(("data", "pairs")), "data.pairs: there is no stage of kind dpo")
    if data.get("train") and set(kinds) == {"dpo"}:
        text = "data.train: there is no stage of kind cpt or sft"
        yield Mistake(source.line(("data", "train")), text)
    for index, (stage, kind) in enumerate(zip(stages, kinds, strict=True)):
        at = f"stages[{index + 1}]"
        if kind == "dpo" and not pairs:
            yield Mistake(source.line(("stages", index, "kind")), f"{at}: there is no data.pairs")
        if kind == "dpo" and stage.get("general"):
            text = f"{at}.general: pairs are not mixed with general records"
            yield Mistake(source.line(("stages", index, "general")), text)
        if kind != "dpo" and isinstance(stage, dict) and stage.get("preference"):
            text = f"{at}.preference: said of a dpo stage alone"
            yield Mistake(source.line(("stages", index, "preference")), text)


def _refusal(path: Path, mistakes: list[Mistake]) -> RecipeError:
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    lines = [f"  {path}:{mistake.line}: {mistake.text}" for mistake in sorted(mistakes)]
    return RecipeError("\n".join([f"the recipe has {count}:", *lines]))
