"""DoRA after its linear (Liu et al. 2024, arXiv:2402.09353): a weight's rows brought to a length.

Of ``y = (W + s B A) x + bias`` all but the bias is multiplied by ``m / |W + s B A|``, row by row.
As in PEFT, the length that is divided by is a constant in the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-24
"""A squared length that rounding may have brought below 0 is taken for this."""


def lengths(weight: Tensor, squares: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The lengths of the rows of W + s B A, fp32 [out], without forming it: row by row they are
    ``|W|^2 + 2 s (W A^T . B) + s^2 (B A A^T . B)``; ``squares`` is the first of these."""
    across = (weight.to(a.dtype) @ a.t()).float()
    a, b = a.float(), b.float()
    across = torch.addmm(across, b, a @ a.t(), beta=2, alpha=scale)
    return (squares + scale * (across * b).sum(1)).clamp_(min=LEAST).sqrt_()


def stretch_(y: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
    """In place: all of y [T, out] but its bias multiplied by ``gain``, fp32 [out].

    What is added is small, so that y's dtype is fine enough for it.
    """
    more = gain - 1
    y.addcmul_(y, more.to(y.dtype))
    return y if bias is None else y.sub_((bias * more).to(y.dtype))


def gradient_of_gain(dy: Tensor, y: Tensor, bias: Tensor | None) -> Tensor:
    """fp32 [out], from the gradient [T, out] of what ``stretch_`` made of y."""
    sums = (dy * y).sum(0, dtype=torch.float32)
    return sums if bias is None else sums - bias * dy.sum(0, dtype=torch.float32)
