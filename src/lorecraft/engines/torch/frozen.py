"""The frozen linears that adapters stand on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lorecraft.engines.lora import Linear
from lorecraft.engines.torch.quantized import dequantised, is_quantised
from lorecraft.errors import EngineError, ModelError


class Frozen:
    """The linears of a model's decoder blocks, by path."""

    def __init__(self, network: PreTrainedModel) -> None:
        self._network = network
        self.blocks, self.linears = linears_of(network)
        self.stack = stack_of(network)[1]
        self._squares: dict[str, Tensor] = {}

    def module(self, path: str) -> nn.Module:
        return self._network.get_submodule(path)

    def weight(self, path: str) -> Tensor:
        """[out, in] as numbers, whatever it is kept as. Raises EngineError where it cannot be."""
        module = self.module(path)
        return _weight(module).t() if type(module).__name__ == "Conv1D" else _weight(module)

    def squares(self, path: str) -> Tensor:
        """The squared lengths of the weight's rows, fp32 [out]; computed once."""
        if path not in self._squares:
            lengths = torch.linalg.vector_norm(self.weight(path), dim=1, dtype=torch.float32)
            self._squares[path] = lengths.square_()
        return self._squares[path]


def linears_of(network: PreTrainedModel) -> tuple[int, list[Linear]]:
    """How many decoder blocks there are, and the linears inside them; never those of an encoder
    for images or sound."""
    path, stack = stack_of(network)
    found = []
    for block, layer in enumerate(stack):
        for name, module in layer.named_modules():
            size = _size(module)
            if size is not None:
                found.append(Linear(f"{path}.{block}.{name}", block, *size))
    return len(stack), found


def stack_of(network: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The decoder's blocks, and the path of their list."""
    blocks = network.config.get_text_config().num_hidden_layers
    decoder = network.get_decoder()
    at = next(path for path, module in network.named_modules() if module is decoder)
    for path, stack in decoder.named_modules(prefix=at):
        if isinstance(stack, nn.ModuleList) and len(stack) == blocks:
            return path, stack
    raise ModelError(
        f"{type(network).__name__} has no list of {blocks} decoder blocks",
        expected="a decoder with its blocks in one list",
    )


def _size(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map; GPT-2 keeps its linears as transposed Conv1D."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":
        return int(module.nx), int(module.nf)  # type: ignore[arg-type]
    return None


def _weight(module: Any) -> Tensor:
    """The weight as it is, or as it is computed with."""
    if is_quantised(module):
        return dequantised(module)
    weight: Tensor = module.weight.data
    if weight.is_floating_point():
        return weight
    raise EngineError(
        f"DoRA needs the numbers of the weights, and {type(module).__name__} does not tell them",
        "a base without quantization, or int8 or nf4",
    )
