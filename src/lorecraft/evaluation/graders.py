"""Right or wrong, as a fair reader would say, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lorecraft.evaluation import declines
from lorecraft.evaluation.quantities import (
    FUNCTION_WORDS,
    as_quantity,
    equal,
    quantities,
    same_kind,
)
from lorecraft.evaluation.questions import Question
from lorecraft.evaluation.wording import Token, first_sentence, fold, tokenise, words
from lorecraft.style.check import check
from lorecraft.style.schema import Format

Span = tuple[int, int]
"""``tokens[start:end]``."""

_NEGATORS = frozenset(words("not never neither nor no without nowhere hardly"))
# "not more than 14 days" is 14 days
_LIMITS = frozenset(
    words(
        "only just merely simply more less later earlier fewer longer over under above below "
        "before until exceed exceeding to sooner higher lower doubt"
    )
)
_TURNS = frozenset(words("but however instead rather though although"))
_CORRECTIONS = frozenset(words("no sorry actually wait correction rather instead mean"))
_HEDGES = frozenset(
    words(
        "maybe perhaps possibly probably could might may can even actually no sorry wait think "
        "guess believe i we you would say or else alternatively yes well rather instead also mean"
    )
)
_EMPTY_WORDS = FUNCTION_WORDS | _HEDGES
_OPPOSITES = frozenset(words("after before over under without beyond outside"))
_LEADING = frozenset(words("in at on within by for"))


@dataclass(frozen=True)
class Grade:
    """Whether an answer is right, and the reason in a few words."""

    passed: bool
    why: str


def grade(question: Question, answer: str) -> Grade:
    """Grade ``answer`` as ``question.measure`` and ``question.topic`` ask.

    Right is an answer that says an accepted value as whole words, whatever its case, accents,
    articles or way to write a number; that does not deny it, does not give a second, different
    value beside it, and does not decline. Of two to choose from, the first that is not denied
    counts; of a list all must be said. An unanswerable question is right when it is declined
    and no value is given all the same.
    """
    if not answer.strip():
        return Grade(False, "says nothing")
    if question.measure == "abstention":
        return _abstention(question, answer)
    if question.measure in ("yes_no", "compare"):
        return _choice(question, answer)
    if question.measure == "lists":
        return _list_of(question, answer)
    if question.measure == "completion":
        return _statement(question, first_sentence(answer))
    if question.measure == "retention" and question.topic == "arithmetic":
        return _arithmetic(question, answer)
    if question.measure == "retention" and question.topic == "python":
        return _code(question, answer)
    return _statement(question, answer)


def keeps(format: Format, answer: str) -> Grade:
    """Right is a text that keeps to every rule."""
    broken = check(format, answer)
    return Grade(not broken, "; ".join(map(str, broken)) or "keeps to the format")


def mentions(name: str, text: str) -> bool:
    """Whether ``text`` has ``name`` as whole words, in this case ("Apple" is not "apple")."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _abstention(question: Question, answer: str) -> Grade:
    declined, told = declines.read(answer, question.accept)
    if not declined:
        return Grade(False, "does not decline")
    said, asked = tokenise(answer), tokenise(question.prompt)
    for rival in question.reject:
        value = tokenise(rival)
        if _find(value, said, asked) and not _phrase(value, asked):
            return Grade(False, f"declines, yet says {rival}")
    known = quantities(asked) + [q for text in question.accept for q in quantities(tokenise(text))]
    for seen in quantities(said):
        if not any(seen.readings == q.readings for q in known):
            return Grade(False, f"declines, yet says {_words(said, (seen.start, seen.end))}")
    if told:
        return Grade(False, f"declines, yet tells: {told}")
    return Grade(True, "declines")


def _statement(question: Question, answer: str) -> Grade:
    said, asked = tokenise(answer), tokenise(question.prompt)
    found = [
        (span, value)
        for value in _accepted(question)
        for span in _find(tokenise(value), said, asked)
        if not _restates(tokenise(value), span, said, asked)
    ]
    declined = declines.before_value(answer, question.expected)
    if not found:
        return Grade(False, "declines" if declined else f"does not say {_list(question.accept)}")
    if declined:
        return Grade(False, "declines")
    negation_is_right = _NEGATORS & {token.word for token in tokenise(question.expected) + asked}
    spans = [span for span, _ in found]
    if not negation_is_right:
        spans = [span for span in spans if not _denied(span, said)]
        if not spans:
            return Grade(False, f"denies {found[0][1]}")
    second = _second_answer(question, [span for span, _ in found], said, asked)
    if second:
        return Grade(False, f"says {_words(said, spans[0])}, and also {_words(said, second)}")
    return Grade(True, f"says {next(value for span, value in found if span in spans)}")


