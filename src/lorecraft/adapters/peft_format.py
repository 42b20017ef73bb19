"""Adapters on disk in PEFT's format: ``adapter_config.json`` and ``adapter_model.safetensors``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import ALL, AdapterSpec, unmatched
from lorecraft.disk import replacing
from lorecraft.errors import AdapterError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

Tensors = dict[str, NDArray[np.float32]]

_NAME = re.compile(r"^base_model\.model\.(?P<path>.+)\.(lora_[AB]\.weight|lora_magnitude_vector)$")
_BLOCK = re.compile(r"\.(\d+)\.")
_UNREAD = {
    "modules_to_save": "whole modules saved beside the adapter",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "adapted parameters that belong to no linear module",
    "layer_replication": "layers used more than once",
    "alora_invocation_tokens": "activation by tokens (aLoRA)",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "block-diagonal LoRA",
}
"""What PEFT's configuration may ask for and this reader does not know, in words."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations that also change the base weights, which the adapter's file does not hold."""


def save(folder: Path, spec: AdapterSpec, tensors: Mapping[str, NDArray[Any]], base: str) -> None:
    """Write an adapter as a whole: ``folder`` never holds half of one.

    Args:
        tensors: by PEFT name (see ``engines.base.Engine``), float32.
        base: name or path of the base model, as it is to stand in the configuration.
    """
    from safetensors.numpy import save as to_bytes

    content = to_bytes(
        {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()},
        metadata={"format": "pt"},
    )
    config = json.dumps(_config(spec, tensors, base), indent=2, sort_keys=True)
    with replacing(folder) as partial:
        partial.mkdir()
        (partial / WEIGHTS).write_bytes(content)  # its own writer hides which trouble the disk has
        (partial / CONFIG).write_text(config + "\n", "utf-8")


def load(folder: Path) -> tuple[AdapterSpec, Tensors]:
    """Read an adapter that Lorecraft or PEFT wrote; the tensors as float32.

    ``targets`` are the full paths of the adapted modules, whatever pattern PEFT was given.
    Raises AdapterError for what is missing, broken, a pickle, or asks for more than LoRA.
    """
    config = _read_config(folder)
    tensors = read_tensors(_weights(folder))
    paths = []
    for name in tensors:
        match = _NAME.match(name)
        if match is None:
            raise AdapterError(
                f"{folder / WEIGHTS} has a tensor {name!r}",
                "names such as base_model.model.<module>.lora_A.weight (a LoRA of linear modules)",
            )
        paths.append(match["path"])
    targets = tuple(dict.fromkeys(paths))
    spec = AdapterSpec(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        dropout=float(config.get("lora_dropout") or 0.0),
        targets=targets,
        rslora=bool(config.get("use_rslora")),
        dora=bool(config.get("use_dora")),
        rank_pattern=_pattern(config, "rank_pattern", targets),
        alpha_pattern=_pattern(config, "alpha_pattern", targets),
    )
    check_tensors(folder / WEIGHTS, spec, tensors)
    return spec, tensors


def _config(spec: AdapterSpec, tensors: Mapping[str, Any], base: str) -> dict[str, Any]:
    """What PEFT reads."""
    paths = {match["path"] for name in tensors if (match := _NAME.match(name))}
    blocks = sorted({int(match[1]) for path in paths if (match := _BLOCK.search(path))})
    targets = _targets(spec, paths)
    some = spec.layers != "all" and targets != sorted(paths)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "target_modules": targets,
        "layers_to_transform": blocks if some else None,
        "layers_pattern": _layers_pattern(paths) if some else None,
        "rank_pattern": dict(spec.rank_pattern),
        "alpha_pattern": dict(spec.alpha_pattern),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": spec.dora,
        "use_rslora": spec.rslora,
    }


def _targets(spec: AdapterSpec, paths: set[str]) -> str | list[str]:
    """What PEFT finds these modules by: whole paths where anything shorter would also be found
    beside the decoder (in the encoder of a model that sees), or in other blocks."""
    expression = isinstance(spec.targets, str) and spec.targets != ALL
    if any("language_model" in path for path in paths) or (expression and spec.layers != "all"):
        return sorted(paths)
    if expression:
        return str(spec.targets)
    # PEFT takes `all-linear` for more than the blocks.
    named = {path.rsplit(".", 1)[-1] for path in paths}
    return sorted(named if spec.targets == ALL else spec.targets)


def _pattern(config: Mapping[str, Any], key: str, paths: Sequence[str]) -> dict[str, Any]:
    """A pattern of PEFT's, without what is for no module: PEFT only warns of that.

    Raises AdapterError for what is no pattern.
    """
    given = config.get(key) or {}
    try:
        excess = unmatched(given, paths)
        known = {name: given[name] for name in given if name not in excess}
        if all(number > 0 for number in known.values()):
            return known
    except (re.error, TypeError, AttributeError):
        pass
    raise AdapterError(f"{CONFIG}: {key} is {given!r}", "modules and numbers above 0")


def _layers_pattern(paths: set[str]) -> str:
    """The name of the list that holds the decoder blocks (``layers``, or GPT-2's ``h``)."""
    path = min(paths)
    numbered = _BLOCK.search(path)
    return path[: numbered.start()].rsplit(".", 1)[-1] if numbered else "layers"


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise AdapterError(
            f"no adapter in {folder}: it has no {CONFIG}", f"a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read: {error}", "a JSON object") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise AdapterError(f"{path} describes {kind or 'no PEFT adapter'}", "peft_type LORA")
    for key, what in _UNREAD.items():
        if config.get(key):
            raise AdapterError(f"{path}: {key} is {config[key]!r}", f"plain LoRA, without {what}")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(_CHANGES_BASE):
        raise AdapterError(
            f"{path}: init_lora_weights is {start!r}, which changed the base weights too",
            "an adapter for the base model as it is",
            "convert it with PEFT: save_pretrained(..., path_initial_model_for_weight_conversion=)",
        )
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float) or config[key] <= 0:
            raise AdapterError(f"{path}: {key} is {config.get(key)!r}", "a number above 0")
    return config


