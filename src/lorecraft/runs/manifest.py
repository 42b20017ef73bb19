"""``manifest.json``: what a run was made with."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lorecraft
from lorecraft.knowledge.documents import SUFFIXES as DOCUMENTS
from lorecraft.knowledge.files import SourceFile, files_at
from lorecraft.knowledge.python import source_files
from lorecraft.knowledge.rows import SUFFIXES
from lorecraft.recipe import KnowledgeSection, Recipe, to_yaml
from lorecraft.recipe.values import HUB
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import file_hash, fingerprint, read_json, write_json

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")

RECORDS = ("train", "valid", "pairs", "pairs_valid")
"""The keys of ``data`` that name data sets."""


def begin(recipe: Recipe, directory: RunDirectory, small: bool = False) -> None:
    """Write the manifest, or bring it up to date; the time of the first start is kept, that of an
    end is not. ``small``: the recipe was made so from the one that the run was started with."""
    before = read_json(directory.manifest) if directory.manifest.exists() else {}
    before.pop("finished", None)
    write_json(
        directory.manifest,
        {
            **before,
            "name": recipe.name,
            "started": before.get("started", round(time.time(), 1)),
            "versions": {"lorecraft": lorecraft.__version__, **_versions()},
            "platform": platform.platform(),
            "seed": recipe.seed,
            "smoke": before.get("smoke", small),
            "stages": [stage.kind for stage in recipe.stages],
            "sha256": _made_from(recipe),
        },
    )


def _made_from(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": fingerprint(to_yaml(recipe)),
        "code": code_version(),
        "sources": source_hashes(recipe),
    }


def is_finished(recipe: Recipe, directory: RunDirectory) -> bool:
    """Whether the run has its report and was made from just this, as far as files here tell; no
    model is loaded to see it."""
    if not (directory.manifest.exists() and directory.report.exists()):
        return False
    made = read_json(directory.manifest)
    return "finished" in made and made["sha256"] == _made_from(recipe)


def source_hashes(recipe: Recipe) -> dict[str, str]:
    """sha256 of what the data are made from, by its key in the recipe; of files here alone."""
    sections = {"knowledge": recipe.knowledge, "data": recipe.data, "style": recipe.style}
    found = {
        f"{name}.{key}": file_hash(path)
        for name, section in sections.items()
        if section is not None
        for key, path in section.model_dump().items()
        if isinstance(path, Path)
    }
    ready = {f"data.{key}": getattr(recipe.data, key) for key in RECORDS}
    if recipe.style is not None:
        ready["style.test"] = recipe.style.test
    for key, records in ready.items():
        if records is not None and not records.path.startswith(HUB):
            found[key] = _hash(files_at(records.path, SUFFIXES))
    knowledge = recipe.knowledge or KnowledgeSection()
    if knowledge.tables and "://" in knowledge.tables:  # what is in it is read once
        found["knowledge.tables"] = fingerprint(knowledge.tables)
    elif knowledge.tables:
        found["knowledge.tables"] = _hash(files_at(knowledge.tables, SUFFIXES))
    if knowledge.documents:
        files = [file for where in knowledge.documents for file in files_at(where, DOCUMENTS)]
        found["knowledge.documents"] = _hash(files)
    for package in knowledge.python:
        files = [SourceFile(path, str(path)) for path in source_files(package)]
        found[f"knowledge.python.{package}"] = _hash(files)
    return found


def _hash(files: Sequence[SourceFile]) -> str:
    return fingerprint([(file.name, _readable_hash(file.path)) for file in files])


def _readable_hash(path: Path) -> str | None:
    """None for a file that cannot be read, which whoever reads it says by itself."""
    try:
        return file_hash(path)
    except OSError:
        return None


def add(directory: RunDirectory, **fields: Any) -> None:
    """Set fields of the manifest."""
    write_json(directory.manifest, read_json(directory.manifest) | fields)


def finish(directory: RunDirectory) -> None:
    """Enter the time of the end and the hashes of what came out."""
    produced = sorted(directory.folder.glob("stages/*/adapter/adapter_model.safetensors"))
    produced += sorted(directory.data.rglob("*.jsonl"))
    add(
        directory,
        finished=round(time.time(), 1),
        outputs={str(path.relative_to(directory.folder)): file_hash(path) for path in produced},
    )


@cache
def code_version() -> str:
    """sha256 over the package's own source: other code is another result."""
    root = Path(lorecraft.__file__).parent
    digest = hashlib.sha256()
    for path in sorted((*root.rglob("*.py"), *root.rglob("*.yaml"))):
        if path.relative_to(root).parts[0] in ("reports", "cli"):
            continue
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
