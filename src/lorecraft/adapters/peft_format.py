"""Adapters on disk in PEFT's format: ``adapter_config.json`` and ``adapter_model.safetensors``."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.errors import AdapterError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

Tensors = dict[str, NDArray[np.float32]]

_NAME = re.compile(r"^base_model\.model\.(?P<path>.+)\.lora_[AB]\.weight$")
_BLOCK = re.compile(r"\.(\d+)\.")
_UNREAD = {
    "use_dora": "DoRA",
    "use_rslora": "rank-stabilised LoRA",
    "rank_pattern": "ranks that differ from module to module",
    "alpha_pattern": "alphas that differ from module to module",
    "modules_to_save": "whole modules saved beside the adapter",
    "fan_in_fan_out": "transposed base weights",
}
"""What PEFT's configuration may ask for and this reader does not know, in words."""


def save(folder: Path, spec: AdapterSpec, tensors: Mapping[str, NDArray[Any]], base: str) -> None:
    """Write an adapter as a whole: the folder is complete, or as it was.

    Args:
        tensors: by PEFT name (see ``engines.base.Engine``), float32.
        base: name or path of the base model, as it is to stand in the configuration.
    """
    from safetensors.numpy import save_file

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(
        {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()},
        partial / WEIGHTS,
        metadata={"format": "pt"},
    )
    config = json.dumps(_config(spec, tensors, base), indent=2, sort_keys=True)
    (partial / CONFIG).write_text(config + "\n", "utf-8")
    for name in (WEIGHTS, CONFIG):
        with (partial / name).open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load(folder: Path) -> tuple[AdapterSpec, Tensors]:
    """Read an adapter that Lorecraft or PEFT wrote; the tensors as float32.

    ``targets`` are the full paths of the adapted modules, whatever pattern PEFT was given.
    Raises AdapterError for what is missing, broken, a pickle, or asks for more than LoRA.
    """
    config = _read_config(folder)
    tensors = _read_tensors(folder)
    paths = []
    for name in tensors:
        match = _NAME.match(name)
        if match is None:
            raise AdapterError(
                f"{folder / WEIGHTS} has a tensor {name!r}",
                "names such as base_model.model.<module>.lora_A.weight (a LoRA of linear modules)",
            )
        paths.append(match["path"])
    spec = AdapterSpec(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        dropout=float(config.get("lora_dropout") or 0.0),
        targets=tuple(dict.fromkeys(paths)),
    )
    _check_ranks(folder, spec, tensors)
    return spec, tensors


def _config(spec: AdapterSpec, tensors: Mapping[str, Any], base: str) -> dict[str, Any]:
    """What PEFT reads. Its targets are names of modules, and blocks are listed one by one."""
    paths = {match["path"] for name in tensors if (match := _NAME.match(name))}
    blocks = sorted({int(match[1]) for path in paths if (match := _BLOCK.search(path))})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "target_modules": sorted({path.rsplit(".", 1)[-1] for path in paths}),
        "layers_to_transform": None if spec.layers == "all" else blocks,
        "layers_pattern": None if spec.layers == "all" else _layers_pattern(paths),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }


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
    missing = [key for key in ("r", "lora_alpha") if not isinstance(config.get(key), int | float)]
    if missing:
        raise AdapterError(f"{path} gives no {missing[0]}", "a number")
    return config


def _read_tensors(folder: Path) -> Tensors:
    from safetensors import SafetensorError, safe_open

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
    try:
        # Through torch, because NumPy has no bfloat16.
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).float().numpy() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(
            f"{path} is broken: {error}", "a whole safetensors file", "copy or train it again"
        ) from error


def _check_ranks(folder: Path, spec: AdapterSpec, tensors: Tensors) -> None:
    if not tensors:
        raise AdapterError(f"{folder / WEIGHTS} holds no tensors", "a LoRA adapter")
    for name, tensor in tensors.items():
        rank = tensor.shape[0 if name.endswith("lora_A.weight") else -1]
        if tensor.ndim != 2 or rank != spec.rank:
            raise AdapterError(
                f"{folder / WEIGHTS}: {name} has shape {list(tensor.shape)}",
                f"rank {spec.rank}, as {CONFIG} says",
            )
