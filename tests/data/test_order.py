"""The order of training: every example once, by seed and epoch alone."""

from __future__ import annotations

import random

import pytest

from lorecraft.data.order import epoch_batches


@pytest.mark.parametrize("count", [0, 1, 7, 8, 129, 1000])
def test_every_example_comes_once_in_batches_of_the_asked_size(count: int) -> None:
    lengths = [random.Random(count).randint(5, 90) for _ in range(count)]
    batches = epoch_batches(lengths, 8, seed=3, epoch=0)
    assert sorted(index for batch in batches for index in batch) == list(range(count))
    assert all(len(batch) == 8 for batch in batches[:-1])
    assert len(batches) == -(-count // 8)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(range(1, 101))
    assert epoch_batches(lengths, 16, 1, 0) == epoch_batches(lengths, 16, 1, 0)
    assert epoch_batches(lengths, 16, 1, 0) != epoch_batches(lengths, 16, 1, 1)
    assert epoch_batches(lengths, 16, 1, 0) != epoch_batches(lengths, 16, 2, 0)


def test_batches_hold_about_as_many_tokens() -> None:
    rng = random.Random(0)
    lengths = [rng.choice([10, 200]) for _ in range(1024)]
    totals = [sum(lengths[i] for i in batch) for batch in epoch_batches(lengths, 16, 0, 0)]
    unsorted = [sum(lengths[i : i + 16]) for i in range(0, 1024, 16)]
    assert max(totals) - min(totals) < 0.7 * (max(unsorted) - min(unsorted))
