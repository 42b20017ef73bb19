"""A Transformers folder -> frozen weights on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from lorecraft.engines.torch import quantized
from lorecraft.errors import EngineError, ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device() -> str:
    """``cuda``, ``mps`` or ``cpu``, the first that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_dtype(name: str, device: str) -> torch.dtype:
    """``auto`` is bfloat16 where the device computes it in hardware, float32 elsewhere."""
    if name in DTYPES:
        return DTYPES[name]
    if name != "auto":
        raise EngineError(f"dtype {name!r}", expected=f"auto, {', '.join(DTYPES)}")
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "mps":
        fast = True
    else:
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def load(model: Path, device: str, dtype: torch.dtype, quantization: str) -> PreTrainedModel:
    """The frozen model in eval mode, every configured dropout at 0.

    Raises ModelError when the checkpoint cannot be read or leaves weights at random (which
    Transformers only logs), EngineError when the quantization is not available.
    """
    disable_progress_bar()
    settings: dict[str, Any] = {}
    if quantization != "none":
        settings["quantization_config"] = quantized.Quantization(quantization, device)
    with reading(model):
        network, info = AutoModelForCausalLM.from_pretrained(
            model,
            config=configuration(model),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **settings,
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{model} lacks {len(missing)} of the model's weights, first {missing[0]}; "
            "they would be random",
            expected="a complete checkpoint of the architecture that config.json names",
        )
    network.to(device)
    network.requires_grad_(False)
    network.eval()
    return network


def configuration(model: Path) -> PretrainedConfig:
    """The folder's configuration, every dropout at 0.

    Raises ModelError for weights that are quantized already.
    """
    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    for part in (config, config.get_text_config()):
        given = getattr(part, "quantization_config", None)
        if given is not None:
            how = given if isinstance(given, dict) else given.to_dict()
            raise ModelError(
                f"the weights in {model} are quantised already ({how.get('quant_method')})",
                expected="weights in float32, bfloat16 or float16",
                fix="the model that they were made from, with model.quantization: nf4 or int8",
            )
    _switch_dropout_off(config)
    return config


@contextmanager
def reading(model: Path) -> Iterator[None]:
    """Within: what Transformers raises for a folder that it cannot use becomes ModelError."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        RuntimeError,
        SafetensorError,
    ) as problem:
        raise ModelError(
            f"the model in {model} cannot be loaded: {_first_line(problem)}",
            expected="config.json and safetensors of a decoder that Transformers knows",
        ) from problem


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


def _switch_dropout_off(config: PretrainedConfig) -> None:
    """Some configs (seed_oss) ask for dropout in the frozen model: training would be noise."""
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for key, value in part.to_dict().items():
            if ("dropout" in key or key.endswith("_pdrop")) and isinstance(value, float):
                setattr(part, key, 0.0)
