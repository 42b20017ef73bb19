"""Adapters on disk, whoever wrote them."""

from __future__ import annotations

from pathlib import Path

from lorecraft.adapters import mlx_format, peft_format
from lorecraft.adapters.peft_format import Tensors
from lorecraft.adapters.spec import AdapterSpec


def load(folder: Path) -> tuple[AdapterSpec, Tensors]:
    """Read an adapter in PEFT's or mlx-lm's form; the tensors by PEFT name, as float32.

    Raises AdapterError for what is missing, broken or asks for more than LoRA.
    """
    mlx = (folder / mlx_format.WEIGHTS).is_file() and not (folder / peft_format.WEIGHTS).is_file()
    return mlx_format.load(folder) if mlx else peft_format.load(folder)
