"""One stage of training in a run: records in, a saved adapter out."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from inspect import getsource
from pathlib import Path
from typing import Any

from lorecraft.adapters import formats, peft_format
from lorecraft.data import batches, cache, encode, records, turns
from lorecraft.data.cache import Examples
from lorecraft.knowledge.jsonl import Lines
from lorecraft.knowledge.strictness import Bad, strict
from lorecraft.models import tokenizer as tokenizers
from lorecraft.models.tokenizer import HFTokenizer
from lorecraft.recipe import Recipe, StageSection
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import file_hash, fingerprint, read_json, write_json
from lorecraft.runs.progress import Bar, Progress, trouble
from lorecraft.runs.tracking import Log, Trackers, settings_of
from lorecraft.runs.workbench import Workbench, adapter_spec
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import FIGURES, Interrupted, StageResult, train_stage
from lorecraft.training.steps import total_steps

MANY = 20_000
"""Records whose tokenising takes long enough to be told of."""


@dataclass(frozen=True)
class StageExamples:
    """A stage's records as tokens, at most ``length`` of each example."""

    train: Examples
    valid: Examples
    length: int

    def told(self) -> list[str]:
        """What was longer than an example may be, with its share of the records."""
        many, length = self.train.records, self.length
        ways = {
            f"cut at {length} tokens, the rest is lost": self.train.cut,
            f"split into several of at most {length} tokens": self.train.split,
        }
        return [
            f"{count} of {many} records ({count / many:.1%}) {way}"
            for way, count in ways.items()
            if count
        ]


def encode_stage(
    tokenizer: HFTokenizer,
    length: int,
    data: Path,
    tokens: Path,
    progress: Progress,
    bad: Bad = strict,
) -> StageExamples:
    """The records in ``data/<stage>`` as tokens, at most ``length`` of each; they are kept in
    ``tokens``.

    They are tokenised anew when a record, the tokenizer, its template, the length or the code that
    makes examples of records has changed.

    ``bad`` is told of the records that cannot be trained, all of them at once.
    """

    def examples(part: str) -> Examples:
        lines = data / f"{part}.jsonl"
        key = fingerprint(
            file_hash(lines), tokenizer.fingerprint, length, bad is strict, _encoding()
        )

        def encoded() -> Iterator[encode.Encoded]:
            stored = Lines(lines, lambda line, number: records.Record.from_json(line))
            if len(stored) >= MANY:
                progress.note(f"  {data.name}: tokenising {len(stored)} records ({part})")
            return encode.encode_stream(stored, tokenizer, length, bad)

        return cache.cached(tokens / f"{part}.arrow", key, encoded)

    return StageExamples(examples("train"), examples("valid"), length)


def _encoding() -> str:
    """Changes with the code that makes examples of records."""
    modules = (batches, cache, encode, records, tokenizers, turns)
    return fingerprint(
        [getsource(module) for module in modules],
        [version(library) for library in ("tokenizers", "transformers")],
    )


