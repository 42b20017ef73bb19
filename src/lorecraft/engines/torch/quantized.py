"""A base quantised: which ways there are, what each needs, and the bytes that it holds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name, should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin

from lorecraft.engines.torch.int8 import Int8Linear, rounded
from lorecraft.errors import EngineError

QUANTIZATIONS = ("int8", "nf4")
"""nf4 is bitsandbytes' (Dettmers et al. 2023, arXiv:2305.14314)."""
NF4_BLOCK = 64
"""Weights that share a float32 scale."""
INT8 = "lorecraft-int8"
"""By this name Transformers knows ours."""


def settings(name: str, device: str, dtype: torch.dtype) -> Any:
    """Transformers' settings for it. Raises EngineError when it is not available."""
    if name == "int8":
        return _Int8Config()
    if name != "nf4":
        raise EngineError(f"quantization {name!r}", f"none, {' or '.join(QUANTIZATIONS)}")
    missing = [m for m in ("bitsandbytes", "accelerate") if importlib.util.find_spec(m) is None]
    if missing:
        raise EngineError(
            f"quantization nf4 needs {' and '.join(missing)}, which is not installed",
            fix="pip install 'lorecraft[quantization]', or model.quantization: int8",
        )
    from bitsandbytes import supported_torch_devices

    if device not in supported_torch_devices:
        raise EngineError(
            f"quantization nf4 on {device}",
            f"a device that bitsandbytes knows: {', '.join(sorted(supported_torch_devices))}",
            "model.quantization: int8",
        )
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )


def convertible(network: PreTrainedModel, name: str) -> Iterator[tuple[str, Any]]:
    """The linears that Transformers quantises, by path: all but the head."""
    left = HfQuantizer.get_modules_to_not_convert(
        network, keep_in_fp32_modules=network._keep_in_fp32_modules
    )
    for path, module in network.named_modules():
        turned = name == "nf4" and type(module).__name__ == "Conv1D"
        if (turned or isinstance(module, nn.Linear)) and should_convert_module(path, left):
            yield path, module


def quantize(network: PreTrainedModel, name: str, dtype: torch.dtype) -> None:
    """Quantise in place what did not come from a file."""
    for path, module in list(convertible(network, name)):
        if isinstance(module, nn.Linear):
            small = Int8Linear(module) if name == "int8" else _nf4(module, dtype)
            network.set_submodule(path, small)


def keep_trainable(network: PreTrainedModel) -> None:
    """On a CPU, bitsandbytes repacks nf4 weights at the first eval forward; after that no
    gradient passes through them, without an error."""
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def weight_bytes(name: str, weight: Tensor) -> int:
    """Bytes that a linear's weight takes when it is quantised."""
    if name == "int8":
        return weight.numel() + 4 * weight.shape[0]
    return -(-weight.numel() // 2) + 4 * -(-weight.numel() // NF4_BLOCK)


def held(network: PreTrainedModel) -> int:
    """Bytes of all that the network holds, nf4's scales too."""
    states = (getattr(weight, "quant_state", None) for weight in network.parameters())
    scales = sum(state.absmax.nbytes for state in states if state is not None)
    return network.get_memory_footprint() + scales


def _nf4(module: nn.Linear, dtype: torch.dtype) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    with torch.device("meta"):
        small = Linear4bit(module.in_features, module.out_features, False, dtype)
    weight = Params4bit(
        module.weight.data, False, compress_statistics=False, quant_type="nf4", module=small
    )
    small.weight, small.bias = weight.to(module.weight.device), module.bias
    return small


class _Int8Config(QuantizationConfigMixin):
    """What ``from_pretrained`` takes."""

    def __init__(self) -> None:
        self.quant_method = INT8


@register_quantizer(INT8)
class _Quantizer(HfQuantizer):
    """Rounds each weight as it is read, so that the unquantised model is never there whole."""

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **_: Any) -> None:
        for path, module in list(convertible(model, "int8")):
            model.set_submodule(path, Int8Linear(module))

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **_: Any) -> bool:
        module, name = get_module_from_name(model, param_name)
        return isinstance(module, Int8Linear) and name == "weight"

    def get_quantize_ops(self) -> ConversionOps:
        return _Round()

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return True


class _Round(ConversionOps):
    def convert(
        self, input_dict: dict[str, Any], *_: Any, full_layer_name: str, **__: Any
    ) -> dict[str, Any]:
        (value,) = input_dict.values()
        weight, scale = rounded(value[0] if isinstance(value, list) else value)
        return {full_layer_name: weight, full_layer_name.removesuffix("weight") + "scale": scale}
