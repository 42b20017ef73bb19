"""``events.jsonl`` as a person reads it: sentences, and the records behind the worst steps."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from lorecraft.data.records import Record
from lorecraft.knowledge.strictness import LeftOut
from lorecraft.runs.directory import RunDirectory, parse_events
from lorecraft.runs.files import read_json, read_lines
from lorecraft.runs.progress import trouble
from lorecraft.runs.reporting import stage_sentence

GATHERED, GATHERED_SECONDS = 100, 300.0
"""A line tells of so many steps at most."""
POLL_SECONDS = 0.5
WORST = 10
"""So many spikes are told with their records."""
EXCERPT = 80

Event = dict[str, Any]


def follow(directory: RunDirectory) -> Iterator[Event]:
    """The events that there are, and those that come, until the manifest says finished."""
    rest, read = b"", 0
    while True:
        # Asked before reading: what is logged before the end shall be read.
        gone = not directory.manifest.exists()  # as when the run turned out impossible
        finished = gone or "finished" in read_json(directory.manifest)
        if directory.events.exists():
            with directory.events.open("rb") as file:
                file.seek(read)
                rest += file.read()
                read = file.tell()
        *lines, rest = rest.split(b"\n")  # the last is empty, or half written
        yield from parse_events(lines)
        if finished:
            return
        time.sleep(POLL_SECONDS)


def sentences(events: Iterable[Event]) -> Iterator[str]:
    """A line for each thing that happened; steps are gathered, up to a validation if one comes."""
    steps: list[Event] = []
    for event in events:
        kind = event["kind"]
        over = _full(steps, event) if kind == "step" else kind not in ("valid", "spike")
        if steps and over:
            yield _line(steps[-1], _trained(steps))
            steps = []
        if kind == "step":
            steps.append(event)
        elif kind == "valid":
            yield _line(event, _validated(event, steps))
            steps = []
        elif text := _TELL.get(kind, _plain)(event):
            yield _line(event, text)
    if steps:
        yield _line(steps[-1], _trained(steps))


def _full(steps: list[Event], coming: Event) -> bool:
    since = coming["time"] - steps[0]["time"] if steps else 0.0
    return len(steps) >= GATHERED or since > GATHERED_SECONDS


def name_spikes(directory: RunDirectory) -> Iterator[str]:
    """The steps whose loss stood out (see training/spikes.py), the worst first, with the beginnings
    of their records. A record that is in several of them comes first."""
    found = sorted(_spikes(directory.read_events()), key=_excess, reverse=True)
    if not found:
        yield "no spikes: no step's loss stood out from those before it"
    counts = Counter((event["stage"], record) for event in found for record in event["records"])
    texts = {event["stage"]: _texts(directory, event["stage"]) for event in found}
    for event in found[:WORST]:
        stage = event["stage"]
        usual = f", where {event['median']:.4g} is usual" if "median" in event else ""
        yield f"{stage} step {event['step']}: loss {float(event['loss']):.4g}{usual}"
        for record in sorted(event["records"], key=lambda record: -counts[stage, record]):
            times = counts[stage, record]
            again = f" (in {times} spikes)" if times > 1 else ""
            yield f"  {record}{again}: {texts[stage].get(record, 'no longer in the data')}"
    if len(found) > WORST:
        yield f"{len(found) - WORST} lesser spikes are not shown"


def _spikes(events: Iterable[Event]) -> list[Event]:
    """Of what was trained again, by another recipe or after a kill, the last time counts."""
    found: dict[str, dict[int, Event]] = {}
    before: dict[str, dict[int, Event]] = {}
    for event in events:
        stage, kind = event["stage"], event["kind"]
        if kind == "start":
            before[stage], found[stage] = found.get(stage, {}), {}
        elif kind == "resume":
            kept = before.get(stage, {}).items()
            found[stage] = {step: old for step, old in kept if step <= event["step"]}
        elif kind in ("spike", "nan"):
            found.setdefault(stage, {})[event["step"]] = event
    return [event for steps in found.values() for event in steps.values()]


def _excess(event: Event) -> float:
    return event["loss"] - event["median"] if "median" in event else math.inf


def _texts(directory: RunDirectory, stage: str) -> dict[str, str]:
    """Record id -> how the record begins."""
    path = directory.data / stage / "train.jsonl"
    records = map(Record.from_json, read_lines(path)) if path.exists() else ()
    return {record.id: _beginning(" ".join(record.words().split())) for record in records}


def _beginning(text: str) -> str:
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"


def _line(event: Event, text: str) -> str:
    when = datetime.fromtimestamp(event["time"]).isoformat(" ", "seconds")
    return f"{when}  {event['stage']}: {text}"


def _trained(steps: list[Event]) -> str:
    last = steps[-1]
    return f"step {last['step']} of {last['total']}: {_figures(steps)}"


def _validated(event: Event, steps: list[Event]) -> str:
    of = f" of {steps[-1]['total']}" if steps else ""
    best = ", the best so far" if event["best"] else ""
    pairs = "accuracy" in event
    what = f"{'loss' if pairs else 'error'} {event['error']:.4g}{_of_pairs(event)}"
    text = f"step {event['step']}{of}: validation {what}{best}"
    return "; ".join([text, _figures(steps)] if steps else [text])


def _figures(steps: list[Event]) -> str:
    first, last = steps[0], steps[-1]
    loss = sum(step["loss"] for step in steps) / len(steps)
    mean = f" (mean of {len(steps)} steps)" if len(steps) > 1 else ""
    figures = [
        f"loss {loss:.4g}{mean}{_of_pairs(last)}",
        f"learning rate {last['learning_rate']:.3g}",
    ]
    if seconds := last["seconds"] - first["seconds"]:
        figures.append(f"{(last['tokens'] - first['tokens']) / seconds:,.0f} tokens/s")
    if "memory" in last:
        figures.append(_size(last["memory"]))
    return ", ".join(figures)


def _of_pairs(event: Event) -> str:
    if "accuracy" not in event:
        return ""
    return (
        f", accuracy {event['accuracy']:.0%}, margin {event['margin']:.3g}, "
        f"log-probability {event['chosen']:.4g} chosen, {event['rejected']:.4g} rejected"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _begun(event: Event) -> str:
    told = [f", {event[what]} of them {what}" for what in ("cut", "split") if event.get(what)]
    return f"begins with {event['records']} records{''.join(told)}"


def _ended(event: Event) -> str:
    if "questions" in event:
        sizes = ", ".join(
            f"{name} {size['train']} + {size['valid']}" for name, size in event["records"].items()
        )
        return f"records to train on + to validate: {sizes}; {event['questions']} exam questions"
    if "stopped_by" in event:
        return stage_sentence(event)
    return f"took {event['seconds']:.0f} s"


def _spiked(event: Event) -> str:
    return (
        f"spike at step {event['step']}: loss {event['loss']:.4g}, where {event['median']:.4g} is "
        f"usual; --spikes names its {len(event['records'])} records"
    )


def _not_finite(event: Event) -> str:
    return (
        f"step {event['step']}: loss {event['loss']}; back to step {event['back_to']}, "
        f"at {event['rate_scale']:g} of the learning rate"
    )


def _plain(event: Event) -> str:
    rest = {k: v for k, v in event.items() if k not in ("time", "stage", "kind")}
    return " ".join([event["kind"], *(f"{key}={value}" for key, value in rest.items())])


_TELL: dict[str, Callable[[Event], str]] = {
    "start": _begun,
    "resume": lambda event: f"goes on after step {event['step']} of {event['total']}",
    "passed_over": lambda event: f"checkpoint {event['checkpoint']} {event['why']}; passed over",
    "reference": lambda event: f"the reference reads {event['pairs']} pairs, once",
    "unlearning": lambda event: trouble("unlearning", event) or "",
    "spike": _spiked,
    "nan": _not_finite,
    "left_out": lambda event: LeftOut(event["unit"], event["count"], event["seen"]).told,
    "tracker": lambda event: f"{event['name']} failed and is left alone: {event['error']}",
    "stop": lambda event: "",  # told by the end, which comes next
    "end": _ended,
}
