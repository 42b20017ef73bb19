"""Frozen linears in 8 bits: whole numbers, and a scale for each row.

Neither library that was tried does this for training. torchao's linear keeps every weight in the
input's dtype from forward to backward, which is more than the unquantised model; bitsandbytes'
brings activations to 8 bits too (Dettmers et al. 2022, arXiv:2208.07339), so that a token's logits
follow later tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CHUNK = 2**16
"""Weights that are quantised at once. Of larger pieces glibc's allocator keeps the holes between
what lives on, which came to seven times the model."""


class Int8Linear(nn.Linear):
    """``weight`` int8 [out, in], ``scale`` float32 [out]; ``dtype`` is what it was made from."""

    scale: Tensor

    def __init__(self, given: nn.Linear) -> None:
        """Still empty."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = given.in_features, given.out_features
        self.dtype = given.weight.dtype
        size = (given.out_features, given.in_features)
        weight = torch.empty(size, dtype=torch.int8, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", torch.empty(given.out_features, device="meta"))
        self.bias = given.bias

    def numbers(self) -> Tensor:
        """The weight [out, in] that is computed with, for the moment."""
        return self.weight.to(self.dtype).mul_(self.scale.to(self.dtype)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self)
        return y if self.bias is None else y + self.bias


class _Product(torch.autograd.Function):
    """Keeps the whole numbers alone, which are there anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: Int8Linear) -> Tensor:
        ctx.linear = linear
        return x @ linear.numbers().t()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        return dy @ ctx.linear.numbers(), None


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127, and the scale of each row that makes them the weights."""
    whole = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), device=weight.device)
    step = max(1, CHUNK // weight.shape[1])
    for first in range(0, len(weight), step):
        part = slice(first, first + step)
        exact = weight[part].float()
        scale = exact.abs().amax(1) / 127
        scales[part] = torch.where(scale > 0, scale, 1.0)
        whole[part] = (exact / scales[part, None]).round_()
    return whole, scales
