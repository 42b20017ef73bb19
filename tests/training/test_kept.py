"""What no step changes is computed once: with the torch engine, to the same bits after any stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch
from lorecraft.engines.torch.engine import TorchEngine
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import Interrupted, train_stage

from .small_stage import VOCABULARY, Log, examples, same, settings

STEPS = 8  # of an epoch: 30 records, four at a time


class Watched(TorchEngine):
    """Counts the batches that are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = 0

    def keep(self, batch: TokenBatch) -> None:
        self.kept += 1
        super().keep(batch)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    config = LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.4, **sizes, **heads)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def trained(llama: Path, layers: int, epochs: int = 3, **options: Any) -> tuple[Watched, int, Log]:
    engine, log = Watched(), Log()
    engine.device = "cpu"
    engine.open(llama, "float32")
    slot = engine.attach(AdapterSpec(rank=2, alpha=4.0, layers=layers), trainable=True, seed=3)
    stage = settings(epochs=epochs)
    train_stage(
        engine, slot, examples(30, 0), examples(6, 1), stage, seed=5, on_event=log, **options
    )
    return engine, slot, log


def test_each_batch_of_the_first_epoch_and_of_the_validation_is_kept(llama: Path) -> None:
    engine, _, log = trained(llama, layers=1)
    assert engine.kept == STEPS + 2
    assert log.of("kept")[0]["records"] == 36


@pytest.mark.parametrize(("layers", "epochs"), [(3, 3), (1, 1)])
def test_nothing_is_kept_where_nothing_would_be_spared(
    llama: Path, layers: int, epochs: int
) -> None:
    assert trained(llama, layers, epochs)[0].kept == 0


@pytest.mark.parametrize("at", [3, 8, 13])
def test_a_stage_that_goes_on_ends_with_the_same_bits(llama: Path, at: int, tmp_path: Path) -> None:
    straight, slot, _ = trained(llama, layers=1)
    store, steps = CheckpointStore(tmp_path / "checkpoints"), iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(llama, layers=1, checkpoints=store, should_stop=lambda: next(steps) == at)
    resumed, again, _ = trained(llama, layers=1, checkpoints=store)
    assert resumed.kept == STEPS + 2
    assert same(straight.adapter(slot), resumed.adapter(again))
    assert all(np.isfinite(array).all() for array in resumed.adapter(again).values())
