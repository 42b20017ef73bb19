"""LoRA as every engine understands it: which linears, under what names, from what start."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines.base import BASE, Arrays
from lorecraft.errors import AdapterError

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """A linear map of a decoder block that can carry an adapter."""

    path: str
    block: int
    inputs: int
    outputs: int


def names(path: str) -> tuple[str, str]:
    """PEFT's names of A and B at a module path."""
    return f"base_model.model.{path}.lora_A.weight", f"base_model.model.{path}.lora_B.weight"


def choose(spec: AdapterSpec, linears: Sequence[Linear], blocks: int) -> list[Linear]:
    """The linears that ``spec`` adapts, in the model's order.

    Raises AdapterError for a rank, a number of layers or a target that cannot be.
    """
    if spec.rank < 1:
        raise AdapterError(f"adapter rank {spec.rank}", expected="a rank of at least 1")
    last = blocks if spec.layers == "all" else spec.layers
    if not isinstance(last, int) or not 1 <= last <= blocks:
        raise AdapterError(
            f"adapter layers {spec.layers!r} on a model of {blocks} layers",
            expected=f"'all' or 1 to {blocks}",
        )
    within = [linear for linear in linears if linear.block >= blocks - last]
    if spec.targets == ("all-linear",):
        chosen = within
    else:
        known = sorted({linear.path.rsplit(".", 1)[-1] for linear in within})
        for target in spec.targets:
            if not any(_is_called(linear.path, target) for linear in within):
                raise AdapterError(
                    f"adapter target {target!r} matches no linear module",
                    expected=f"names among {', '.join(known) or '(none)'}, or all-linear",
                )
        chosen = [
            linear for linear in within if any(_is_called(linear.path, t) for t in spec.targets)
        ]
    if not chosen:
        raise AdapterError(
            "the adapter matches no linear module", expected="a model whose blocks hold linears"
        )
    return chosen


def _is_called(path: str, target: str) -> bool:
    return path == target or path.endswith("." + target)


def shapes(rank: int, linears: Sequence[Linear]) -> dict[str, tuple[int, int]]:
    """PEFT name -> shape, A before B, in the order of ``linears``."""
    result = {}
    for linear in linears:
        a, b = names(linear.path)
        result[a], result[b] = (rank, linear.inputs), (linear.outputs, rank)
    return result


def initial(expected: Mapping[str, tuple[int, int]], seed: int) -> dict[str, Float32]:
    """A ~ Kaiming-uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); B = 0."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected.items():
        if name.endswith("lora_A.weight"):
            bound = shape[1] ** -0.5
            tensors[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        else:
            tensors[name] = np.zeros(shape, np.float32)
    return tensors


def fitted(expected: Mapping[str, tuple[int, int]], weights: Arrays) -> dict[str, Float32]:
    """``weights`` as float32 in the expected order. Raises AdapterError when they do not fit."""
    missing = [name for name in expected if name not in weights]
    excess = [name for name in weights if name not in expected]
    wrong = [n for n in expected if n in weights and weights[n].shape != expected[n]]
    if missing:
        raise AdapterError(
            f"the adapter lacks {len(missing)} of {len(expected)} tensors, first {missing[0]}",
            expected="an adapter made for this model and these settings",
        )
    if excess:
        raise AdapterError(
            f"the adapter has {len(excess)} tensors with no place here, first {excess[0]}",
            expected="an adapter made for this model and these settings",
        )
    if wrong:
        raise AdapterError(
            f"{wrong[0]} has shape {list(weights[wrong[0]].shape)}",
            expected=f"{list(expected[wrong[0]])}",
        )
    return {name: np.asarray(weights[name], np.float32) for name in expected}


def check_slots(used: Sequence[int], attached: Collection[int]) -> None:
    """Raises AdapterError for a slot that is neither ``BASE`` nor among ``attached``."""
    for slot in sorted(set(used)):
        if slot != BASE and slot not in attached:
            held = ", ".join(map(str, attached)) or "none"
            raise AdapterError(
                f"adapter slot {slot}", expected=f"-1 (the base), or an attached one ({held})"
            )
