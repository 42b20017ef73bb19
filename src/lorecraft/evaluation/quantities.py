"""Numbers with what they count or measure, so that 3.2 kg is 3,200 grams and not 3.2 km."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from lorecraft.evaluation.wording import UNITS, Token, singular, unit_of, words

FUNCTION_WORDS = frozenset(
    words(
        "and or nor but to of in on at by for from with within until till through as per than then "
        "is was are were be been being has have had it its this that these those there he she they "
        "his her their which who whose when where what since before after under over up about "
        "around roughly approximately exactly only just also too either both each every all so"
    )
)
MEASURED = frozenset(kind for kind, _, _ in UNITS.values()) | {"clock"}


@dataclass(frozen=True)
class Quantity:
    """A number at ``tokens[start:end]``.

    Attributes:
        readings: the values that it may have, in the base unit of its kind.
        kind: ``mass``, ``clock``, ... (the kinds in ``UNITS``), the counted noun ("floor"), or
            empty for a bare number such as a year.
    """

    readings: tuple[Fraction, ...]
    kind: str
    start: int
    end: int


def quantities(tokens: Sequence[Token]) -> list[Quantity]:
    """All quantities in ``tokens``, in order; in "14 or 15 floors" both count floors."""
    found = [_at(tokens, index) for index, token in enumerate(tokens) if token.readings]
    for index in range(len(found) - 2, -1, -1):
        this, following = found[index], found[index + 1]
        between = [token.word for token in tokens[this.end : following.start]]
        listed = between in (["or"], ["to"], ["and"]) or not between
        if not this.kind and following.kind not in ("", "clock") and listed:
            size = _size(tokens, following)
            readings = tuple(value * size for value in this.readings)
            found[index] = replace(this, readings=readings, kind=following.kind)
    return found


def as_quantity(tokens: Sequence[Token]) -> Quantity | None:
    """``tokens`` as one quantity and nothing else, or None."""
    if not tokens or not tokens[0].readings or len(tokens) > 2:
        return None
    quantity = _at(tokens, 0)
    whole = quantity.end == len(tokens) or (len(tokens) == 2 and quantity.kind != "")
    return replace(quantity, readings=quantity.readings[:1]) if whole else None


def same_kind(wanted: Quantity, seen: Quantity, question: Sequence[Token]) -> bool:
    """Whether ``seen`` is a value, right or wrong, for what ``wanted`` answers."""
    if seen.kind == wanted.kind:
        return True
    if wanted.kind == "":
        return seen.kind not in MEASURED
    return seen.kind == "" and (wanted.kind == "clock" or _asked_size(wanted, question) is not None)


def equal(wanted: Quantity, seen: Quantity, question: Sequence[Token]) -> bool:
    """Whether ``seen`` says what ``wanted`` says; a unit named by the question may be left out."""
    if not same_kind(wanted, seen, question):
        return False
    value = wanted.readings[0]
    if seen.kind == wanted.kind or wanted.kind == "":
        return value in seen.readings
    if wanted.kind == "clock":  # "7.30", "at 9"
        return value == 60 * int(seen.readings[0]) + 100 * (seen.readings[0] % 1)
    size = _asked_size(wanted, question)
    return size is not None and value in [reading * size for reading in seen.readings]


def _at(tokens: Sequence[Token], index: int) -> Quantity:
    number = tokens[index]
    if number.unit == "clock":
        return Quantity(number.readings, "clock", index, index + 1)
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if following is None or following.sentence != number.sentence or following.gap.strip(" -"):
        return Quantity(number.readings, "", index, index + 1)
    if following.unit and not following.readings:
        kind, size, _ = UNITS[following.unit]
        return Quantity(tuple(v * size for v in number.readings), kind, index, index + 2)
    counts = not following.readings and following.word not in FUNCTION_WORDS
    kind = singular(following.word) if counts else ""
    return Quantity(number.readings, kind, index, index + 1)


def _size(tokens: Sequence[Token], quantity: Quantity) -> Fraction:
    """How many base units one of ``quantity``'s own units is."""
    unit = tokens[quantity.end - 1].unit
    return UNITS[unit][1] if unit in UNITS else Fraction(1)


def _asked_size(wanted: Quantity, question: Sequence[Token]) -> Fraction | None:
    """The size of the unit that the question names for ``wanted``'s kind, if it names one."""
    for token in question:
        unit = unit_of(token.word)
        if unit and UNITS[unit][0] == wanted.kind:
            return UNITS[unit][1]
        if singular(token.word) == wanted.kind:
            return Fraction(1)
    return None
