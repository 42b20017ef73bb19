"""A base quantised: which ways there are, what each needs, and the bytes that it holds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin

from lorecraft.engines.torch.int8 import CHUNK, Int8Linear, rounded
from lorecraft.errors import EngineError

QUANTIZATIONS = ("int8", "nf4")
"""nf4 is bitsandbytes' (Dettmers et al. 2023, arXiv:2305.14314)."""
NF4_BLOCK = 64
"""Weights that share a float32 scale."""
OURS = "lorecraft"
"""The method of quantization by which Transformers finds ``_Quantizer``."""


class Quantization(QuantizationConfigMixin):
    """What ``from_pretrained`` takes. Raises EngineError when it is not available."""

    def __init__(self, name: str, device: str) -> None:
        self.quant_method, self.name, self.device = OURS, name, device
        if name not in QUANTIZATIONS:
            raise EngineError(f"quantization {name!r}", f"none, {' or '.join(QUANTIZATIONS)}")
        if name != "nf4":
            return
        if importlib.util.find_spec("bitsandbytes") is None:
            raise EngineError(
                "quantization nf4 needs bitsandbytes, which is not installed",
                fix="pip install 'lorecraft[quantization]', or model.quantization: int8",
            )
        from bitsandbytes import supported_torch_devices

        if device not in supported_torch_devices:
            raise EngineError(
                f"quantization nf4 on {device}",
                f"a device that bitsandbytes knows: {', '.join(sorted(supported_torch_devices))}",
                "model.quantization: int8",
            )

    def empty(self, given: nn.Linear) -> nn.Module:
        """The same linear, small and without its weight."""
        if self.name == "int8":
            return Int8Linear(given)
        from bitsandbytes.nn import Linear4bit

        with torch.device("meta"):
            small = Linear4bit(given.in_features, given.out_features, False, given.weight.dtype)
        small.bias = given.bias
        # On a CPU, bitsandbytes repacks nf4 weights at the first eval forward; after that no
        # gradient passes through them, without an error.
        small.support_avx512bf16_for_cpu = False
        return small

    def tensors(self, small: nn.Module, weight: Tensor) -> dict[str, Tensor]:
        """What the small linear then holds of a weight, by name."""
        weight = weight.to(self.device)
        if self.name == "int8":
            whole, scale = rounded(weight)
            return {"weight": nn.Parameter(whole, requires_grad=False), "scale": scale}
        return {"weight": _nf4(small, weight)}


def convertible(network: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    """The linears that are quantised, by path: all but the head."""
    left = HfQuantizer.get_modules_to_not_convert(
        network, keep_in_fp32_modules=network._keep_in_fp32_modules
    )
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear) and should_convert_module(path, left):
            yield path, module


def quantize(network: PreTrainedModel, how: Quantization) -> None:
    """Quantise in place what did not come from a file."""
    for path, given in _emptied(network, how):
        small = network.get_submodule(path)
        for name, tensor in how.tensors(small, given.weight.data).items():
            setattr(small, name, tensor)


def _emptied(network: PreTrainedModel, how: Quantization) -> list[tuple[str, nn.Linear]]:
    """Puts an empty linear for each that is quantised, and returns those that were there."""
    found = list(convertible(network))
    if not found:
        raise EngineError(
            f"{type(network).__name__} has no linear that can be quantised",
            fix="model.quantization: none",
        )
    # Experts are kept as one tensor, which is no linear.
    ends = {network.get_input_embeddings(), network.get_output_embeddings()}
    rest = {w for end in ends if end is not None for w in end.parameters()}
    body = sum(weight.numel() for weight in network.parameters() if weight not in rest)
    if 2 * sum(given.weight.numel() for _, given in found) < body:
        raise EngineError(
            f"most of the blocks' weights of {type(network).__name__} would stay as they are",
            "a model whose weights are linears: mixtures of experts cannot be quantised yet",
            "model.quantization: none",
        )
    for path, given in found:
        network.set_submodule(path, how.empty(given))
    return found


def _nf4(small: nn.Module, weight: Tensor) -> nn.Parameter:
    """The weight packed: two numbers in a byte."""
    from bitsandbytes.functional import QuantState, quantize_4bit
    from bitsandbytes.nn import Params4bit

    flat, device = weight.contiguous().view(-1), weight.device
    packed = torch.empty(-(-len(flat) // 2), 1, dtype=torch.uint8, device=device)
    scales = torch.empty(-(-len(flat) // NF4_BLOCK), device=device)
    for first in range(0, len(flat), CHUNK):
        some = flat[first : first + CHUNK]
        # Where bitsandbytes has no kernel it would compile for each size, for many seconds.
        with torch.compiler.set_stance("force_eager"):
            part, state = quantize_4bit(some, blocksize=NF4_BLOCK, quant_type="nf4")
        packed[first // 2 :][: len(part)] = part
        scales[first // NF4_BLOCK :][: len(state.absmax)] = state.absmax
    state = QuantState(
        scales, weight.shape, state.code, NF4_BLOCK, quant_type="nf4", dtype=weight.dtype
    )
    return Params4bit(
        packed, False, state, NF4_BLOCK, False, "nf4", module=small, bnb_quantized=True
    )


def is_quantised(module: Any) -> bool:
    """Whether it is a linear that is quantised."""
    return isinstance(module, Int8Linear) or hasattr(getattr(module, "weight", None), "quant_state")


def dequantised(module: Any) -> Tensor:
    """The weight [out, in] of such a linear, in the dtype that the model computes in."""
    if isinstance(module, Int8Linear):
        return module.numbers()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(module.weight.data, module.weight.quant_state)


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


@register_quantizer(OURS)
class _Quantizer(HfQuantizer):
    """Quantises each weight as it is read, so that the model is never there whole."""

    quantization_config: Quantization

    def _process_model_before_weight_loading(self, model: PreTrainedModel, **_: Any) -> None:
        self._small = {path for path, _ in _emptied(model, self.quantization_config)}

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **_: Any) -> bool:
        path, _dot, name = param_name.rpartition(".")
        return name == "weight" and path in self._small

    def get_quantize_ops(self) -> ConversionOps:
        return _Quantize(self.quantization_config)

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return True


class _Quantize(ConversionOps):
    def __init__(self, how: Quantization) -> None:
        self._how = how

    def convert(
        self,
        input_dict: dict[str, Any],
        *_: Any,
        model: PreTrainedModel,
        full_layer_name: str,
        **__: Any,
    ) -> dict[str, Any]:
        (weight,) = input_dict.values()
        weight = weight[0] if isinstance(weight, list) else weight
        path = full_layer_name.removesuffix(".weight")
        tensors = self._how.tensors(model.get_submodule(path), weight)
        return {f"{path}.{name}": tensor for name, tensor in tensors.items()}
