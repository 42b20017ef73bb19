"""Adapters on disk in mlx-lm's format: ``adapter_config.json`` and ``adapters.safetensors``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lorecraft.adapters.peft_format import CONFIG, Tensors, check_tensors, read_tensors
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.errors import AdapterError

WEIGHTS = "adapters.safetensors"

# mlx-lm keeps both matrices transposed: A [in, rank] and B [rank, out]; m is DoRA's.
_NAMES = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight", "m": "lora_magnitude_vector"}


def load(folder: Path) -> tuple[AdapterSpec, Tensors]:
    """Read a LoRA or DoRA adapter that mlx-lm wrote; the tensors by PEFT name, as float32.

    Raises AdapterError for what is missing, broken, or is neither.
    """
    rank, scale, dropout, dora = _parameters(folder / CONFIG)
    tensors: Tensors = {}
    for name, tensor in read_tensors(folder / WEIGHTS).items():
        path, _, last = name.rpartition(".")
        if last not in _NAMES:
            raise AdapterError(
                f"{folder / WEIGHTS} has a tensor {name!r}",
                "names such as model.layers.0.self_attn.q_proj.lora_a (a LoRA of linear modules)",
            )
        tensors[f"base_model.model.{path}.{_NAMES[last]}"] = np.ascontiguousarray(tensor.T)
    modules = (name.split(".lora_")[0].removeprefix("base_model.model.") for name in tensors)
    spec = AdapterSpec(rank, scale * rank, dropout, tuple(dict.fromkeys(modules)), dora=dora)
    check_tensors(folder / WEIGHTS, spec, tensors)
    return spec, tensors


def _parameters(path: Path) -> tuple[int, float, float, bool]:
    """Rank, scale (alpha / rank), dropout, and whether it is DoRA."""
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
        given = config["lora_parameters"]
        rank, scale, dropout = int(given["rank"]), float(given["scale"]), given.get("dropout", 0.0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{path} cannot be read: {type(error).__name__} {error}",
            "mlx-lm's configuration, with lora_parameters: rank and scale",
        ) from error
    kind = config.get("fine_tune_type", "lora")
    if kind not in ("lora", "dora") or rank < 1:
        raise AdapterError(
            f"{path}: fine_tune_type {kind}, rank {rank}", "lora or dora, rank 1 or more"
        )
    return rank, scale, float(dropout), kind == "dora"
