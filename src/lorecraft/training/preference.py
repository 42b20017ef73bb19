"""Losses on pairs of answers, in float64, from the log-probability of each answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import TokenBatch
from lorecraft.engines.pairs import summed
from lorecraft.recipe.schema import PreferenceSection

Float64 = NDArray[np.float64]
Figures = dict[str, float]
Sloped = tuple[Float64, Float64]
"""A function's values and its slopes."""

SURE = -1e-9
"""The log-probability that a token has at most, where odds are taken of it."""


@dataclass
class Preference:
    """The loss of a batch's pairs, each the two segments that continue one prompt.

    Attributes:
        reference: [P, 2], the reference model's sums of log-probabilities, chosen and rejected.
    """

    settings: PreferenceSection
    batch: TokenBatch
    reference: Float64
    pairs: NDArray[np.intp] = field(init=False)
    lengths: Float64 = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = np.flatnonzero(self.batch.parent >= 0).reshape(-1, 2)
        self.lengths = summed(self.batch, np.ones(len(self.batch.tokens)))[self.pairs]

    def __call__(self, which: NDArray[np.integer], sums: Float64) -> Sloped:
        """See ``PairObjective``. With label smoothing e a pair is the other way round with that
        probability (Mitchell 2023, conservative DPO): (1 - e) f(h) + e f(-h)."""
        settings, lengths = self.settings, self.lengths[which]
        e = settings.label_smoothing
        h, slopes = self._preferred(sums, self.reference[which], lengths)
        loss = _LOSSES[settings.loss]
        (right, rising), (wrong, falling) = (loss(x, settings.beta) for x in (h, -h))
        losses = (1 - e) * right + e * wrong
        slopes *= ((1 - e) * rising - e * falling)[:, None]
        # ORPO's own term, and RPO's (Pang et al. 2024, arXiv:2404.19733): -log p a token.
        sft = settings.sft + (settings.loss == "orpo")
        losses -= sft * sums[:, 0] / lengths[:, 0]
        slopes[:, 0] -= sft / lengths[:, 0]
        return losses, slopes

    def _preferred(self, sums: Float64, reference: Float64, lengths: Float64) -> Sloped:
        """How much more the model is for the chosen answer [N], and its slope by each sum [N, 2].

        IPO averages over tokens, as its authors do (TRL found so by asking them); so does ORPO,
        which compares odds and has no reference.
        """
        settings, signs = self.settings, np.array([1.0, -1.0])
        if settings.loss == "orpo":
            mean = np.minimum(sums / lengths, SURE)
            rest = -np.expm1(mean)  # 1 - p
            return (mean - np.log(rest)) @ signs, signs / rest / lengths
        scale = lengths if settings.average or settings.loss == "ipo" else np.ones_like(lengths)
        return ((sums - reference) / scale) @ signs, signs / scale

    def figures(self, sums: Float64) -> dict[str, Float64]:
        """Of each pair, from its sums [P, 2]: ``loss``; ``margin`` (TRL's: beta times how much the
        log-ratio to the reference is higher for the chosen answer); ``accuracy`` (1 where that is
        above 0); ``chosen`` and ``rejected``, the log-probability of the whole answer; and
        ``gained``, how much that has risen over the reference's for the chosen answer."""
        ratios = sums - self.reference
        margin = self.settings.beta * (ratios[:, 0] - ratios[:, 1])
        return {
            "loss": self(np.arange(len(sums)), sums)[0],
            "margin": margin,
            "accuracy": (margin > 0).astype(np.float64),
            "chosen": sums[:, 0],
            "rejected": sums[:, 1],
            "gained": ratios[:, 0],
        }


def answers(batch: TokenBatch, log: NDArray[np.floating]) -> Float64:
    """Each pair's sums of log-probabilities [P, 2], of those of all tokens [T]."""
    return summed(batch, log)[batch.parent >= 0].reshape(-1, 2)


def totals(batch: TokenBatch, log: NDArray[np.floating], pairs: Preference | None) -> Figures:
    """Sums over what was scored, and ``weight``, what they are to be divided by.

    ``loss``, and ``error``, which picks the adapter: of pairs the loss too; of single answers the
    probability that is not on the right token. Few examples, learned to the point of certainty,
    make the loss rise on a handful of confident mistakes while more and more answers come right.
    """
    if pairs is None:
        exact, weights = log.astype(np.float64), batch.weight.astype(np.float64)
        error = float((1 - np.exp(exact)) @ weights)
        return {"loss": -float(exact @ weights), "error": error, "weight": float(weights.sum())}
    each = pairs.figures(answers(batch, log))
    found = {name: float(values.sum()) for name, values in each.items()}
    squares = float((each["gained"] ** 2).sum())
    weight = float(len(pairs.pairs))
    return found | {"error": found["loss"], "gained_squared": squares, "weight": weight}


def unlearned(means: Mapping[str, float]) -> bool:
    """Whether the chosen answers have become less likely than the reference finds them, by more
    than two standard errors; ``means`` are those of ``totals``."""
    pairs, gained = means["weight"], means["gained"]
    if pairs < 2:
        return False
    variance = max(0.0, means["gained_squared"] - gained**2) / (pairs - 1)
    return gained + 2 * variance**0.5 < 0


def _sigmoid(h: Float64, beta: float) -> Sloped:
    """-log sigmoid(beta h): DPO (Rafailov et al. 2023, arXiv:2305.18290)."""
    return np.logaddexp(0.0, -beta * h), -beta * np.exp(-np.logaddexp(0.0, beta * h))


def _ipo(h: Float64, beta: float) -> Sloped:
    """(h - 1 / (2 beta))^2 (Azar et al. 2023, arXiv:2310.12036)."""
    off = h - 1 / (2 * beta)
    return off**2, 2 * off


def _hinge(h: Float64, beta: float) -> Sloped:
    """max(0, 1 - beta h): SLiC's (Zhao et al. 2023, arXiv:2305.10425)."""
    return np.maximum(0.0, 1 - beta * h), np.where(beta * h < 1, -beta, 0.0)


def _orpo(h: Float64, beta: float) -> Sloped:
    """-beta log sigmoid(h), of log-odds (Hong et al. 2024, arXiv:2403.07691)."""
    value, slope = _sigmoid(h, 1.0)
    return beta * value, beta * slope


_LOSSES: Mapping[str, Callable[[Float64, float], Sloped]] = {
    "sigmoid": _sigmoid,
    "ipo": _ipo,
    "hinge": _hinge,
    "orpo": _orpo,
}