def _weights(folder: Path) -> Path:
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = folder / "adapter_model.bin"
        raise AdapterError(
            f"{folder} holds {pickled.name}, a pickle, which can run code when it is loaded"
            if pickled.exists()
            else f"{folder} has no {WEIGHTS}",
            WEIGHTS,
            "save it again with PEFT: model.save_pretrained(folder, safe_serialization=True)",
        )
    return path


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors file as float32. Raises AdapterError for a broken one."""
    from safetensors import SafetensorError, safe_open

    try:
        # Through torch, because NumPy has no bfloat16.
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float().numpy() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(
            f"{path} is broken: {error}", "a whole safetensors file", "copy or train it again"
        ) from error


def check_tensors(path: Path, spec: AdapterSpec, tensors: Tensors) -> None:
    """Raises AdapterError unless ``tensors`` (by PEFT name) are finite, of the spec's ranks, and
    hold magnitudes where it is DoRA."""
    if not tensors:
        raise AdapterError(f"{path} holds no tensors", "a LoRA adapter")
    magnitudes = sum(name.endswith("vector") for name in tensors)
    wanted = len(spec.targets) if spec.dora else 0
    if magnitudes != wanted:
        raise AdapterError(
            f"{path} holds DoRA's magnitudes for {magnitudes} modules",
            f"for {wanted}, as {CONFIG} says",
        )
    for name, tensor in tensors.items():
        match = _NAME.match(name)
        rank = spec.rank_of(match["path"]) if match else spec.rank
        side = name.endswith("lora_B.weight")
        if name.endswith("vector") == (tensor.ndim == 2) or (
            tensor.ndim == 2 and tensor.shape[side] != rank
        ):
            raise AdapterError(
                f"{path}: {name} has shape {list(tensor.shape)}", f"rank {rank}, as {CONFIG} says"
            )
        if not np.isfinite(tensor).all():
            raise AdapterError(
                f"{path}: {name} holds numbers that are not finite",
                "an adapter whose training did not diverge",
            )
