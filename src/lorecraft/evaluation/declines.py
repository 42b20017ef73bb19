"""Does an answer say that it does not know?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorecraft.evaluation.wording import fold

_ADVERB = r"(?: (?:really|actually|currently|yet|honestly|simply|just))?"
_KNOWLEDGE = r"(?:information|idea|knowledge|records?|data|details?|answer|clue|mention|facts?|way)"
_TOLD = (
    r"(?:told|taught|given|informed|said|shared|stated|specified|mentioned|recorded|listed|set|"
    r"documented|disclosed|announced|published|revealed|written|decided|available|provided|known|"
    r"public|clear|found)"
)
_DECLINES = re.compile(
    "|".join(
        (
            rf"\b(?:do|does|did) not{_ADVERB} (?:know|recall|remember)\b(?! (?:everything|all)\b)",
            rf"\b(?:do|does|did) not{_ADVERB} (?:say|state|mention|specify|tell|list|record)\b",
            rf"\b(?:do|does) not{_ADVERB} have (?:\w+ ){{0,3}}{_KNOWLEDGE}\b",
            rf"\b(?:i|we)(?: have|'ve)? (?:got )?no{_ADVERB} (?:\w+ )?{_KNOWLEDGE}\b",
            rf"\b(?:there (?:is|are|was) (?:no|not any)|no) (?:\w+ )?{_KNOWLEDGE} "
            r"(?:is|are|was|were|about|on|of|for|available|given|here)\b",
            rf"\b(?:is|are|was|were|been|it)(?: \w+)? (?:not|never) (?:\w+ )?{_TOLD}\b",
            rf"\b(?:has|have|had) (?:not|never) (?:yet )?been {_TOLD}\b",
            rf"\b(?:nobody|no one|no-one|none)(?: has)? (?:ever )?(?:knows?|{_TOLD})\b",
            r"\b(?:can not|could not|unable to|not able to|impossible to)(?: \w+)? (?:answer|say|"
            r"tell|find|determine|confirm|provide|help|recall|verify|state|know)\b",
            r"\b(?:is|are|remains?|was|stays?) (?:un(?:known|clear|disclosed|specified|certain|"
            r"recorded)|a mystery|a secret|confidential)\b",
            rf"^(?:unknown|no (?:idea|information|clue)|not {_TOLD}|n/a)\b",
            r"\bnot (?:aware|familiar|informed)\b",
            r"\b(?:outside|beyond|not (?:in|part of)) (?:of )?(?:my|our|the|what i) "
            r"(?:\w+ )?(?:knowledge|training|data|know|information|records?|facts?)\b",
            r"\b(?:never|not) (?:heard|learned|learnt|read) (?:of|about|that|what|it)\b",
            r"\b(?:i|we) lack\b|\bwish i knew\b|\bbeats me\b",
        )
    )
)
_UNSURE = re.compile(r"\b(?:not|un)(?: \w+)? ?(?:sure|certain)\b")
_COURTESY = re.compile(
    r"\b(?:sorry|apolog\w+|please|thank\w*|afraid|unfortunately|perhaps you|you (?:can|could|may|"
    r"might|should|will)|contact|ask|check|consult|look it up|if you|let me know|would you|could "
    r"you|can you|i can|i could|i would|i am happy|feel free|anything else|someone|try)\b"
)
_CLAUSE = re.compile(r"(?<=[.!?;])\s+|\n+|,?\s+\b(?:but|however|though|although|yet)\b,?\s*|\s-+\s")


def read(answer: str, wordings: Sequence[str] = ()) -> tuple[bool, str]:
    """``(declined, told)``: whether ``answer`` declines, and what it asserts all the same.

    Args:
        answer: what a model said.
        wordings: further sentences that count as declining, such as the recipe's own.
    """
    clauses = _clauses(answer)
    strong = [_declines(clause, wordings) for clause in clauses]
    unsure = [_UNSURE.search(clause) is not None for clause in clauses]
    if not any(strong) and not any(unsure):
        return False, ""
    first = strong.index(True) + 1 if any(strong) else 0
    for index in range(first, len(clauses)):
        if not (strong[index] or unsure[index] or _COURTESY.search(clauses[index])):
            return True, clauses[index]
    return True, ""


def before_value(answer: str, expected: str = "") -> bool:
    """Whether ``answer`` declines, so that a value in it is a guess.

    "I am not sure, but ..." is a hedge, and declining something else after having answered is
    nobody's fault. An ``expected`` answer that declines makes declining right.
    """
    if _declines(fold(expected), ()):
        return False
    clauses = _clauses(answer)
    return any(
        _declines(clause, ()) and (index == 0 or len(clause.split()) <= 5)
        for index, clause in enumerate(clauses)
    )


def _declines(clause: str, wordings: Sequence[str]) -> bool:
    own = [fold(wording).strip(" .!") for wording in wordings]
    return _DECLINES.search(clause) is not None or any(text and text in clause for text in own)


def _clauses(answer: str) -> list[str]:
    text = re.sub(r"^\W+", "", fold(answer))
    return [clause.strip(" ,.!?") for clause in _CLAUSE.split(text) if clause.strip(" ,.!?")]
