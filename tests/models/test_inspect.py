"""What is said of checkpoints whose configurations differ in shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from lorecraft.errors import ModelError
from lorecraft.models.inspect import inspect


def checkpoint(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"a": np.zeros((3, 4), np.float32)}, folder / "model-1.safetensors")
    save_file({"b": np.zeros(5, np.float32)}, folder / "model-2.safetensors")
    return folder


def test_the_text_model_of_a_vision_model_may_leave_out_defaults(tmp_path: Path) -> None:
    text = {"hidden_size": 8, "num_hidden_layers": 2}
    info = inspect(checkpoint(tmp_path, {"model_type": "gemma3", "text_config": text}))
    assert (info.layers, info.hidden, info.vocabulary, info.context) == (2, 8, None, None)


def test_gpt2_s_names_are_understood(tmp_path: Path) -> None:
    config = {"n_layer": 2, "n_embd": 8, "vocab_size": 50, "n_positions": 32}
    info = inspect(checkpoint(tmp_path, config))
    assert (info.layers, info.hidden, info.vocabulary, info.context) == (2, 8, 50, 32)


def test_all_weight_files_are_counted(tmp_path: Path) -> None:
    info = inspect(checkpoint(tmp_path, {}))
    assert info.parameters == 17
    assert info.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("config", [[1], "text", None])
def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path, config: object) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        inspect(checkpoint(tmp_path, config))
