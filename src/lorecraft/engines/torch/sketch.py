"""A model without its weights: how large it would be, and a part of it to try work on."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from lorecraft.engines.torch import quantized
from lorecraft.engines.torch.loading import configuration, reading

NOISE = 2**16


def skeleton(model: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The whole model on torch's meta device: shapes, and no numbers.

    Raises ModelError for a configuration that Transformers does not know.
    """
    with reading(model), torch.device("meta"):
        return AutoModelForCausalLM.from_config(configuration(model), dtype=dtype)


def weight_bytes(network: PreTrainedModel, quantization: str) -> int:
    """Bytes that the frozen weights take."""
    whole = sum(p.numel() * p.element_size() for p in network.parameters())
    if quantization == "none":
        return whole
    weights = [module.weight for _, module in quantized.convertible(network)]
    saved = sum(w.nbytes - quantized.weight_bytes(quantization, w) for w in weights)
    return whole - saved


def sketch(
    model: Path, device: str, dtype: torch.dtype, quantization: str, blocks: int
) -> PreTrainedModel:
    """The embedding, the first ``blocks`` decoder blocks and the head, with weights made up."""
    with reading(model):
        config = configuration(model)
        _shorten(config.get_text_config(), blocks)
        with torch.device(device), no_init_weights():
            network = AutoModelForCausalLM.from_config(config, dtype=dtype)
    network.tie_weights()
    own = torch.Generator(device).manual_seed(0)  # a plan leaves torch's own random numbers alone
    noise = torch.randn(NOISE, generator=own, device=device, dtype=dtype) * 0.02
    for parameter in network.parameters():
        flat = parameter.data.view(-1)
        for first in range(0, len(flat), NOISE):
            flat[first : first + NOISE] = noise[: len(flat) - first]
    network.requires_grad_(False)
    if quantization != "none":
        quantized.quantize(network, quantized.Quantization(quantization, device))
    return network.eval()


def _shorten(config: PretrainedConfig, blocks: int) -> None:
    """Leave the first ``blocks``, also in the lists that have an entry for each block."""
    before = config.num_hidden_layers
    lists = {k: v for k, v in config.to_dict().items() if isinstance(v, list) and len(v) == before}
    config.num_hidden_layers = blocks
    for key, value in lists.items():
        setattr(config, key, value[:blocks])
