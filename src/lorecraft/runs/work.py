"""What one process does in a run directory, part by part; what is finished is skipped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorecraft.errors import DataError, RunError
from lorecraft.knowledge.strictness import Bad, LeaveOut, strict
from lorecraft.recipe import Recipe
from lorecraft.runs import manifest, tracking
from lorecraft.runs import prepare as preparing
from lorecraft.runs.directory import RunDirectory, adapter_folder
from lorecraft.runs.files import file_hash, fingerprint, read_json, tree_hash, write_json
from lorecraft.runs.keys import data_key, exam_key, stage_sources
from lorecraft.runs.prepare import Prepared
from lorecraft.runs.progress import Progress

if TYPE_CHECKING:
    from lorecraft.runs.plan import Plan
    from lorecraft.runs.stage import StageExamples
    from lorecraft.runs.workbench import Blueprint, Workbench


@dataclass(frozen=True)
class Outcome:
    """How a run, or a part of it, ended. ``unmet`` says which requirements were missed."""

    folder: Path
    report: Path | None = None
    unmet: tuple[str, ...] = ()
    verdict: dict[str, Any] | None = None


class Work:
    """One process's work on a run directory that it has locked."""

    def __init__(
        self,
        recipe: Recipe,
        directory: RunDirectory,
        progress: Progress,
        go_on: bool = False,
        clock: Callable[[], float] = time.monotonic,
        keep_going: bool = False,
        asks: bool = True,
    ) -> None:
        self.recipe, self.directory, self.progress = recipe, directory, progress
        self.folders, self.go_on, self.clock = directory.stages(recipe), go_on, clock
        self.keep_going, self.asks = keep_going, asks
        hours = recipe.limits.hours
        self.end = math.inf if hours is None else clock() + 3600 * hours

    @property
    def models(self) -> list[str]:
        """The stages' model names, in order."""
        return list(self.folders)

    @cached_property
    def bench(self) -> Workbench:
        """The model, its tokenizer and the engine; loaded when first needed."""
        from lorecraft.runs.workbench import Workbench

        self.progress.note(f"Loading {self.recipe.model.path}")
        bench = Workbench.open(self.recipe)
        self.directory.log("model", "open", path=bench.path, way=bench.engine.way)
        if bench.engine.way.startswith("row by row"):
            self.progress.note(f"  computed {bench.engine.way}")
        return bench

    @cached_property
    def blueprint(self) -> Blueprint:
        """What is known of the model and the adapter without the weights."""
        from lorecraft.runs.workbench import Blueprint

        return Blueprint.draw(self.recipe)

    def check(self) -> None:
        """See that model and adapter can be used, as far as that is known without the weights;
        import the trackers."""
        from lorecraft.runs.workbench import load_start

        tracking.check(self.recipe.track)
        _ = self.blueprint  # raises for what cannot be used
        if self.start:
            load_start(self.recipe, self.start)

    def load(self) -> None:
        """Load the model and try the adapter on it, before any stage is trained."""
        from lorecraft.runs.workbench import adapter_spec, load_start

        weights = load_start(self.recipe, self.start) if self.start else None
        self.bench.check_adapter(adapter_spec(self.recipe), weights)
        start = {"folder": str(self.start), "sha256": tree_hash(self.start)} if self.start else None
        manifest.add(self.directory, model=self.bench.describe(), start=start)

    @cached_property
    def start(self) -> Path | None:
        """The adapter that the first stage starts from. Raises RunError for one of this run."""
        if self.recipe.adapter.start is None:
            return None
        start = adapter_folder(self.recipe.adapter.start, self.recipe.output)
        if start.resolve().is_relative_to(self.directory.folder.resolve()):
            raise RunError(
                f"adapter.start is {start}, which this run itself makes",
                "an adapter that stays as it is while this one trains",
                "give the recipe another `name`",
            )
        return start

    # --- prepare ----------------------------------------------------------------------------

    def _tell(self, bad: Bad) -> preparing.Tell | None:
        """How a language model is asked, if the recipe wants it."""
        from lorecraft.runs.telling import known_tellings, tellings

        knowledge, seed = self.recipe.knowledge, self.recipe.seed
        if knowledge is None or knowledge.teller is None:
            return None
        section = knowledge.teller
        if not self.asks:
            return lambda passages: known_tellings(
                section, seed, passages, lambda: self.blueprint, self.progress
            )
        return lambda passages: tellings(
            section, seed, passages, lambda: self.bench, self.progress, bad
        )

    @cached_property
    def prepared(self) -> Prepared:
        return preparing.load(self.directory.data, self.models)

    def prepare(self) -> None:
        finished = self.directory.data / "prepared.json"
        before = data_key(self.recipe)
        if finished.exists() and read_json(finished)["key"] == before:
            if self.keep_going and not self.directory.kept_going:  # for what is tokenised later
                write_json(finished, {"key": before, "keep_going": True})
            return
        self.progress.note("Preparing the data")
        leave_out = LeaveOut()
        bad = leave_out if self.keep_going else strict
        prepared = preparing.prepare(self.recipe, self.models, bad, self._tell(bad))
        prepared.audit["left_out"] = [asdict(some) for some in leave_out.found]
        preparing.save(prepared, self.directory.data)
        if data_key(self.recipe) != before:  # records are read again while they are written
            raise DataError(
                "a source of the data changed while it was read",
                "files that stay as they are while the data are prepared",
                "the same command prepares them again",
            )
        write_json(finished, {"key": before, "keep_going": self.keep_going})
        sizes = {
            name: {"train": len(data.train), "valid": len(data.valid)}
            for name, data in prepared.stages.items()
        }
        self.directory.log("prepare", "end", records=sizes, questions=len(prepared.questions))
        self.tell(leave_out)
        for name, size in sizes.items():
            self.progress.note(
                f"  {name}: {size['train']} records to train on, {size['valid']} to validate"
            )
        self.progress.note(f"  exam: {len(prepared.questions)} questions")

    # --- plan -------------------------------------------------------------------------------

    def plan(self) -> None:
        """Say what the run takes, before the model is loaded; once for the same recipe and data.

        Raises RunError for what cannot fit.
        """
        file = self.directory.folder / "plan.json"
        data = sorted(self.directory.data.glob("**/*.jsonl"))
        key = fingerprint(
            self.recipe.model_dump(mode="json", exclude={"require", "track"}),
            self.blueprint.tokenizer.fingerprint,
            self.blueprint.info.context,
            [file_hash(path) for path in data],
        )
        if file.exists() and read_json(file)["key"] == key:
            return
        made = self.planned(self.directory.folder)
        for line in made.lines():
            self.progress.note(f"  {line}")
        made.check()
        write_json(file, {"key": key, **made.to_json()})

    def planned(self, folder: Path) -> Plan:
        """The plan of the run that will be in ``folder``; the data are prepared in this one."""
        from lorecraft.runs.plan import plan

        examples = {name: self.examples(name) for name in self.models}
        unwritten = sizes(self.directory) if folder != self.directory.folder else {}
        return plan(self.recipe, self.blueprint, self.prepared, examples, folder, unwritten)

    def examples(self, name: str) -> StageExamples:
        """A stage's records as tokens."""
        from lorecraft.runs.stage import encode_stage

        leave_out = LeaveOut()
        examples = encode_stage(
            self.blueprint.tokenizer,
            self.blueprint.info.longest(self.recipe.data.max_length),
            self.directory.data / name,
            self.directory.tokens / name,
            self.progress,
            leave_out if self.directory.kept_going else strict,
        )
        self.tell(leave_out)
        return examples

    def tell(self, leave_out: LeaveOut) -> None:
        """Say what was left out."""
        for some in leave_out.found:
            self.directory.log("prepare", "left_out", **asdict(some))
            self.progress.note(f"  {some.told}")
            for line in some.seen.splitlines():
                self.progress.note(f"    {line}")

    # --- train ------------------------------------------------------------------------------

    def sources_of(self, name: str, start: Path | None) -> dict[str, str]:
        """What the stage's adapter comes from."""
        stage = self.recipe.stages[self.models.index(name)]
        return stage_sources(self.recipe, stage, self.directory.data / name, self.bench, start)

    def train(self) -> None:
        from lorecraft.runs.stage import run_stage

        trackers = tracking.Trackers(self.recipe.track, self.directory, self.progress)
        # All of them before the first is trained, so that nothing fails in the night.
        waiting = {name: self.examples(name) for name in self.untrained()}
        if not waiting:
            return
        ends = self.ends(waiting) if self.end < math.inf else {}
        made = read_json(self.directory.folder / "plan.json")
        self.bench.engine.recomputes = made.get("recomputes", False)
        start = self.start
        for name, folder in self.folders.items():
            if name in waiting:
                run_stage(
                    self.bench,
                    self.recipe,
                    self.recipe.stages[self.models.index(name)],
                    waiting.pop(name),
                    name=name,
                    sources=self.sources_of(name, start),
                    start=start,
                    directory=self.directory,
                    folder=folder,
                    progress=self.progress,
                    seconds=ends[name] - self.clock() if ends else math.inf,
                    clock=self.clock,
                    trackers=trackers,
                )
            start = folder / "adapter"

    def untrained(self) -> list[str]:
        """The first stage that is to be trained, and all after it."""
        start = self.start
        for index, (name, folder) in enumerate(self.folders.items()):
            finished = folder / "stage.json"
            if not finished.exists():
                return self.models[index:]
            before, now = read_json(finished)["sources"], self.sources_of(name, start)
            changed = [what for what in now if before.get(what) != now[what]]
            if changed:
                self.progress.note(
                    f"  {name} is trained again, for {' and '.join(changed)} changed"
                )
                return self.models[index:]
            start = folder / "adapter"
        stopped = [name for name in self.models if self.go_on and self.has_time(name)]
        return self.models[self.models.index(stopped[0]) :] if stopped else []

    def has_time(self, name: str) -> bool:
        """Whether a deadline stopped the stage that there now is more time for."""
        stage = read_json(self.folders[name] / "stage.json")
        minutes = self.recipe.stages[self.models.index(name)].limits.minutes
        if stage["stopped_by"] != "deadline":
            return False
        if minutes is not None and 60 * minutes < 1.05 * stage["seconds"]:
            self.progress.note(f"  {name} has had its {minutes:g} minutes; raise limits.minutes")
            return False
        return True

    def ends(self, waiting: Mapping[str, StageExamples]) -> dict[str, float]:
        """When each stage has to end (by the clock), so that the exam and the report still
        fit: the time is shared by the tokens that the stages would see.

        Raises RunError when there is no time to train at all.
        """
        from lorecraft.runs.exam import estimate
        from lorecraft.training.steps import total_steps

        tuned = len(self.models)
        reserve = estimate(self.bench, self.recipe, self.prepared, tuned, self.clock)
        self.directory.log("exam", "estimate", seconds=round(reserve, 1))
        now = self.clock()
        room = self.end - now - reserve
        if room <= 0:
            raise RunError(
                f"limits.hours is {self.recipe.limits.hours:g}, and the exam alone takes about "
                f"{reserve / 3600:.2g} hours here",
                "time to train as well",
                "more hours, or a smaller exam (exam.per_fact, exam.limit)",
            )
        self.progress.note(
            f"  {room / 60:.1f} minutes to train, about {reserve / 60:.1f} for the exam"
        )
        tokens = {}
        for name, examples in waiting.items():
            stage = self.recipe.stages[self.models.index(name)]
            seen = total_steps(len(examples.train), stage) * stage.batch_size * stage.accumulate
            mean = float(examples.train.lengths.mean())
            tokens[name] = min(seen * mean, stage.limits.tokens or math.inf)
        ends, spent = {}, 0.0
        for name, count in tokens.items():
            spent += count
            ends[name] = now + room * spent / sum(tokens.values())
        return ends

    # --- examine ----------------------------------------------------------------------------

    def examine(self) -> Outcome:
        """The exam of the adapters that are there."""
        from lorecraft.runs.exam import sit_exam

        adapters = {name: folder / "adapter" for name, folder in self.folders.items()}
        exam = self.directory.data / "exam.jsonl"
        key = exam_key(self.recipe, exam, self.bench, adapters.values())
        finished = self.directory.exam / "exam.json"
        if not finished.exists() or read_json(finished)["key"] != key:
            began = self.clock()
            sit_exam(
                self.bench,
                self.recipe,
                self.prepared,
                adapters=adapters,
                folder=self.directory.exam,
                progress=self.progress,
            )
            seconds = round(self.clock() - began, 1)
            write_json(finished, {"key": key, "seconds": seconds})
            self.directory.log("exam", "end", seconds=seconds)
        return self.outcome()

    def outcome(self, report: Path | None = None) -> Outcome:
        """What the exam that was sat says."""
        from lorecraft.evaluation.measures import requirements

        verdict = read_json(self.directory.exam / "verdict.json")
        require = self.recipe.require
        results = requirements(verdict, require.measures(), require.at, self.models[-1])
        missed = tuple(result["text"] for result in results if not result["met"])
        return Outcome(self.directory.folder, report, missed, verdict)

    # --- report -----------------------------------------------------------------------------

    def report(self) -> Outcome:
        from lorecraft.runs.reporting import write_report

        if not (self.directory.exam / "exam.json").exists():
            folder = self.directory.folder
            raise RunError(
                f"{folder} is not examined yet",
                "a run with its exam",
                f"lorecraft examine {folder}",
            )
        write_report(self.recipe, self.directory, self.models, self.prepared)
        return self.outcome(self.directory.report)


def sizes(directory: RunDirectory) -> dict[str, int]:
    """Bytes of what is prepared."""
    folders = {"data": directory.data, "tokens": directory.tokens}
    return {
        name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for name, folder in folders.items()
    }