def run_stage(
    bench: Workbench,
    recipe: Recipe,
    stage: StageSection,
    examples: StageExamples,
    *,
    name: str,
    sources: Mapping[str, str],
    start: Path | None,
    directory: RunDirectory,
    folder: Path,
    progress: Progress,
    trackers: Trackers,
    seconds: float,
    clock: Callable[[], float],
) -> None:
    """Train one stage from the adapter in ``start`` (None: a new one), or go on with it.

    Writes ``folder/adapter`` and, last, ``folder/stage.json`` with ``sources``: a stage that has
    it is finished. Checkpoints made from other sources are thrown away. A stage that its deadline
    stopped keeps its checkpoint, and one that was interrupted leaves its best adapter so far.
    """
    train = examples.train
    for told in examples.told():
        progress.note(f"  {name}: {told}")
    spec = adapter_spec(recipe)
    weights = formats.load(start)[1] if start else None
    slot = bench.engine.attach(spec, weights, trainable=True, seed=recipe.seed)
    (folder / "stage.json").unlink(missing_ok=True)
    if _thrown_away(folder / "checkpoints", sources):
        progress.note(f"  {name} begins anew: its checkpoints are of other data or settings")
    begun = {"records": train.records, "cut": train.cut, "split": train.split}
    directory.log(name, "start", **begun, start=str(start or ""))
    try:
        with (
            trackers.stage(name, folder / "checkpoints", settings_of(recipe, stage)) as track,
            _interruptible(progress) as should_stop,
            progress.stage(name, total_steps(len(train), stage), "steps") as bar,
        ):
            result = train_stage(
                bench.engine,
                slot,
                train,
                examples.valid,
                stage,
                recipe.seed,
                on_event=_listener(name, directory, bar, track, progress),
                checkpoints=CheckpointStore(folder / "checkpoints"),
                seconds=seconds,
                should_stop=should_stop,
                clock=clock,
            )
            # Before the trackers end, which may take a while.
            peft_format.save(folder / "adapter", spec, bench.engine.adapter(slot), bench.path)
    except Interrupted:
        peft_format.save(folder / "adapter", spec, bench.engine.adapter(slot), bench.path)
        raise
    bench.engine.detach(slot)
    _finish(folder, sources, result, examples.told(), directory, name)
    if result.stopped_by != "deadline":
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _thrown_away(checkpoints: Path, sources: Mapping[str, str]) -> bool:
    """Empty ``checkpoints`` unless it belongs to a stage of these sources; whether that was so."""
    owner = checkpoints / "sources.json"
    if owner.exists() and read_json(owner) == sources:
        return False
    stale = checkpoints.exists()
    shutil.rmtree(checkpoints, ignore_errors=True)
    write_json(owner, sources)
    return stale


@contextmanager
def _interruptible(progress: Progress) -> Iterator[Callable[[], bool]]:
    """Within: the first Ctrl-C lets the step finish and be saved, the second stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        progress.note("Stopping after this step; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


VALIDATED = ("loss", "error", *FIGURES)
TRACKED = ("loss", *FIGURES, "learning_rate", "tokens_per_second", "memory")


def _listener(
    name: str, directory: RunDirectory, bar: Bar, track: Log, progress: Progress
) -> Callable[..., None]:
    """Every event goes to the log; steps and validations move the bar and are tracked, trouble is
    told."""

    def on_event(kind: str, **fields: Any) -> None:
        directory.log(name, kind, **fields)
        if kind == "step":
            rate = fields["tokens"] / max(fields["seconds"], 1e-9)
            bar.advance(1, loss=fields["loss"], tokens_per_second=rate, **_deadline(fields))
            track(
                fields["step"], {figure: fields[figure] for figure in TRACKED if figure in fields}
            )
        elif kind == "valid":
            bar.advance(0, validation_error=fields["error"])
            found = {f"validation_{name}": fields[name] for name in VALIDATED if name in fields}
            track(fields["step"], found)
        elif kind == "reference":
            progress.note(f"  {name}: the reference reads {fields['pairs']} pairs, once")
        elif kind == "resume":
            bar.advance(fields["step"])
        elif told := trouble(kind, fields):
            progress.note(f"  {name}: {told}")

    return on_event


def _deadline(fields: dict[str, Any]) -> dict[str, str]:
    """When a stage has to end, and how long that is from now."""
    if "seconds_left" not in fields:
        return {}
    left = timedelta(seconds=max(0, round(fields["seconds_left"])))
    return {"deadline": f"{datetime.now() + left:%H:%M} (in {left})"}


def _finish(
    folder: Path,
    sources: Mapping[str, str],
    result: StageResult,
    lengths: list[str],
    directory: RunDirectory,
    name: str,
) -> None:
    summary: dict[str, Any] = {
        "steps": result.steps,
        "best_step": result.best_step,
        "best_valid_error": result.best_valid_error,
        "stopped_by": result.stopped_by,
        "tokens": result.tokens,
        "seconds": round(result.seconds, 2),
    }
    best = [p for p in result.curves if p["step"] == result.best_step and "valid_margin" in p]
    if best:
        summary["pairs"] = {name: round(best[0][f"valid_{name}"], 4) for name in FIGURES}
    directory.log(name, "end", **summary)
    kept = {"sources": sources, **summary, "lengths": lengths, "curves": result.curves}
    write_json(folder / "stage.json", kept)
