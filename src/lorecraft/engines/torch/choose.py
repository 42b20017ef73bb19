"""Which of the ways to compute a model is the fastest that gives its own logits."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from lorecraft.engines.base import BASE
from lorecraft.engines.torch.adapters import Adapters
from lorecraft.engines.torch.attention import PACKED, Score, watched
from lorecraft.engines.torch.decoder import Decoder
from lorecraft.engines.torch.forward import Forward, OneByOne, Packed, Row


def choose(network: PreTrainedModel, adapters: Adapters, device: str) -> Forward:
    """The fastest that gives this model's own logits: ``Decoder``, ``Packed`` or ``OneByOne``.

    It is tried, because no flag of Transformers says whether a model keeps packed segments apart
    (convolutions and recurrences do not) or does something else in its attention.
    """
    alone = OneByOne(network, adapters, device)
    takes_positions = "position_ids" in inspect.signature(network.forward).parameters
    if not (network._supports_attention_backend and takes_positions) or _by_longest(network):
        return alone
    vocabulary = network.config.get_text_config().vocab_size
    random = np.random.default_rng(0)
    probe = [
        Row(random.integers(0, vocabulary, n, np.int32), np.arange(n), BASE) for n in (5, 9, 7)
    ]
    before = network.config._attn_implementation

    tolerance = 1e-3 if network.dtype == torch.float32 else 5e-2

    def agrees(forward: Packed) -> bool:
        seen = forward.logits(probe).float()
        return float((seen - expected).norm() / expected.norm()) < tolerance

    with torch.no_grad():
        network.set_attn_implementation("eager")
        expected = alone.logits(probe).float()
        network.set_attn_implementation(PACKED)
        packed = Packed(network, adapters, device)
        with watched() as how:
            exact = agrees(packed)
        if not exact or _windows_elsewhere(network, how):
            network.set_attn_implementation(before)
            return alone
        if device == "cpu" and Decoder.fits(network):
            decoder = Decoder(network, adapters, device, how)
            if agrees(decoder):
                return decoder
        packed.split_head(probe)
        return packed


def _windows_elsewhere(network: PreTrainedModel, how: Mapping[nn.Module, Score]) -> bool:
    """Whether some layer has a window of which its attention is not told: in the mask alone, which
    packed rows do without, and which the probe is too short to meet."""
    config = network.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        slides = getattr(config, "sliding_window", None) and getattr(
            config, "use_sliding_window", True
        )
        kinds = ["sliding_attention"] * (len(how) if slides else 0)
    windows = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    return sum(score.window is not None for score in how.values()) < windows


def _by_longest(network: PreTrainedModel) -> bool:
    """Whether the rotary embedding of all rows would follow the longest of them."""
    rope = getattr(network.config.get_text_config(), "rope_parameters", None) or {}
    each = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    return any(one.get("rope_type") in ("longrope", "dynamic") for one in each)