def _choice(question: Question, answer: str) -> Grade:
    """Of two answers that both may be mentioned, the first that is said and not denied counts."""
    if declines.before_value(answer, question.expected):
        return Grade(False, "declines")
    said = tokenise(answer)
    found = sorted(
        (start, -end, right, value)
        for right, values in ((True, question.accept), (False, question.reject))
        for value in values
        for start, end in _phrase(tokenise(value), said)
    )
    if not found:
        return Grade(False, f"does not say {_list(question.accept)}")
    for start, end, right, value in found:
        if value.lower() in _NEGATORS or not _denied((start, -end), said):
            return Grade(right, f"says {value}")
    return Grade(False, f"denies {found[0][-1]}")


def _list_of(question: Question, answer: str) -> Grade:
    """All of the accepted values, and none that is not."""
    if declines.before_value(answer, question.expected):
        return Grade(False, "declines")
    said = tokenise(answer)
    spans = {v: _phrase(tokenise(v), said) for v in (*question.accept, *question.reject)}
    named = [span for found in spans.values() for span in found]

    def says(value: str) -> bool:
        """Whether it is named, and not as a part of a longer name."""
        return any(
            not _denied((start, end), said)
            and not any(a <= start and end <= b and b - a > end - start for a, b in named)
            for start, end in spans[value]
        )

    for value in question.accept:
        if not says(value):
            return Grade(False, f"does not say {value}")
    for value in question.reject:
        if says(value):
            return Grade(False, f"says {value}, too")
    return Grade(True, "says all")


def _accepted(question: Question) -> list[str]:
    """The accepted values; a definition's key words also inflected ("repeat", "repeated")."""
    defines = question.measure == "retention" and question.topic == "definitions"
    endings = ("", "s", "d", "ed", "ing") if defines else ("",)
    return [value + ending for value in question.accept for ending in endings]


def _arithmetic(question: Question, answer: str) -> Grade:
    """The last number must be right; the operands, repeated, are no answer."""
    said, asked = _numbers(answer), _numbers(question.prompt)
    wanted = {value for text in question.accept for value in _numbers(text)}
    if not said:
        return Grade(False, "says no number")
    fresh = [value for value in said if value not in asked] or [said[-1]]
    if re.search(r"\bor\b", fold(answer)) and len(set(fresh)) > 1:
        return Grade(False, f"says {' or '.join(map(str, dict.fromkeys(fresh)))}")
    final = said[-1] if said[-1] in wanted else fresh[-1]
    return Grade(final in wanted, f"says {final}")


def _code(question: Question, answer: str) -> Grade:
    """Code is compared without regard to spaces and quotes; an accepted word as a word."""
    for code in question.accept:
        if re.fullmatch(r"[A-Za-z ]+", code):
            if _phrase(tokenise(code), tokenise(answer)):
                return Grade(True, f"says {code}")
        elif re.search(_code_pattern(code), answer):
            return Grade(True, f"says {code}")
    return Grade(False, f"does not say {_list(question.accept)}")


def _code_pattern(code: str) -> str:
    pieces = re.findall(r"\w+|[^\w\s]", code)
    pattern = ""
    for before, piece in zip(["", *pieces], pieces, strict=False):
        both_words = bool(re.match(r"\w", before) and re.match(r"\w", piece))
        pattern += (r"\s+" if both_words else r"\s*") if before else ""
        pattern += "[\"']" if piece in "\"'" else re.escape(piece)
    start = r"(?<![\w.])" if re.match(r"\w", code) else ""
    more = r"(?!\w|\.\w|\s*[\[(]|\s*[-+*/%]\s*\w)"  # "len(xs) - 1" is not len(xs)
    return start + pattern + more


def _numbers(text: str) -> list[Fraction]:
    return [token.readings[0] for token in tokenise(text) if token.readings]


def _find(wanted: Sequence[Token], said: Sequence[Token], asked: Sequence[Token]) -> list[Span]:
    """Where ``said`` has ``wanted``, as a quantity or as whole words."""
    quantity = as_quantity(wanted)
    if quantity is not None:
        return [(q.start, q.end) for q in quantities(said) if equal(quantity, q, asked)]
    if wanted and wanted[0].word in _LEADING and len(wanted) > 1:
        spans = _find(wanted[1:], said, asked)
        return [(a, b) for a, b in spans if a == 0 or said[a - 1].word not in _OPPOSITES]
    return _phrase(wanted, said)


def _phrase(wanted: Sequence[Token], said: Sequence[Token]) -> list[Span]:
    """Runs of tokens that spell ``wanted``, however it is divided ("D.C." is "DC")."""
    target = "".join(token.word for token in wanted)
    spans = []
    for start in range(len(said)):
        joined, end = "", start
        while end < len(said) and len(joined) < len(target):
            joined += said[end].word
            end += 1
        if target and joined == target:
            spans.append((start, end))
    return spans


