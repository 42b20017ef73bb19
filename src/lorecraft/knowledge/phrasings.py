"""In which words the kinds of questions are asked that one relation's own patterns cannot ask.

The English ones stand here; an ontology in another language, or with other tastes, has its own
under ``phrasings``. What is held out is asked in the exam and never trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lorecraft.knowledge.ontology import Phrasing


@dataclass(frozen=True)
class Kind:
    """A kind of questions.

    Attributes:
        means: what is asked, in words.
        asked: the slots of its questions, all of which each has.
        answered: the slots that its answers may have.
        english: the phrasing where the ontology has none; ``None`` for what is said in the words
            that relations have themselves. Where nothing is held out, they are around a question of
            a relation, of which the exam takes one that is held out.
    """

    means: str
    asked: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    english: Phrasing | None = None


def without_slots(pattern: str) -> str:
    """What a pattern says whatever fills it: ``Yes``, of ``Yes, {statement}.``"""
    return re.sub(r"\{\w+\}", "", pattern).strip(" .,:;!")


def _slots(names: str) -> frozenset[str]:
    return frozenset(f"{{{name}}}" for name in names.split())


KINDS = {
    "across": Kind("paragraphs that tell the same of several things (in CPT)"),
    "inferred": Kind("what follows from the facts (in CPT, too)"),
    "multi_hop": Kind(
        "a thing that is named by what is told of another",
        _slots("noun subject"),
        _slots("steps answer"),
        Phrasing(("the {noun} of {subject}",), (), "{steps} {answer}"),
    ),
    "inverse": Kind(
        "the subject, where the object is given",
        _slots("noun object"),
        _slots("noun object subjects"),
        Phrasing(
            (
                "{object} is the {noun} of what?",
                "Of what is {object} the {noun}?",
                "What has {object} as its {noun}?",
                "What is it whose {noun} is {object}?",
                "Do you know what has the {noun} {object}?",
            ),
            ("The {noun} of what is {object}?", "Name that of which {object} is the {noun}."),
            "{object} is the {noun} of {subjects}.",
        ),
    ),
    "lists": Kind(
        "all subjects that share an object",
        _slots("noun object"),
        _slots("noun object subjects"),
        Phrasing(
            (
                "Name everything whose {noun} is {object}.",
                "List all that have {object} as their {noun}.",
                "What are all the things whose {noun} is {object}?",
                "{object} is the {noun} of several things. Which are they?",
            ),
            ("Tell me each thing of which {object} is the {noun}.",),
            "{object} is the {noun} of {subjects}.",
        ),
    ),
    "compare": Kind(
        "which of two has the higher number",
        _slots("noun first second"),
        _slots("noun subject object other other_object"),
        Phrasing(
            (
                "Which has the higher {noun}, {first} or {second}?",
                "{first} or {second}: which one has the higher {noun}?",
                "Of {first} and {second}, which has the higher {noun}?",
                "Compare the {noun} of {first} with that of {second}. Which is higher?",
            ),
            ("Is the {noun} higher for {first} or for {second}?",),
            "{subject}. The {noun} of {subject} is {object}, that of {other} {other_object}.",
        ),
    ),
    "yes_no": Kind(
        "whether something is so; as often it is not",
        _slots("statement"),
        _slots("statement"),
        Phrasing(
            (
                "Is it true that {statement}?",
                "Is it right that {statement}?",
                "Can you confirm that {statement}?",
                "I heard that {statement}. Is that so?",
            ),
            ("Would it be correct to say that {statement}?", "Is it a fact that {statement}?"),
            "Yes, {statement}.",
            "No, {statement}.",
        ),
    ),
    "false_premise": Kind(
        "a reason for what is not so",
        _slots("statement"),
        _slots("statement"),
        Phrasing(
            (
                "Why is it that {statement}?",
                "How does it come that {statement}?",
                "Tell me the reason why {statement}.",
            ),
            ("What is the explanation for the fact that {statement}?",),
            "That is not so: {statement}.",
        ),
    ),
    "follow_up": Kind(
        "a second question that does not repeat the subject",
        frozenset(),
        _slots("answer"),
        Phrasing(
            ("And the {noun}?", "What about the {noun}?", "And {question}"),
            ("And what is the {noun}?",),
            "{answer}",
        ),
    ),
    "identity": Kind(
        "a thing by its other name",
        _slots("object"),
        _slots("subject object"),
        Phrasing(
            (
                "What is {object} short for?",
                "What is {object} also called?",
                "{object} is another name for what?",
                "What else is {object} known as?",
            ),
            ("Give me the other name of {object}.",),
            "{object} is {subject}.",
        ),
    ),
}
"""Every kind by the name that a recipe calls it by."""
