"""The memory of a run at each of its moments, and what would make it smaller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lorecraft.engines.base import Outline
from lorecraft.runs.workload import StageLoad

STATE = 3
"""An adapter and its two moments: what the engine's state is made of, in adapters."""
HELD = 2 * STATE + 1
"""While training the loop keeps the last good state, the one before this step, and the best
adapter."""
SAVED = 2 * STATE + 1
"""A checkpoint holds the state, the last good one and the best adapter."""
SAVING = 2 * SAVED
"""While it is made it is in memory twice: each tensor's bytes, and the file's."""
SHORTEST = 16
"""Tokens; records that are cut further teach nothing."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes at a run's peak, ``during`` which moment, and what they are made of.

    Attributes:
        least: the peak when batches are computed in the smallest pieces, which a run resorts to
            where memory that does not suffice is told, and does not end the process.
        available: what the device, or for an engine that computes in the process's own memory this
            process, could have; None where that is not known.
        options: changes to the recipe that would fit, each alone.
    """

    peak: int
    during: str
    parts: dict[str, int]
    available: int | None
    least: int
    options: list[str]

    @property
    def text(self) -> str:
        there = f" of {gigabytes(self.available)}" if self.available is not None else ""
        tight = self.available is not None and self.least <= self.available < self.peak
        pieces = ", in pieces where that does not suffice" if tight else ""
        return f"memory {gigabytes(self.peak)}{there} at peak ({self.during}){pieces}"

    @property
    def fits(self) -> bool:
        return self.available is None or self.least <= self.available


@dataclass(frozen=True)
class Need:
    """What a run holds, in bytes.

    Attributes:
        process: what the process holds beside the model, all that work has loaded included.
        weights: frozen weights.
        adapter, training: an attached adapter, and what is more while it is trained.
        copy: an adapter as float32 arrays beside the engine.
        steps, scores: stage -> most that a step or a validation takes.
        exam: most that generating takes; ``models`` tuned models are attached then.
    """

    process: int
    weights: int
    adapter: int
    training: int
    copy: int
    steps: Mapping[str, int]
    scores: Mapping[str, int]
    exam: int
    models: int

    @classmethod
    def of(
        cls, outline: Outline, process: int, figures: Mapping[str, float], stages: Sequence[str]
    ) -> Need:
        """``figures`` are those of ``rehearsal.rehearse``; none when nothing could be tried."""
        return cls(
            process=process if outline.shared else 0,
            weights=outline.weights,
            adapter=outline.adapter,
            training=outline.training,
            copy=4 * outline.trained if outline.shared else 0,
            steps={name: int(figures[f"{name} step bytes"]) for name in stages if figures},
            scores={name: int(figures[f"{name} score bytes"]) for name in stages if figures},
            exam=int(figures.get("exam bytes", 0)),
            models=len(stages),
        )

    @property
    def moments(self) -> dict[str, int]:
        """Bytes held at each moment of the run that could be its peak."""
        trained = self.process + self.weights + self.adapter + self.training
        if not self.steps:
            return {"before any work": trained}
        found = {}
        for name, step in self.steps.items():
            found[f"training {name}"] = trained + HELD * self.copy + step
            found[f"validating {name}"] = trained + HELD * self.copy + self.scores[name]
        found["saving a checkpoint"] = trained + (HELD + SAVING) * self.copy
        found["the exam"] = self.process + self.weights + self.models * self.adapter + self.exam
        return found

    @property
    def peak(self) -> int:
        return max(self.moments.values())

    @property
    def parts(self) -> dict[str, int]:
        """What the peak is made of."""
        parts = {
            "process": self.process,
            "weights": self.weights,
            "adapter": self.adapter + self.training,
        }
        return parts | {"work": self.peak - sum(parts.values())}


def memory(
    need: Need, least: Need, available: int | None, changes: Iterable[tuple[str, Need]]
) -> MemoryPlan:
    """``changes``: what could be written in the recipe, and what would be needed then."""
    during = max(need.moments, key=lambda moment: need.moments[moment])
    found = MemoryPlan(need.peak, during, need.parts, available, least.peak, [])
    if found.fits or available is None:
        return found
    options: dict[str, str] = {}
    for text, changed in changes:
        if changed.peak <= available:
            options.setdefault(text.split(":")[0], f"{text} (about {gigabytes(changed.peak)})")
    return replace(found, options=list(options.values()))


def in_pieces(need: Need, stages: Sequence[StageLoad], questions: int) -> Need:
    """What is needed when every example, and every one of so many questions, is taken alone."""
    alone = {stage.name: 1 / stage.section.batch_size for stage in stages}
    return replace(_with_work(need, alone), exam=need.exam // questions)


def changes(
    need: Need, outline: Outline, stages: Sequence[StageLoad]
) -> Iterator[tuple[str, Need]]:
    """What a recipe could ask for instead, each from a small change to a large one."""
    largest = max((stage.section.batch_size for stage in stages), default=1)
    for part in _halves(largest):
        yield (
            f"batch_size: {largest // part}, with accumulate: {part}",
            _with_work(need, dict.fromkeys(need.steps, 1 / part)),
        )
    longest = max((int(stage.train.lengths.max()) for stage in stages), default=0)
    for part in _halves(longest // SHORTEST):
        yield (
            f"data.max_length: {longest // part}",
            _with_work(need, {stage.name: _share(stage, longest // part) for stage in stages}),
        )
    for name, weights in outline.quantized.items():
        yield f"model.quantization: {name}", replace(need, weights=weights)
    for part in _halves(outline.adapted):
        layers = outline.adapted // part
        yield (
            f"adapter.layers: {layers}",
            _with_work(_with_adapter(need, 1 / part), dict.fromkeys(need.steps, 1 / part)),
        )
    for part in _halves(16):
        yield f"adapter.rank: divided by {part}", _with_adapter(need, 1 / part)
    for part in _halves(64):
        yield f"exam.batch_size: divided by {part}", replace(need, exam=need.exam // part)


def gigabytes(size: float) -> str:
    """As people read it, in units of a thousand."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _halves(most: int) -> Iterator[int]:
    part = 2
    while part <= most:
        yield part
        part *= 2


def _share(stage: StageLoad, length: int) -> float:
    """How much of the largest micro-batch is left when records are cut at ``length``."""
    lengths = stage.train.lengths[stage.largest]
    return float(lengths.clip(max=length).sum() / lengths.sum())


def _with_work(need: Need, share: Mapping[str, float]) -> Need:
    return replace(
        need,
        steps={name: round(share[name] * size) for name, size in need.steps.items()},
        scores={name: round(share[name] * size) for name, size in need.scores.items()},
    )


def _with_adapter(need: Need, share: float) -> Need:
    return replace(
        need,
        adapter=round(share * need.adapter),
        training=round(share * need.training),
        copy=round(share * need.copy),
    )