def _restates(
    wanted: Sequence[Token], span: Span, said: Sequence[Token], asked: Sequence[Token]
) -> bool:
    """Whether the value is only the question's own subject again ("An orange is blue")."""
    following = [token.word for token in said[span[1] : span[1] + 1]]
    return following in (["is"], ["are"], ["was"], ["has"]) and bool(_phrase(wanted, asked))


def _denied(span: Span, said: Sequence[Token]) -> bool:
    start = span[0]
    while start > 0 and not _new_clause(said[start], said[start - 1]):
        start -= 1
    for index in range(start, span[0]):
        if said[index].word in _NEGATORS and not _harmless_negator(said, index):
            return True
    after = " ".join(token.word for token in said[span[1] : span[1] + 2])
    return re.fullmatch(r"(is|was|are|were) (not|wrong|incorrect|false)", after) is not None


def _harmless_negator(said: Sequence[Token], index: int) -> bool:
    following = said[index + 1]
    if following.word in _LIMITS:
        return True
    interjection = ("it", "he", "she", "they", "that", "this", "is", "was")
    return said[index].word == "no" and (following.word in interjection or bool(following.readings))


def _new_clause(token: Token, before: Token) -> bool:
    return (
        token.sentence != before.sentence
        or before.word in _TURNS
        or re.search(r"[,:()]|\s-\s", token.gap) is not None
    )


def _second_answer(
    question: Question, right: Sequence[Span], said: Sequence[Token], asked: Sequence[Token]
) -> Span | None:
    """A different value in answer to the same question, if there is one.

    A rival value is such an answer when its clause says nothing of its own: "1987 or 1988" and
    "It was founded in 1987. It was founded in 1988." contradict themselves, "It was founded in
    1987 and moved to Dunmere in 1995." does not.
    """
    rivals = _rivals(question, right, said, asked)
    spans = [*right, *rivals]
    clause = _clauses(said, spans)
    covered = {index for start, end in spans for index in range(start, end)}

    def content(number: int) -> set[str]:
        return {
            token.word
            for index, token in enumerate(said)
            if clause[index] == number and index not in covered and token.word not in _EMPTY_WORDS
        }

    own = {clause[start] for start, _ in right}
    known = {token.word for token in (*asked, *tokenise(question.expected))}
    known |= set().union(*map(content, own))
    for rival in rivals:
        if _corrected(rival, right, said):
            continue
        number = clause[rival[0]]
        if number in own:
            if any(_adjoining(rival, span, said) for span in right):
                return rival
        elif content(number) <= known:
            return rival
    return None


def _rivals(
    question: Question, right: Sequence[Span], said: Sequence[Token], asked: Sequence[Token]
) -> list[Span]:
    spans: list[Span] = []
    for text in question.reject:
        if not _phrase(tokenise(text), asked):
            spans += _find(tokenise(text), said, asked)
    known = [q.readings for q in quantities(asked)]
    for text in question.accept:
        wanted = as_quantity(tokenise(text))
        if wanted is not None:
            spans += [
                (seen.start, seen.end)
                for seen in quantities(said)
                if same_kind(wanted, seen, asked) and seen.readings not in known
            ]
    free = _apart_from(right)
    return sorted({span for span in spans if free(span) and not _denied(span, said)})


def _apart_from(taken: Sequence[Span]) -> Callable[[Span], bool]:
    return lambda span: all(span[1] <= start or end <= span[0] for start, end in taken)


def _clauses(said: Sequence[Token], spans: Sequence[Span]) -> list[int]:
    """The number of each token's clause; a value's own words are never divided."""
    inside = {index for start, end in spans for index in range(start + 1, end)}
    numbers, current = [], 0
    for index, token in enumerate(said):
        if index and index not in inside:
            divides = token.word in ("and", "or", *_TURNS)
            current += divides or _new_clause(token, said[index - 1]) or "/" in token.gap
        numbers.append(current)
    return numbers


def _corrected(rival: Span, right: Sequence[Span], said: Sequence[Token]) -> bool:
    """Whether the rival is taken back in favour of the right value: "Ellesby, no, Varnholt"."""
    return any(
        _CORRECTIONS & {token.word for token in said[rival[1] : start]}
        for start, _ in right
        if rival[1] <= start
    )


def _adjoining(rival: Span, span: Span, said: Sequence[Token]) -> bool:
    start, end = (span[1], rival[0]) if span[1] <= rival[0] else (rival[1], span[0])
    return all(token.word in ("to", "until", "through") for token in said[start:end])


def _words(said: Sequence[Token], span: Span) -> str:
    return " ".join(token.word for token in said[span[0] : span[1]])


def _list(values: Sequence[str]) -> str:
    return " or ".join(values[:3]) or "anything accepted"
