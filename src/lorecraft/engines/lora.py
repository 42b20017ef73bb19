"""LoRA as every engine understands it: which linears, under what names, from what start."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import ALL, AdapterSpec, is_called, unmatched
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


def names(path: str) -> tuple[str, str, str]:
    """PEFT's names of A, B and DoRA's magnitudes at a module path."""
    at = f"base_model.model.{path}"
    return f"{at}.lora_A.weight", f"{at}.lora_B.weight", f"{at}.lora_magnitude_vector"


def choose(spec: AdapterSpec, linears: Sequence[Linear], blocks: int) -> list[Linear]:
    """The linears that ``spec`` adapts, in the model's order.

    Raises AdapterError for a rank, a number of layers, a target or a pattern that cannot be.
    """
    for rank in (spec.rank, *spec.rank_pattern.values()):
        if rank < 1:
            raise AdapterError(f"adapter rank {rank}", expected="a rank of at least 1")
    last = blocks if spec.layers == "all" else spec.layers
    if not isinstance(last, int) or not 1 <= last <= blocks:
        raise AdapterError(
            f"adapter layers {spec.layers!r} on a model of {blocks} layers",
            expected=f"'all' or 1 to {blocks}",
        )
    within = [linear for linear in linears if linear.block >= blocks - last]
    try:
        chosen = [linear for linear in within if spec.adapts(linear.path)]
        _check_all_match(spec, within, chosen)
    except re.error as error:
        raise AdapterError(
            f"adapter pattern {error.pattern!r} is no regular expression: {error}",
            expected="a pattern such as .*\\.[qv]_proj",
        ) from error
    return chosen


def _check_all_match(spec: AdapterSpec, within: Sequence[Linear], chosen: Sequence[Linear]) -> None:
    """Raises AdapterError for a target or a pattern that is for no module."""
    there = _told(within)
    if isinstance(spec.targets, str):
        missed = [] if chosen else [spec.targets]
    else:
        missed = [t for t in spec.targets if not any(is_called(x.path, t) for x in within)]
    if missed or not chosen:
        raise AdapterError(
            f"adapter target {missed[0]!r} matches no linear module"
            if missed
            else "the adapter has no targets",
            expected=f"names among {there}, a regular expression for whole paths, or {ALL}",
        )
    for key in ("rank_pattern", "alpha_pattern"):
        missed = unmatched(getattr(spec, key), [linear.path for linear in chosen])
        if missed:
            raise AdapterError(
                f"adapter.{key}: {missed[0]!r} matches no adapted module",
                expected=f"names among {_told(chosen)}, or a regular expression that ends one's "
                "path",
            )


def _told(linears: Sequence[Linear]) -> str:
    """The names of linears, and one whole path."""
    found = ", ".join(sorted(kinds(linears)))
    return f"{found} (the first is {linears[0].path})" if linears else "(none)"


def kinds(linears: Sequence[Linear]) -> tuple[str, ...]:
    """What linears are called inside their blocks, each name once: ``("q_proj", "v_proj")``."""
    return tuple(dict.fromkeys(linear.path.rsplit(".", 1)[-1] for linear in linears))


def shapes(spec: AdapterSpec, linears: Sequence[Linear]) -> dict[str, tuple[int, ...]]:
    """PEFT name -> shape: every A, every B, then DoRA's magnitudes, each in the order of
    ``linears``."""
    ranks = {linear.path: spec.rank_of(linear.path) for linear in linears}
    a = {names(one.path)[0]: (ranks[one.path], one.inputs) for one in linears}
    b = {names(one.path)[1]: (one.outputs, ranks[one.path]) for one in linears}
    m = {names(one.path)[2]: (one.outputs,) for one in linears if spec.dora}
    return {**a, **b, **m}


def initial(
    expected: Mapping[str, tuple[int, ...]], seed: int, lengths: Callable[[str], Float32]
) -> dict[str, Float32]:
    """A ~ Kaiming-uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); B = 0.

    ``lengths`` tells those of the rows of the frozen weight at a path, where DoRA begins.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected.items():
        if name.endswith("lora_A.weight"):
            bound = shape[1] ** -0.5
            tensors[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        elif name.endswith("lora_B.weight"):
            tensors[name] = np.zeros(shape, np.float32)
        else:
            path = name.removeprefix("base_model.model.").removesuffix(".lora_magnitude_vector")
            tensors[name] = np.asarray(lengths(path), np.float32)
    return tensors


def fitted(expected: Mapping[str, tuple[int, ...]], weights: Arrays) -> dict[str, Float32]:
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
