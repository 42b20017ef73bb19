"""Records: what a model is trained on, before it becomes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Origin = Literal["fact", "unknown", "general", "source", "told"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True)
class Record:
    """One training example: either chat ``messages`` or plain ``text``, never both.

    Attributes:
        id: unique in its stage, stable from run to run.
        messages: the turns; loss is on every assistant turn.
        text: continued pre-training text; loss is on all of it that follows ``given``.
        given: the beginning of ``text`` that is neither trained nor scored; usually nothing.
        rejected: of a preference pair, the answer to be avoided; ``messages`` end with the chosen
            one.
        origin: ``fact`` (tells or asks an injected fact), ``unknown`` (an honest "not known"),
            ``general`` (mixed in to keep the rest alive), ``source`` (the user's own records) or
            ``told`` (what a language model made of a source).
        facts: ids of the facts that it tells, in order.
        phrasings: the patterns that it was made from; the exam never uses one of these.
        place: where it came from, for error messages (``train.jsonl line 3``).
        tags: columns of its own that the recipe asks for, such as ``topic``.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    given: str = ""
    rejected: str = ""
    origin: Origin = "source"
    facts: tuple[str, ...] = ()
    phrasings: tuple[str, ...] = ()
    place: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """The line that is written to ``data/``: the form mlx-lm and TRL read, plus our ledger."""
        turns = [{"role": m.role, "content": m.content} for m in self.messages]
        body: dict[str, Any] = {"messages": turns}
        if self.rejected:
            other = {"role": "assistant", "content": self.rejected}
            body = {"prompt": turns[:-1], "chosen": turns[-1:], "rejected": [other]}
        elif not turns:
            body = {"text": self.text, **({"given": self.given} if self.given else {})}
        return body | {
            "id": self.id,
            "origin": self.origin,
            "facts": list(self.facts),
            "phrasings": list(self.phrasings),
            "place": self.place,
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Record:
        """The inverse of ``to_json``; for lines that Lorecraft wrote itself."""
        pair = line["prompt"] + line["chosen"] if "rejected" in line else ()
        turns = line.get("messages", pair)
        return cls(
            id=line["id"],
            messages=tuple(Message(m["role"], m["content"]) for m in turns),
            rejected=line["rejected"][0]["content"] if pair else "",
            text=line.get("text", ""),
            given=line.get("given", ""),
            origin=line["origin"],
            facts=tuple(line["facts"]),
            phrasings=tuple(line["phrasings"]),
            place=line["place"],
        )

    def words(self) -> str:
        """All that the record says, as one string."""
        return self.text or "\n".join(message.content for message in self.messages)
