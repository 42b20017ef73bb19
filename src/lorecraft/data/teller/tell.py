"""Passages -> requests -> answers -> checked records, within a budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorecraft.data.records import Message, Record
from lorecraft.data.similar import Similar
from lorecraft.data.teller.cache import Replies, Reply
from lorecraft.data.teller.checks import Unusable, check_pair, check_rewrite, parse, terms
from lorecraft.data.teller.requests import Request, prompts
from lorecraft.recipe import TellerSection

SHOWN = 3
"""Examples of what was not used, for each reason."""
_TEMPLATE = 50
"""Tokens that a chat template may add to a prompt."""

Ask = Callable[[Iterable[Request]], Iterator[tuple[Request, Reply]]]
"""Answers requests as they are taken, in any order."""


@dataclass
class Purse:
    """What the answers took, and whether there is enough for another one."""

    section: TellerSection
    prompt: int = 0
    completion: int = 0
    reserved: list[Request] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    @property
    def cost(self) -> float | None:
        """In the currency of ``price``."""
        return None if self.section.price is None else self._cost(self.prompt, self.completion)

    def _cost(self, prompt: int, completion: int) -> float:
        price = self.section.price
        return 0.0 if price is None else (prompt * price[0] + completion * price[1]) / 1e6

    def pay(self, reply: Reply) -> None:
        self.prompt += reply.prompt_tokens
        self.completion += reply.completion_tokens

    def affords(self, request: Request) -> bool:
        """Whether the request, and those on their way, keep within the budget at their worst."""
        asked = [*self.reserved, request]
        prompt = self.prompt + sum(map(_longest_prompt, asked))
        completion = self.completion + sum(one.room for one in asked)
        section = self.section
        return (section.max_tokens is None or prompt + completion <= section.max_tokens) and (
            section.budget is None or self._cost(prompt, completion) <= section.budget
        )


def _longest_prompt(request: Request) -> int:
    """No token is shorter than a byte."""
    return sum(len(m.content.encode()) for m in request.messages) + _TEMPLATE


@dataclass(frozen=True)
class Told:
    """What came of it.

    Attributes:
        records: texts and chats about the passages.
        general: chats about anything else.
        figures: for the audit: how much was asked, kept and not used, with the reasons.
        unasked: requests that no answer is known to, since the budget ended or nobody may ask.
    """

    records: list[Record]
    general: list[Record]
    figures: dict[str, Any]
    unasked: int


def tell(
    asked: Sequence[Request],
    section: TellerSection,
    replies: Replies,
    ask: Ask | None,
    on_reply: Callable[[int, Purse], None] = lambda count, purse: None,
) -> Told:
    """Tellings of passages, checked; as ``answers``."""
    answered, purse = answers(asked, section, replies, ask, on_reply)
    return _checked(answered, len(asked), purse)


def answers(
    asked: Sequence[Request],
    section: TellerSection,
    replies: Replies,
    ask: Ask | None,
    on_reply: Callable[[int, Purse], None] = lambda count, purse: None,
) -> tuple[list[tuple[Request, Reply]], Purse]:
    """The answers to some requests, in their order: those that are known, and as many of the others
    as the budget has room for.

    Args:
        ask: ``None`` asks nothing.
        on_reply: called with how many more are answered, and what all of it took.
    """
    requests = {request.key: request for request in asked}
    purse = Purse(section)
    known = [reply for key in requests if (reply := replies.get(key))]
    for reply in known:
        purse.pay(reply)
    on_reply(len(known), purse)
    if ask is not None:
        waiting = [request for key, request in requests.items() if not replies.get(key)]
        for request, reply in ask(_affordable(waiting, purse)):
            replies.add(request.key, reply)
            purse.reserved.remove(request)
            purse.pay(reply)
            on_reply(1, purse)
    answered = [(one, reply) for key, one in requests.items() if (reply := replies.get(key))]
    return answered, purse


def _affordable(requests: Sequence[Request], purse: Purse) -> Iterator[Request]:
    for request in requests:
        if not purse.affords(request):
            return
        purse.reserved.append(request)
        yield request


def _checked(answered: Sequence[tuple[Request, Reply]], asked: int, purse: Purse) -> Told:
    failed: Counter[str] = Counter()
    examples: dict[str, list[dict[str, str]]] = {}

    def refuse(why: str, where: str, text: str) -> None:
        failed[why] += 1
        shown = examples.setdefault(why, [])
        if len(shown) < SHOWN:
            shown.append({"from": where, "text": text[:300]})

    found: list[Record] = []
    for request, reply in answered:
        try:
            found += _records(request, reply, refuse)
        except Unusable as error:
            refuse(str(error), _where(request), reply.text)
    similar = Similar([record.words() for record in found])
    twins = {index for index, first in enumerate(similar.first) if first != index}
    # What differs in a name or a number alone says something else.
    twins |= {
        later
        for first, later in similar.pairs()
        if terms(found[first].words()) == terms(found[later].words())
    }
    for index in sorted(twins):
        refuse("like another", found[index].place, found[index].words())
    kept = [record for index, record in enumerate(found) if index not in twins]
    figures = {
        "requests": asked,
        "answered": len(answered),
        "kept": dict(Counter(record.id.split("/")[1] for record in kept)),
        "failed": dict(failed.most_common()),
        "examples": examples,
        "tokens": {"prompt": purse.prompt, "completion": purse.completion},
        "cost": purse.cost,
    }
    return Told(
        [record for record in kept if record.origin == "told"],
        [record for record in kept if record.origin == "general"],
        figures,
        asked - len(answered),
    )


def _where(request: Request) -> str:
    places = " and ".join(source.place for source in request.sources) or request.what
    return f"{places} ({request.what})" if request.kind == "rewrite" else places


def _records(
    request: Request, reply: Reply, refuse: Callable[[str, str, str], None]
) -> Iterator[Record]:
    """The usable records of an answer. Raises Unusable when there is nothing in it."""
    value = parse(reply.text, request.schema)
    sources = [source.text for source in request.sources]
    name = f"told/{request.kind}/{request.key[:12]}"
    facts = tuple(dict.fromkeys(fact for source in request.sources for fact in source.facts))
    if request.kind in ("rewrite", "relation"):
        allowed = prompts()["styles"].get(request.what, {}).get("allowed", ())
        check_rewrite(value["text"], sources, allowed)
        text = value["text"].strip()
        yield Record(name, text=text, origin="told", facts=facts, place=_where(request))
        return
    if request.kind == "chat":
        yield _chat(name, value, "general", (), _where(request))
        return
    if not value["pairs"]:
        raise Unusable("no question in it")
    for number, pair in enumerate(value["pairs"]):
        try:
            check_pair(pair["question"], pair["answer"], sources[0])
        except Unusable as error:
            refuse(str(error), _where(request), f"{pair['question']} {pair['answer']}")
            continue
        place = f"{_where(request)} ({pair['depth']})"
        yield _chat(f"{name}/{number}", pair, "told", facts, place)


def _chat(
    name: str, pair: dict[str, str], origin: Any, facts: tuple[str, ...], place: str
) -> Record:
    turns = (
        Message("user", pair["question"].strip()),
        Message("assistant", pair["answer"].strip()),
    )
    return Record(name, turns, origin=origin, facts=facts, place=place)
