"""By what each finished part of a run is known: what it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lorecraft.recipe import Recipe, StageSection
from lorecraft.runs import manifest
from lorecraft.runs.files import file_hash, fingerprint, tree_hash

if TYPE_CHECKING:
    from lorecraft.runs.workbench import Workbench


def data_key(recipe: Recipe) -> str:
    """Changes with anything that the data are made from, Lorecraft's own code included."""
    sources = manifest.source_hashes(recipe)
    settings = recipe.data.model_dump()
    if "data.general" in sources:  # files are known by their content
        del settings["general"]
    for key in manifest.RECORDS:
        if f"data.{key}" in sources:
            del settings[key]["path"]
    # A format is checked at the exam, which knows it by itself, and beforehand of pairs alone.
    style = recipe.style.model_dump(exclude={"format", "prompted"}) if recipe.style else None
    if style and "style.test" in sources:
        del style["test"]["path"]
    if recipe.data.pairs is None:
        sources.pop("style.format", None)
    teller = recipe.knowledge.teller if recipe.knowledge else None
    if teller is not None:  # not how it is reached
        sources["teller"] = fingerprint(
            teller.model_dump(exclude={"key", "requests_per_minute", "at_once", "timeout"}),
            recipe.model if teller.endpoint == "base" else None,
        )
    mixing = [(stage.kind, stage.general) for stage in recipe.stages]
    return fingerprint(
        manifest.code_version(), recipe.seed, settings, style, recipe.exam, mixing, sources
    )


def stage_sources(
    recipe: Recipe, stage: StageSection, data: Path, bench: Workbench, start: Path | None
) -> dict[str, str]:
    """What a stage's adapter comes from, each as a fingerprint.

    Not Lorecraft's code: a new version shall not train a night's work again unasked. Not how
    long it may take, so that what a deadline stopped can go on with more. Not the device.

    Args:
        data: the folder with the stage's records.
        start: the adapter that it starts from.
    """
    files = [data / f"{part}.jsonl" for part in ("train", "valid")]
    # What is not set does not count, so that a new setting trains nothing again.
    settings = stage.model_dump(exclude={"limits": {"minutes"}}, exclude_none=True)
    precision = (recipe.model.dtype, recipe.model.quantization, bench.engine.name)
    return {
        "the base model": bench.model_hash,
        "its precision or engine": fingerprint(precision),
        "the adapter's settings": fingerprint(recipe.adapter.model_dump(exclude={"start"})),
        "the stage's settings": fingerprint(settings, recipe.seed, recipe.data.max_length),
        "the data": fingerprint([file_hash(file) for file in files]),
        "the adapter it starts from": fingerprint(start and tree_hash(start)),
    }


def exam_key(recipe: Recipe, exam: Path, bench: Workbench, adapters: Iterable[Path]) -> str:
    """Changes with the questions, how they are asked and marked, and who answers them."""
    style = recipe.style
    return fingerprint(
        manifest.code_version(),
        bench.model_hash,
        [tree_hash(adapter) for adapter in adapters],
        file_hash(exam),
        recipe.exam,
        recipe.model.banned,
        style and (style.prompted, file_hash(style.format)),
    )
