"""What counts as a spike."""

from __future__ import annotations

import pytest

from lorecraft.training.spikes import LEAST, WINDOW, spike

USUAL = [1.0, 1.1, 0.9, 1.05, 0.95] * 10


def test_a_loss_far_above_those_before_is_a_spike_over_their_median() -> None:
    assert spike(3.0, USUAL) == pytest.approx(1.0)


@pytest.mark.parametrize("loss", [1.1, 1.2, 0.1])
def test_usual_scatter_and_a_low_loss_are_none(loss: float) -> None:
    assert spike(loss, USUAL) is None


def test_the_first_steps_are_compared_with_nothing() -> None:
    assert spike(9.0, USUAL[: LEAST - 1]) is None
    assert spike(9.0, USUAL[:LEAST]) is not None


def test_spikes_do_not_make_the_next_one_usual() -> None:
    assert spike(3.0, [*USUAL, *[3.0] * 10]) is not None


def test_only_the_last_steps_are_compared_with() -> None:
    assert spike(3.0, [*[3.0] * 100, *USUAL[:WINDOW]]) is not None


def test_a_loss_that_hardly_varied_does_not_make_a_spike_of_noise() -> None:
    assert spike(1.01, [1.0] * 50) is None
    assert spike(1.1, [1.0] * 50) is not None
