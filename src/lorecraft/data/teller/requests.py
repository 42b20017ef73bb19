"""What a language model is asked for: each request with its source quoted and the form of its
answer."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, Literal

import yaml

from lorecraft.data.records import Message
from lorecraft.data.teller.passages import Passage
from lorecraft.recipe import TellerSection

Kind = Literal["rewrite", "questions", "relation", "chat", "extract"]
LONGEST_ANSWER = 1024
"""Tokens."""


@dataclass(frozen=True)
class Request:
    """One thing to ask.

    Attributes:
        what: the style, the depths or the name that is asked about.
        schema: what the answer's JSON object must be (a JSON schema).
        room: tokens that the answer may have.
    """

    kind: Kind
    what: str
    sources: tuple[Passage, ...]
    messages: tuple[Message, ...]
    schema: Mapping[str, Any]
    room: int = LONGEST_ANSWER

    @property
    def key(self) -> str:
        """Changes with anything that the answer hangs on, but for the model."""
        said = [(message.role, message.content) for message in self.messages]
        text = json.dumps([said, self.schema, self.room], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def prompts() -> dict[str, Any]:
    """``prompts.yaml``."""
    text = files("lorecraft.data.teller").joinpath("prompts.yaml").read_text("utf-8")
    return dict(yaml.safe_load(text))


def all_requests(passages: Sequence[Passage], section: TellerSection, seed: int) -> list[Request]:
    """Of every passage so many rewrites, each in another style, and its questions; relations of
    things that several passages name; general chats. Each once; the same for the same seed."""
    requests: list[Request] = []
    for passage in passages:
        rng = random.Random(f"{seed}/{passage.id}")
        styles = rng.sample(section.styles, min(section.per_passage, len(section.styles)))
        requests += [rewrite(passage, style) for style in styles]
        if section.depths:
            requests.append(questions(passage, section.depths))
    requests += relations(passages, section.relations)
    requests += chats(section.chats, seed)
    requests = [replace(request, room=section.max_new_tokens) for request in requests]
    return list({request.key: request for request in requests}.values())


def rewrite(passage: Passage, style: str) -> Request:
    task = prompts()["styles"][style]["task"]
    return _request("rewrite", style, (passage,), [task, prompts()["text_form"]], _TEXT)


def questions(passage: Passage, depths: Sequence[str]) -> Request:
    told = [f"- {depth}: {prompts()['depths'][depth]}" for depth in depths]
    task = [prompts()["question_task"], *told, prompts()["question_form"]]
    pair = _object(depth={"type": "string", "enum": list(depths)}, question=_STRING, answer=_STRING)
    return _request("questions", ", ".join(depths), (passage,), task, _object(pairs=_list(pair)))


def relations(passages: Sequence[Passage], per_name: int) -> Iterator[Request]:
    """How two passages that name the same thing belong together, a few pairs for each name.

    Entity pairs across documents, after Yang et al. 2024, arXiv:2409.07431.
    """
    naming: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        for name in names_in(passage.text):
            naming[name].append(passage)
    met: set[tuple[str, str]] = set()
    for name, those in naming.items():
        if len(those) > max(2, len(passages) // 2):  # what nearly all name joins nothing
            continue
        for first, second in list(pairwise(those))[:per_name]:
            if (first.id, second.id) not in met:
                met.add((first.id, second.id))
                task = prompts()["relation_task"].replace("{name}", name)
                form = prompts()["text_form"]
                yield _request("relation", name, (first, second), [task, form], _TEXT)


def chats(count: int, seed: int) -> Iterator[Request]:
    """General conversations, which keep a model what it was."""
    topics = random.Random(f"{seed}/chats").sample(prompts()["topics"], len(prompts()["topics"]))
    for number in range(count):
        lap, topic = divmod(number, len(topics))
        task = prompts()["chat_task"].replace("{topic}", topics[topic])
        again = [f"It is number {lap + 1} about this; make it unlike any other."] if lap else []
        form = _object(question=_STRING, answer=_STRING)
        yield _request("chat", topics[topic], (), [task, *again, prompts()["chat_form"]], form)


def names_in(text: str) -> list[str]:
    """Names of several words that a text gives to things, each once, in order."""
    found: dict[str, None] = {}
    for run in re.findall(r"\b[A-ZÄÖÜ][\w'-]+(?: [A-ZÄÖÜ][\w'-]+)+", text):
        found[run] = None
        if run.count(" ") > 1:  # the first may only begin a sentence
            found[run.partition(" ")[2]] = None
    return list(found)


_STRING = {"type": "string", "minLength": 1}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_TEXT = _object(text=_STRING)


def _request(
    kind: Kind,
    what: str,
    sources: tuple[Passage, ...],
    task: Sequence[str],
    schema: Mapping[str, Any],
) -> Request:
    asked = "\n".join([*task, *(f"\n{quoted(source.text)}" for source in sources)])
    messages = (Message("system", prompts()["system"]), Message("user", asked))
    return Request(kind, what, sources, messages, schema)


def quoted(text: str) -> str:
    """A source between lines that it cannot itself have written: their mark is its own hash."""
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"SOURCE {mark}\n{text}\nEND {mark}"


def extract(passage: Passage, relations: Mapping[str, str]) -> Request:
    """The statements of a passage that some relations can say: name -> what it says."""
    told = [f"- {name}: {says}" for name, says in relations.items()]
    task = [prompts()["extract_task"], *told, prompts()["extract_form"]]
    relation = {"type": "string", "enum": list(relations)}
    triple = _object(subject=_STRING, relation=relation, object=_STRING, sentence=_STRING)
    return _request("extract", "triples", (passage,), task, _object(triples=_list(triple)))
