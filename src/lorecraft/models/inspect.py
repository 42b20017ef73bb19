"""What a checkpoint is, read from its files without loading it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorecraft.errors import ModelError
from lorecraft.models.find import header

HASHED_WHOLE = 64 * 2**20
"""Bytes up to which all of a weight file goes into the fingerprint."""
SAMPLES, SAMPLE = 64, 2**18
"""Of larger ones: so many pieces of so many bytes, evenly spaced. A fine-tune changes them all."""


@dataclass(frozen=True)
class ModelInfo:
    """A checkpoint in figures.

    Attributes:
        layers, hidden, vocabulary, context: as configured; None where the configuration leaves it
            to Transformers' default. ``context`` is the longest sequence in tokens.
        parameters: numbers in all its tensors; tied weights are stored, and counted, once.
        bytes: size of the weights on disk.
        fingerprint: sha256 over configuration and weights (of files above 64 MiB: header, size and
            16 MiB in evenly spaced pieces).
    """

    architecture: str
    model_type: str
    layers: int | None
    hidden: int | None
    vocabulary: int | None
    parameters: int
    dtype: str
    context: int | None
    bytes: int
    fingerprint: str

    def longest(self, limit: int) -> int:
        """``limit``, or what the context leaves of it; in tokens."""
        return min(limit, self.context or limit)


def inspect(folder: Path) -> ModelInfo:
    """Raises ModelError for a configuration or weights that cannot be read."""
    path = folder / "config.json"
    try:
        config = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", "a JSON object") from error
    text = config.get("text_config", config)
    weights = sorted(folder.glob("*.safetensors"))
    headers = {file: header(file) for file in weights}
    shapes = [entry["shape"] for tensors in headers.values() for entry in tensors.values()]
    return ModelInfo(
        architecture=(config.get("architectures") or ["unknown"])[0],
        model_type=config.get("model_type", "unknown"),
        layers=_number(text, "num_hidden_layers", "n_layer"),
        hidden=_number(text, "hidden_size", "n_embd"),
        vocabulary=_number(text, "vocab_size"),
        parameters=sum(math.prod(shape) for shape in shapes),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "unknown"),
        context=_number(text, "max_position_embeddings", "n_positions"),
        bytes=sum(file.stat().st_size for file in weights),
        fingerprint=_fingerprint(path, weights),
    )


def _number(config: dict[str, Any], *names: str) -> int | None:
    """The first of ``names`` that the configuration gives."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), None)


def _fingerprint(config: Path, weights: list[Path]) -> str:
    digest = hashlib.sha256(config.read_bytes())
    for file in weights:
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        if size <= HASHED_WHOLE:
            digest.update(file.read_bytes())
        else:
            digest.update(json.dumps(header(file), sort_keys=True).encode())
            with file.open("rb") as content:
                for piece in range(SAMPLES):
                    content.seek(piece * (size - SAMPLE) // (SAMPLES - 1))
                    digest.update(content.read(SAMPLE))
    return digest.hexdigest()
