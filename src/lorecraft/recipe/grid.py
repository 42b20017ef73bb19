"""A grid over a recipe: every combination of some keys' values, each a complete recipe."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from lorecraft.errors import RecipeError
from lorecraft.recipe.load import load_recipe
from lorecraft.recipe.schema import Recipe, StageSection
from lorecraft.recipe.source import Key, read

EXAMPLE = "a key and its values, such as adapter.rank=4,8,16 or stages.sft.learning_rate=1e-4,3e-4"
LONGEST = 40
"""Letters of a value in a name."""


@dataclass(frozen=True)
class Axis:
    """A dotted key of the recipe, and the values that it takes one after another."""

    key: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Axis:
        """``adapter.rank=4,8``: the values are read as a YAML list's. Raises RecipeError."""
        key, _, written = text.partition("=")
        source = read(f"[{written}]")
        if not key.strip() or source.mistakes or not isinstance(source.value, list | None):
            raise RecipeError(f"--grid {text}", EXAMPLE)
        if not source.value:
            raise RecipeError(f"--grid {text}: no values", EXAMPLE)
        return cls(key.strip(), tuple(source.value))

    @property
    def numeric(self) -> bool:
        """Whether there are several numbers, which a picture can have as its axis."""
        numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in self.values]
        return all(numbers) and len(set(self.values)) > 1


@dataclass(frozen=True)
class Variant:
    """One combination: its name (also the recipe's), its value for each key, and the recipe."""

    name: str
    values: dict[str, Any]
    recipe: Recipe


def variants(path: Path, axes: Sequence[Axis]) -> list[Variant]:
    """The recipe once for each combination, the last axis changing fastest.

    Raises RecipeError for a recipe that cannot be run as it stands, and for keys and values that
    it cannot have: all of them at once.
    """
    recipe = load_recipe(path)
    _check(axes)
    places = {axis.key: _places(axis.key, recipe) for axis in axes}
    kinds = [stage.kind for stage in recipe.stages]
    shown = _labels([axis.key for axis in axes])
    found, mistakes = [], []
    for combination in product(*(axis.values for axis in axes)):
        values = dict(zip(places, combination, strict=True))
        parts = [f"{shown[key]}-{_spelled(value)}" for key, value in values.items()]
        name = "-".join([recipe.name, *parts])
        try:
            made = load_recipe(path, _change(values, places, kinds))
        except RecipeError as error:
            mistakes += error.seen.splitlines()[1:]
            continue
        found.append(Variant(name, values, made.model_copy(update={"name": name})))
    if mistakes:
        raise RecipeError("\n".join(["the grid cannot be run:", *dict.fromkeys(mistakes)]))
    names = [variant.name for variant in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RecipeError(
            f"--grid: {len(twice)} names stand for two combinations, such as {min(twice)}",
            f"values that differ, also in the letters and digits of their last {LONGEST}",
        )
    return found


def _check(axes: Sequence[Axis]) -> None:
    keys = [axis.key for axis in axes]
    if not axes:
        raise RecipeError("a sweep without --grid", EXAMPLE)
    for key in keys:
        if keys.count(key) > 1:
            raise RecipeError(f"--grid {key}: given twice", "one --grid a key, with all its values")
        if key in ("name", "output"):
            raise RecipeError(
                f"--grid {key}: each combination has a name and a folder of its own", EXAMPLE
            )


def _places(key: str, recipe: Recipe) -> list[Key]:
    """Where a dotted key stands in the recipe; that of a stage without its name in every stage."""
    first, *rest = key.split(".")
    if first != "stages" or not rest:
        return [(first, *rest)]
    names, keys = recipe.stage_names, StageSection.model_fields
    if rest[0] in names:
        return [("stages", names.index(rest[0]), *rest[1:])]
    if rest[0] in keys:
        return [("stages", index, *rest) for index in range(len(names))]
    near = difflib.get_close_matches(rest[0], [*names, *keys], n=1)
    raise RecipeError(
        f"--grid {key}: no stage and no key {rest[0]!r}"
        + (f"; did you mean {near[0]}?" if near else ""),
        f"stages.KEY for all stages, or one of {', '.join(f'stages.{name}.KEY' for name in names)}",
    )


def _change(
    values: Mapping[str, Any], places: Mapping[str, Sequence[Key]], kinds: Sequence[str]
) -> Callable[[dict[str, Any]], None]:
    """Write the values where they belong, as a user would."""

    def change(written: dict[str, Any]) -> None:
        if any(len(place) > 1 and place[0] == "stages" for key in values for place in places[key]):
            written["stages"] = written.get("stages") or [{"kind": kind} for kind in kinds]
        for key, value in values.items():
            for place in places[key]:
                _put(written, place, value)

    return change


def _put(written: Any, place: Key, value: Any) -> None:
    for part, following in pairwise(place):
        inner = written[part] if isinstance(part, int) else written.get(part)
        if not isinstance(inner, list if isinstance(following, int) else dict):
            # A path alone stands for its section; what else stands here, validation refuses.
            inner = written[part] = {"path": inner} if isinstance(inner, str) else {}
        written = inner
    written[place[-1]] = deepcopy(value)


def _labels(keys: Sequence[str]) -> dict[str, str]:
    """Keys without their section, where that tells them apart: ``rank``, ``sft-learning_rate``."""
    short = {key: key.split(".", 1)[-1] for key in keys}
    same = [*short.values()]
    return {
        key: (key if same.count(tail) > 1 else tail).replace(".", "-")
        for key, tail in short.items()
    }


def _spelled(value: Any) -> str:
    """A value as a part of a folder's name."""
    if isinstance(value, list):
        return "-".join(map(_spelled, value)) or "empty"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^\w.-]+", "-", text)[-LONGEST:].strip(".-") or "empty"
