"""A run's tellings by a language model: who is asked, what is kept, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from lorecraft.data.decode import Decoded
from lorecraft.data.passages import passage_records
from lorecraft.data.teller.cache import Replies, Reply, cache_folder
from lorecraft.data.teller.endpoint import Endpoint
from lorecraft.data.teller.extract import Extracted, extracted, extractions
from lorecraft.data.teller.passages import Passage
from lorecraft.data.teller.requests import Request, all_requests
from lorecraft.data.teller.tell import Ask, Purse, Told, answers, tell
from lorecraft.engines import base
from lorecraft.errors import DataError
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.strictness import Bad
from lorecraft.recipe import TellerSection
from lorecraft.runs.progress import Progress
from lorecraft.runs.workbench import Blueprint, Workbench

PASSAGE_LENGTH = 512
"""Tokens of a passage whose facts are looked for."""


def tellings(
    section: TellerSection,
    seed: int,
    passages: Sequence[Passage],
    bench: Callable[[], Workbench],
    progress: Progress,
    bad: Bad,
) -> Told:
    """What a recipe's teller makes of some passages.

    Args:
        bench: opens the base model, if it is what is asked.
        bad: is told when the endpoint gives no answers; when it returns, those known are used.
    """
    requests = all_requests(passages, section, seed)
    replies = _replies_of(section, bench)
    ask = _of_base(bench(), section) if section.endpoint == "base" else Endpoint(section).ask
    try:
        told = _asked(requests, section, replies, ask, progress)
    except DataError as error:
        unasked = sum(not replies.get(request.key) for request in requests)
        bad(error, "request", unasked)
        told = tell(requests, section, replies, None)
    for line in summary(told.figures):
        progress.note(f"  {line}")
    return told


def _asked(
    requests: Sequence[Request],
    section: TellerSection,
    replies: Replies,
    ask: Ask,
    progress: Progress,
) -> Told:
    with progress.stage("teller", len(requests), "requests") as bar:

        def on_reply(count: int, purse: Purse) -> None:
            cost = {} if purse.cost is None else {"cost": purse.cost}
            bar.advance(count, tokens=purse.tokens, **cost)

        return tell(requests, section, replies, ask, on_reply)


def summary(figures: Mapping[str, Any] | None) -> list[str]:
    """What came of it, in words, from the audit's figures; nothing without a teller."""
    if figures is None:
        return []
    kept, failed = sum(figures["kept"].values()), figures["failed"]
    cost = "" if figures["cost"] is None else f", cost {figures['cost']:.3g}"
    tokens = sum(figures["tokens"].values())
    answered, asked = figures["answered"], figures["requests"]
    lines = [f"teller: {kept} records from {answered} answers, {tokens:,} tokens{cost}"]
    if failed:
        reasons = ", ".join(f"{count} {why}" for why, count in failed.items())
        lines.append(f"teller: not used: {reasons}")
    if answered < asked:
        lines.append(
            f"teller: {asked - answered} of {asked} requests were not answered or not made"
        )
    return lines


def known_tellings(
    section: TellerSection,
    seed: int,
    passages: Sequence[Passage],
    blueprint: Callable[[], Blueprint],
    progress: Progress,
) -> Told:
    """Those that were told before; nobody is asked. Raises DataError when there are none."""
    requests = all_requests(passages, section, seed)
    told = tell(requests, section, _replies_of(section, blueprint), None)
    if not told.figures["answered"]:
        raise DataError(
            f"the teller has {len(requests)} requests to make, and a plan asks nobody",
            "data that are prepared",
            "`lorecraft prepare` first; its answers are kept",
        )
    if told.unasked:
        progress.note(f"  teller: {told.unasked} of {len(requests)} requests are still to be made")
    return told


def _replies_of(
    section: TellerSection, base: Callable[[], Blueprint | Workbench] | None = None
) -> Replies:
    """What is known of a teller's answers; ``base`` is the base model, if it is asked."""
    model = base().model_hash if base and section.endpoint == "base" else section.model
    return Replies(cache_folder(), f"{section.endpoint} {model} {section.temperature}")


def _of_base(bench: Workbench, section: TellerSection) -> Ask:
    """The base model itself, a few requests at a time."""

    def ask(requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        left = iter(requests)
        while group := list(islice(left, section.at_once)):
            yield from zip(group, _answers(bench, group, section.temperature), strict=True)

    return ask


def _answers(bench: Workbench, group: Sequence[Request], temperature: float) -> list[Reply]:
    tokenizer = bench.tokenizer
    prompts = [tokenizer.chat(request.messages, add_generation_prompt=True) for request in group]
    rooms = [
        min(request.room, (bench.info.context or len(prompt) + request.room) - len(prompt))
        for request, prompt in zip(group, prompts, strict=True)
    ]
    fitting = [index for index, room in enumerate(rooms) if room > 0]
    asked = [
        base.Request(
            prompts[index],
            max_new_tokens=rooms[index],
            stop=tokenizer.stop_ids,
            temperature=temperature,
            seed=int(group[index].key[:8], 16),
            banned=bench.banned,
        )
        for index in fitting
    ]
    said = {index: Decoded(tokenizer) for index in fitting}
    counts = [0] * len(group)
    for number, token in bench.engine.generate(asked):
        said[fitting[number]].add(token)
        counts[fitting[number]] += 1
    return [
        Reply(said[index].text.strip() if index in said else "", len(prompt), counts[index])
        for index, prompt in enumerate(prompts)
    ]


def extract(
    documents: Sequence[str], ontology: Path, section: TellerSection, progress: Progress
) -> Extracted:
    """What the sentences of some documents say in the relations of an ontology.

    Raises DataError for documents, an ontology or an endpoint that cannot be used.
    """
    known = load_ontology(ontology)
    passages = [
        Passage(record.id, record.text, record.place)
        for record in passage_records(documents, PASSAGE_LENGTH)
    ]
    requests = extractions(passages, known)
    ask, replies = Endpoint(section).ask, _replies_of(section)
    with progress.stage("extract", len(requests), "passages") as bar:

        def on_reply(count: int, purse: Purse) -> None:
            bar.advance(count, tokens=purse.tokens)

        answered, _ = answers(requests, section, replies, ask, on_reply)
    return replace(extracted(answered, known), unasked=len(requests) - len(answered))
