"""A Transformers folder -> frozen weights on a device."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

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
        settings["quantization_config"] = quantized(quantization, dtype)
        settings["device_map"] = {"": device}
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
    if quantization == "none":
        network.to(device)
    network.requires_grad_(False)
    network.eval()
    _keep_nf4_trainable(network)
    return network


def configuration(model: Path) -> PretrainedConfig:
    """The folder's configuration, every dropout at 0."""
    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
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


def quantized(name: str, dtype: torch.dtype) -> Any:
    """Transformers' settings for a quantization. Raises EngineError when it is not available."""
    if name not in ("int8", "nf4"):
        raise EngineError(f"quantization {name!r}", expected="none, int8 or nf4")
    missing = [m for m in ("bitsandbytes", "accelerate") if importlib.util.find_spec(m) is None]
    if missing:
        raise EngineError(
            f"quantization {name} needs {' and '.join(missing)}, which is not installed",
            fix="pip install 'lorecraft[quantization]'",
        )
    from transformers import BitsAndBytesConfig

    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def _switch_dropout_off(config: PretrainedConfig) -> None:
    """Some configs (seed_oss) ask for dropout in the frozen model: training would be noise."""
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        for key, value in part.to_dict().items():
            if ("dropout" in key or key.endswith("_pdrop")) and isinstance(value, float):
                setattr(part, key, 0.0)


def _keep_nf4_trainable(network: nn.Module) -> None:
    """On a CPU, bitsandbytes repacks nf4 weights at the first eval forward; after that no
    gradient passes through them, without an error."""
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
