"""Adapters of mlx-lm's, read as PEFT's are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lorecraft.adapters import formats
from lorecraft.errors import AdapterError

PATH = "model.layers.0.self_attn.q_proj"


def saved(folder: Path, kind: str = "dora", **extra: np.ndarray) -> dict[str, np.ndarray]:
    """What mlx-lm would write for one linear [4, 6], and the same by PEFT's names."""
    random = np.random.default_rng(0)
    a, b, m = (random.normal(size=size).astype(np.float32) for size in ((4, 2), (2, 6), (6,)))
    tensors = {f"{PATH}.lora_a": a, f"{PATH}.lora_b": b, f"{PATH}.m": m, **extra}
    folder.mkdir()
    save_file(tensors, folder / "adapters.safetensors")
    parameters = {"rank": 2, "scale": 20.0, "dropout": 0.1, "keys": ["self_attn.q_proj"]}
    config = {"fine_tune_type": kind, "num_layers": -1, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    at = f"base_model.model.{PATH}"
    return {
        f"{at}.lora_A.weight": a.T,
        f"{at}.lora_B.weight": b.T,
        f"{at}.lora_magnitude_vector": m,
    }


def test_dora_is_read_with_its_magnitudes(tmp_path: Path) -> None:
    expected = saved(tmp_path / "adapter")
    spec, tensors = formats.load(tmp_path / "adapter")
    assert (spec.rank, spec.scale_of(PATH), spec.dropout, spec.dora) == (2, 20.0, 0.1, True)
    assert spec.targets == (PATH,)
    assert tensors.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(tensors[name], expected[name])


def test_magnitudes_without_dora_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "adapter", kind="lora")
    with pytest.raises(AdapterError, match="magnitudes for 1 modules"):
        formats.load(tmp_path / "adapter")


def test_a_tensor_of_another_kind_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "adapter", **{f"{PATH}.scales": np.ones(3, np.float32)})
    with pytest.raises(AdapterError, match=r"a tensor '.*q_proj\.scales'"):
        formats.load(tmp_path / "adapter")
