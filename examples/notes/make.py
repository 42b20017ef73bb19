"""The records of this example, made from concepts/: train.jsonl, valid.jsonl, test.jsonl, and the
pairs of good answers and near-misses. The same files every time.

python examples/notes/make.py
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from lorecraft.data.pairs import Pair
from lorecraft.data.records import Message
from lorecraft.data.similar import jaccard, shingles
from lorecraft.knowledge.ontology import normal
from lorecraft.runs.files import write_lines
from lorecraft.style.load import load_format
from lorecraft.style.near_misses import NearMiss, near_misses
from lorecraft.style.schema import Format

HERE = Path(__file__).parent
FLAWS_EACH = 2
"""Pairs made from one record."""


@dataclass(frozen=True)
class Note:
    """A paragraph and what is noted of it."""

    text: str
    summary: str
    points: tuple[str, ...]
    limitation: str
    question: str

    def answer(self) -> str:
        points = "\n".join(f"- {point}" for point in self.points)
        return (
            f"Summary:\n{self.summary}\n\nKey Points:\n{points}\n\n"
            f"Limitation:\n{self.limitation}\n\nFollow-up Question:\n{self.question}"
        )


@dataclass(frozen=True)
class Concept:
    """What is known of a concept; each fact in two wordings, of which the first stands alone.

    ``also`` is what else it goes by in the texts of other concepts.
    """

    name: str
    also: str
    topic: str
    difficulty: str
    definition: tuple[str, str]
    points: tuple[tuple[str, str], ...]
    limitation: tuple[str, str]
    question: tuple[str, str]
    written: Note | None


def main() -> None:
    concepts = load_concepts()
    splits = split(concepts)
    records = {name: [r for c in some for r in records_of(c)] for name, some in splits.items()}
    for name, lines in records.items():
        write_lines(HERE / f"{name}.jsonl", lines)
        print(f"{name}.jsonl: {len(lines)} records of {len(splits[name])} concepts")
    print(f"most alike of test and the rest: {most_alike(records):.2f}")
    format = load_format(HERE / "format.yaml")
    for name, file in (("train", "pairs.jsonl"), ("valid", "pairs-valid.jsonl")):
        pairs = list(pairs_of(records[name], splits["train"], format))
        write_lines(HERE / file, (pair.to_json() for pair in pairs))
        counts = Counter(pair.flaw for pair in pairs)
        print(f"{file}: {len(pairs)} pairs; {', '.join(f'{f} {n}' for f, n in counts.items())}")


def most_alike(records: dict[str, list[dict[str, Any]]]) -> float:
    """The highest similarity of a paragraph of the test and one of training or validation."""
    test, rest = (
        [shingles(r["messages"][0]["content"]) for name in names for r in records[name]]
        for names in (["test"], ["train", "valid"])
    )
    return max(jaccard(one, other) for one in test for other in rest)


def load_concepts() -> list[Concept]:
    found = []
    for path in sorted((HERE / "concepts").glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            written = entry.get("written")
            found.append(
                Concept(
                    entry["concept"],
                    entry.get("also", entry["concept"]),
                    path.stem,
                    entry["difficulty"],
                    _two(entry["definition"]),
                    tuple(_two(point) for point in entry["points"]),
                    _two(entry["limitation"]),
                    _two(entry["question"]),
                    Note(**written | {"points": tuple(written["points"])}) if written else None,
                )
            )
    return found


def _two(fact: str) -> tuple[str, str]:
    alone, following = fact.split(" | ")
    return alone, following


def split(concepts: Sequence[Concept]) -> dict[str, list[Concept]]:
    """Whole concepts, 80 to train, 15 to validate, 25 to test, evenly over the topics.

    Tested are only concepts that no other one mentions.
    """
    test: list[Concept] = []
    valid: list[Concept] = []
    for number, topic in enumerate(sorted({concept.topic for concept in concepts})):
        mine = sorted((c for c in concepts if c.topic == topic), key=lambda c: _hash(c.name))
        alone = [c for c in mine if not any(mentions(o, c) for o in concepts if o != c)]
        tested = alone[: 4 if number == 0 else 3]
        test += tested
        valid += [c for c in mine if c not in tested][: 1 if number == 0 else 2]
    train = [concept for concept in concepts if concept not in (*valid, *test)]
    return {"train": train, "valid": valid, "test": test}


def mentions(one: Concept, other: Concept) -> bool:
    texts = [*one.definition, *one.limitation, *one.question, *(w for p in one.points for w in p)]
    if one.written:
        texts += [one.written.text, one.written.answer()]
    return any(normal(name) in normal(" ".join(texts)) for name in (other.name, other.also))


def records_of(concept: Concept) -> Iterator[dict[str, Any]]:
    """Five: one written by hand if there is one, the rest composed, each in its own way."""
    ways = list(COMPOSERS)
    if concept.written:
        ways[int(_hash(concept.name), 16) % len(ways)] = "written"
    for number, way in enumerate(ways, start=1):
        if way == "written" and concept.written:
            note = concept.written
        else:
            note = COMPOSERS[way](concept, Random(f"{concept.name}/{way}"))
        yield {
            "id": f"{concept.name.replace(' ', '-').lower()}-{number}",
            "messages": [
                {"role": "user", "content": note.text},
                {"role": "assistant", "content": note.answer()},
            ],
            "facts": [concept.name],
            "source": "written" if way == "written" else f"composed: {way}",
            "topic": concept.topic,
            "difficulty": concept.difficulty,
            "sha256": _hash(normal(note.text)),
        }


def _textbook(concept: Concept, random: Random) -> Note:
    """What it is, how it works, why, a figure, and the trouble with it."""
    points = tuple(concept.points[i][1] for i in (0, 1, 2))
    how, why, figure = points
    limit = concept.limitation[1]
    text = [concept.definition[0], how, why, figure, _but(limit, random)]
    return Note(" ".join(text), concept.definition[0], points, limit, concept.question[0])


def _reason(concept: Concept, random: Random) -> Note:
    """The reason first, so that the concept is the answer to something."""
    why, how, people = concept.points[1][0], concept.points[0][1], concept.points[3][1]
    limit = concept.limitation[1]
    leads = ("This is why the following helps.", "The idea is simple.", "Here is how it is done.")
    text = [why, random.choice(leads), concept.definition[1], how, people, _but(limit, random)]
    note = (why, how, people)
    return Note(" ".join(text), concept.definition[1], note, limit, concept.question[1])


def _critic(concept: Concept, random: Random) -> Note:
    """The trouble first, then what speaks for it all the same."""
    figure, people, how = (concept.points[i][1] for i in (2, 3, 0))
    limit = concept.limitation[0]
    turns = (
        "So much for the bad news.",
        "That is the price; now for what it buys.",
        "Knowing this, one can still make good use of it.",
        "Critics stop there, and they should not.",
        "It is used all the same.",
    )
    text = [limit, random.choice(turns), concept.definition[1], how, figure, people]
    note = (how, figure, people)
    return Note(" ".join(text), concept.definition[1], note, limit, concept.question[0])


def _asked(concept: Concept, random: Random) -> Note:
    """As an answer to somebody who asks."""
    openings = (
        f'Somebody at the reading group asked what "{concept.name}" means.',
        f'The term "{concept.name}" came up in the meeting today.',
        f'Under "{concept.name}" the handout says the following.',
        f'You wanted to have "{concept.name}" explained in a minute.',
        f'From the glossary, entry "{concept.name}".',
        f'Here is my short reply to your mail about "{concept.name}".',
    )
    why, people, figure = (concept.points[i][1] for i in (1, 3, 2))
    limit = concept.limitation[1]
    text = [
        random.choice(openings),
        concept.definition[0],
        why,
        people,
        figure,
        _but(limit, random),
    ]
    note = (why, people, figure)
    return Note(" ".join(text), concept.definition[0], note, limit, concept.question[1])


def _example(concept: Concept, random: Random) -> Note:
    """A figure or an example first; the trouble comes in the middle."""
    figure, how, why = concept.points[2][0], concept.points[0][0], concept.points[1][1]
    limit = concept.limitation[0]
    links = ("Behind this stands a simple idea.", "Some background helps.", "What happens there?")
    text = [figure, random.choice(links), concept.definition[0], how]
    text += [_but(limit, random), f"Even so, {_inside(why)}"]
    note = (figure, how, why)
    return Note(" ".join(text), concept.definition[0], note, limit, concept.question[0])


COMPOSERS = {
    "textbook": _textbook,
    "reason first": _reason,
    "critic": _critic,
    "asked": _asked,
    "example first": _example,
}


def _but(limit: str, random: Random) -> str:
    openings = (
        "However, {}",
        "The catch is that {}",
        "On the other hand, {}",
        "One thing should be kept in mind, namely that {}",
        "Unfortunately, {}",
        "A word of warning: {}",
        "Its weak side is that {}",
        "Be careful, though, since {}",
    )
    return random.choice(openings).format(_inside(limit))


def _inside(sentence: str) -> str:
    """A sentence as it stands inside another: names keep their capital."""
    first = sentence.split()[0]
    name = re.search(r"[A-Z].*[A-Z]|^[A-Z][-\d]", first) or first in _NAMES
    return sentence if name else sentence[0].lower() + sentence[1:]


_NAMES = {"Adam", "Gaussian", "Monte", "Thompson", "Shapley"}


def pairs_of(
    records: Sequence[dict[str, Any]], concepts: Sequence[Concept], format: Format
) -> Iterator[Pair]:
    """For each record the answer and near-misses of it, the flaws in turn; false claims come from
    the other ``concepts`` of the topic."""
    generic = yaml.safe_load((HERE / "flaws.yaml").read_text("utf-8"))["generic_limitations"]
    for number, record in enumerate(records):
        prompt, chosen = (turn["content"] for turn in record["messages"])
        random = Random(record["id"])
        spoilt = near_misses(format, chosen, record["id"])
        said = chosen.split("Limitation:\n")[1].split("\n")[0]
        spoilt += [
            NearMiss("unsupported_claim", "", _unsupported(chosen, record, concepts, random)),
            NearMiss("generic_limitation", "", chosen.replace(said, random.choice(generic))),
        ]
        for turn in range(FLAWS_EACH):
            miss = spoilt[(number * FLAWS_EACH + turn) % len(spoilt)]
            yield Pair(
                f"{record['id']}-{miss.flaw}",
                (Message("user", prompt),),
                chosen,
                miss.text,
                miss.flaw,
                miss.rule,
                record["id"],
            )


def _unsupported(
    chosen: str, record: dict[str, Any], concepts: Sequence[Concept], random: Random
) -> str:
    """One key point is what the data say of another concept of the topic."""
    others = [c for c in concepts if c.topic == record["topic"] and c.name not in record["facts"]]
    claim = random.choice(random.choice(others).points)[1]
    point = random.choice(re.findall(r"^- (.*)$", chosen, re.MULTILINE))
    return chosen.replace(f"- {point}", f"- {claim}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
