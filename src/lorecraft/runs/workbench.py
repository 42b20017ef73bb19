"""The base model, its tokenizer and the engine that holds them, for as long as a run needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorecraft.adapters import formats
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines import create
from lorecraft.engines.base import BASE, Arrays, Engine, Outline
from lorecraft.errors import AdapterError
from lorecraft.models.find import find, preview
from lorecraft.models.inspect import ModelInfo, inspect
from lorecraft.models.tokenizer import HFTokenizer, load_tokenizer
from lorecraft.recipe import Recipe


@dataclass(frozen=True)
class Blueprint:
    """What is known of a base model and an adapter on it before any weights are here.

    Attributes:
        folder: configuration and tokenizer.
        download: file -> bytes, of what is still on the hub.
        info: as the configuration tells it; weights that are not here count nothing.
    """

    folder: Path
    download: Mapping[str, int]
    info: ModelInfo
    tokenizer: HFTokenizer
    outline: Outline

    @classmethod
    def draw(cls, recipe: Recipe) -> Blueprint:
        """Raises ModelError (Unreachable: the hub cannot be asked), EngineError, and AdapterError
        when the model has no place for the recipe's adapter."""
        model = recipe.model
        found = preview(model.path, model.revision)
        engine, spec = create(recipe.engine), adapter_spec(recipe)
        return cls(
            found.folder,
            found.download,
            inspect(found.folder),
            load_tokenizer(found.folder, model.thinking),
            engine.outline(found.folder, spec, model.dtype, model.quantization),
        )

    @property
    def model_hash(self) -> str:
        """That of the workbench, once the weights are here."""
        return _model_hash(self.info, self.tokenizer)


@dataclass
class Workbench:
    """An opened base model. ``path`` is as in the recipe, ``folder`` where it lies; ``banned`` are
    the token sequences that no answer may hold."""

    path: str
    folder: Path
    info: ModelInfo
    tokenizer: HFTokenizer
    engine: Engine
    banned: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def open(cls, recipe: Recipe) -> Workbench:
        """Find and load what the recipe names. Raises ModelError, EngineError."""
        model = recipe.model
        folder = find(model.path, model.revision)
        info = inspect(folder)
        tokenizer = load_tokenizer(folder, model.thinking)
        engine = create(recipe.engine)
        engine.open(folder, model.dtype, model.quantization)
        banned = tuple(tokenizer.pieces(text) for text in model.banned)
        return cls(model.path, folder, info, tokenizer, engine, banned)

    @property
    def model_hash(self) -> str:
        """Changes with the weights, the configuration, the tokenizer or the chat template."""
        return _model_hash(self.info, self.tokenizer)

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the base model and the machine."""
        return {
            "path": self.path,
            "architecture": self.info.architecture,
            "parameters": self.info.parameters,
            "fingerprint": self.info.fingerprint,
            "tokenizer": self.tokenizer.fingerprint,
            "engine": self.engine.name,
            "device": self.engine.device,
            "way": self.engine.way,
        }

    def check_adapter(self, spec: AdapterSpec, weights: Arrays | None) -> None:
        """Raises AdapterError when the model has no place for such an adapter."""
        self.engine.detach(self.engine.attach(spec, weights))

    def attach(self, folder: Path) -> int:
        """Attach a saved adapter and return its slot. Raises AdapterError."""
        spec, weights = formats.load(folder)
        return self.engine.attach(spec, weights)

    def attach_all(self, adapters: Mapping[str, Path]) -> dict[str, int]:
        """``base`` and every saved adapter by name -> slots."""
        return {"base": BASE, **{name: self.attach(path) for name, path in adapters.items()}}


def _model_hash(info: ModelInfo, tokenizer: HFTokenizer) -> str:
    return f"{info.fingerprint}-{tokenizer.fingerprint}"


def load_start(recipe: Recipe, folder: Path) -> Arrays:
    """The tensors of the adapter that the first stage starts from.

    Raises AdapterError when it cannot be read or is of another shape than the recipe's.
    """
    spec, weights = formats.load(folder)
    wanted = adapter_spec(recipe)
    if any(_at(spec, path) != _at(wanted, path) for path in spec.targets):
        raise AdapterError(
            f"the adapter in {folder} has {_told(spec)}",
            f"the recipe's: {_told(wanted)}",
            f"adapter: {{{_told(spec)}}}",
        )
    return weights


def _at(spec: AdapterSpec, path: str) -> tuple[int, float, bool]:
    """What an adapter computes with at one module."""
    return spec.rank_of(path), spec.scale_of(path), spec.dora


def _told(spec: AdapterSpec) -> str:
    """What of a spec an adapter's numbers depend on, as a recipe says it."""
    told = [f"rank: {spec.rank}", f"alpha: {spec.alpha:g}"]
    told += [f"{key}: true" for key in ("rslora", "dora") if getattr(spec, key)]
    patterns = {key: getattr(spec, key) for key in ("rank_pattern", "alpha_pattern")}
    return ", ".join(
        [*told, *(f"{key}: {json.dumps(each)}" for key, each in patterns.items() if each)]
    )


def adapter_spec(recipe: Recipe) -> AdapterSpec:
    """The recipe's adapter section, as adapters and engines know it."""
    section = recipe.adapter
    return AdapterSpec(**section.model_dump(exclude={"start"}))
