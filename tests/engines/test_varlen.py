"""What the variable-length kernel is told gives what buckets give. The kernel itself runs on CUDA
alone; here a stand-in computes what its documentation says."""

from __future__ import annotations

import pytest
import torch

from lorecraft.engines.torch import varlen
from lorecraft.engines.torch.attention import Score, causal
from lorecraft.engines.torch.segments import Segments

LENGTHS, PARENTS = (5, 7, 3, 3, 2), (-1, -1, 0, 0, 2)


def stand_in(q, k, v, cu_q, cu_k, max_q, max_k, *, scale, window_size, enable_gqa):
    assert cu_q.dtype == cu_k.dtype == torch.int32
    assert max_q == int(cu_q.diff().max())
    assert max_k == int(cu_k.diff().max())
    assert enable_gqa == (q.shape[1] != k.shape[1])
    left, right = window_size
    assert right == 0
    how = Score(scale, None, None if left < 0 else left + 1)
    parts = []
    for n in range(len(cu_q) - 1):
        own, seen = slice(*cu_q[n : n + 2].tolist()), slice(*cu_k[n : n + 2].tolist())
        blocks = (x[part].transpose(0, 1)[None] for x, part in ((q, own), (k, seen), (v, seen)))
        parts.append(causal(*blocks, how)[0])
    return torch.cat(parts)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("parents", [PARENTS, (-1,) * 5])
def test_segments_see_what_they_see_in_buckets(parents, window, monkeypatch):
    torch.manual_seed(0)
    tokens = sum(LENGTHS)
    given = [torch.randn(1, h, tokens, 8, requires_grad=True) for h in (4, 2, 2)]
    how = Score(0.3, None, window)
    layout = Segments(LENGTHS, "cpu", parents=parents)
    expected = layout.attend(torch.nn.Identity(), *given, how)
    d = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, given, d)
    monkeypatch.setattr(varlen, "kernel", lambda: stand_in)
    monkeypatch.setattr(varlen, "serves", lambda *_: True)
    seen = layout.attend(torch.nn.Identity(), *given, how)
    assert (seen - expected).abs().max() < 1e-5
    for one, other in zip(torch.autograd.grad(seen, given, d), gradients, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_the_kernel_is_pytorchs_own_and_not_taken_on_a_cpu():
    assert varlen.kernel() is not None
    assert not varlen.serves(torch.zeros(3, 2, 8, dtype=torch.bfloat16), Score(1.0, None, None))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("parents", [PARENTS, (-1,) * 5])
def test_the_kernel_gives_what_buckets_give(parents, monkeypatch):
    given = [
        torch.randn(1, h, sum(LENGTHS), 64, device="cuda", dtype=torch.bfloat16) for h in (4, 2, 2)
    ]
    layout, how = Segments(LENGTHS, "cuda", parents=parents), Score(0.125, None, None)
    seen = layout.attend(torch.nn.Identity(), *given, how)
    monkeypatch.setattr(varlen, "serves", lambda *_: False)
    expected = layout.attend(torch.nn.Identity(), *given, how)
    assert (seen - expected).abs().max() < 3e-2
