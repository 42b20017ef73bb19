"""Text as a fair reader takes it: case, accents, articles and ways to write a number don't count.

``tokenise`` turns an answer and what is accepted into the same canonical tokens: "The Hälf-Moon
weighs 1,200 grams." and "half moon weighs 1200 g" are equal there.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache


def words(text: str) -> tuple[str, ...]:
    """A word list as one writes it."""
    return tuple(text.split())


MONTHS = words(
    "january february march april may june july august september october november december"
)
_SMALL = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
NUMBER_WORDS = {word: n for n, word in enumerate(_SMALL)} | {
    word: 10 * n for n, word in enumerate(_TENS, start=2)
}
SCALES = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}

# kind, size of the unit in that kind's base unit, names; a plural -s is taken off before look-up.
_UNIT_TABLE = (
    ("mass", "1/1000", "mg milligram milligramme"),
    ("mass", "1", "g gram gramme"),
    ("mass", "1000", "kg kilo kilogram kilogramme"),
    ("mass", "1000000", "t tonne"),
    ("length", "1/1000", "mm millimetre millimeter"),
    ("length", "1/100", "cm centimetre centimeter"),
    ("length", "1", "m metre meter"),
    ("length", "1000", "km kilometre kilometer"),
    ("miles", "1", "mile"),
    ("feet", "1", "ft foot feet"),
    ("inches", "1", "inch inche"),
    ("area", "1", "m2 sqm"),
    ("volume", "1/1000", "ml millilitre milliliter"),
    ("volume", "1/100", "cl centilitre centiliter"),
    ("volume", "1", "l litre liter"),
    ("volume", "1000", "m3"),
    ("time", "1/1000", "ms millisecond"),
    ("time", "1", "s sec second"),
    ("time", "60", "min minute"),
    ("time", "3600", "h hr hour"),
    ("time", "86400", "day"),
    ("time", "604800", "week"),
    ("months", "1", "month"),
    ("months", "12", "year yr"),
    ("speed", "1", "kph"),
    ("speed", "18/5", "mps"),
    ("mph", "1", "mph"),
    ("power", "1", "w watt"),
    ("power", "1000", "kw kilowatt"),
    ("power", "1000000", "mw megawatt"),
    ("energy", "1", "wh"),
    ("energy", "1000", "kwh"),
    ("voltage", "1", "v volt"),
    ("current", "1", "amp ampere"),
    ("current", "1/1000", "ma milliamp"),
    ("charge", "1", "mah"),
    ("frequency", "1", "hz hertz"),
    ("frequency", "1000", "khz kilohertz"),
    ("frequency", "1000000", "mhz megahertz"),
    ("pressure", "1", "bar"),
    ("sound", "1", "db decibel"),
    ("data", "1", "mb megabyte"),
    ("data", "1000", "gb gigabyte"),
    ("data", "1000000", "tb terabyte"),
    ("celsius", "1", "°c °"),
    ("fahrenheit", "1", "°f"),
    ("share", "1", "%"),
    ("euro", "1", "€ euro eur"),
    ("dollar", "1", "$ dollar usd"),
    ("pound", "1", "£ pound gbp"),
    ("people", "1", "people person employee staff worker colleague"),
)
UNITS = {
    name: (kind, Fraction(size), names.split()[0])
    for kind, size, names in _UNIT_TABLE
    for name in names.split()
}
"""Unit name -> its kind, its size in the kind's base unit, its canonical name."""

_MONTH = "(" + "|".join(f"{month[:3]}(?:{month[3:]}|t)?" for month in MONTHS) + r")\b\.?"
_DAY = r"\b(\d{1,2})(?:st|nd|rd|th)?\b"
_SPELLINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"{_DAY} (?:of )?{_MONTH}", r"\1 \2"),
        (rf"\b{_MONTH} (?:the )?{_DAY}(?![:.,]\d)", r"\2 \1"),
        (r"\bper ?cent(?:age points)?\b", "%"),
        (r"(?:°|\bdegrees?) ?(?:c\b|celsius|centigrade)", "°c"),
        (r"(?:°|\bdegrees?) ?(?:f\b|fahrenheit)", "°f"),
        (r"(?<=\d) degrees?\b", "°c"),
        (r"\b(?:km/h|kmh|kilomet(?:re|er)s? (?:per|an) hour)\b", "kph"),
        (r"\b(?:m/s|met(?:re|er)s? (?:per|a) second)\b", "mps"),
        (r"\bmiles (?:per|an) hour\b", "mph"),
        (r"\bsquare met(?:re|er)s?\b", "m2"),
        (r"\bcubic met(?:re|er)s?\b", "m3"),
        (r"\b(\d{1,2}) o'? ?clock\b", r"\1:00"),
        (r"\bhalf an hour\b", "30 minutes"),
        (r"\bcan't\b|\bcannot\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(do|does|did|is|are|was|were|has|have)nt\b", r"\1 not"),
        (r"(?<=\w)'s\b|(?<=s)'(?=\s|$)", ""),
        (r"&", " and "),
        (r"\b(?:rather than|instead of|as opposed to|unlike)\b", "not"),
        (r"(?<=\d)\s?-\s?(?=\d)", " to "),
        (r"(?<!\w)-(?=\d)", "minus "),
    )
)
_TOKEN = re.compile(
    r"(?P<clock>\b\d{1,2}:\d{2}(?!\d)(?:\s?[ap]\.?m\b)?|\b\d{1,2}(?:\.\d{2})?\s?[ap]\.?m\b)"
    r"|(?P<number>(?<![^\W_])(?:\d{1,3}(?: \d{3})+(?!\d)|\d+(?:[.,]\d+)*))(?P<unit>[a-z]*\d?)"
    r"|(?P<word>°[cf]?|[%€$£]|[^\W_]+(?:'[^\W_]+)*)"
)
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "’": "'", "‘": "'", "“": '"', "”": '"'}
    | dict.fromkeys("–—−‐‑", "-")
)
_ABBREVIATIONS = words("dr mr mrs ms prof st vs approx ca e.g i.e etc inc ltd co")
_ARTICLES = words("the a an")


@dataclass(frozen=True)
class Token:
    """One canonical word or number.

    Attributes:
        word: what is compared; for a number its plain decimal or fraction.
        readings: the values that a number may have ("1.200" is 1.2 or 1200); empty for a word.
        unit: for a word right behind a number that is a unit, its name in ``UNITS``; for a time
            of day ``clock``, with minutes since midnight as the reading.
        sentence: number of the sentence that it stands in.
        gap: the punctuation and spaces before it.
    """

    word: str
    readings: tuple[Fraction, ...] = ()
    unit: str = ""
    sentence: int = 0
    gap: str = ""


def fold(text: str) -> str:
    """Lower case, no accents, straight quotes, one spelling for each month and unit."""
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"\b(\d{4})-(\d\d)-(\d\d)\b", _iso_date, plain)
    for pattern, replacement in _SPELLINGS:
        plain = pattern.sub(replacement, plain)
    return re.sub(rf"(?<=\d ){_MONTH}", lambda m: _month(m[1]), plain)


@lru_cache(maxsize=8192)
def tokenise(text: str) -> tuple[Token, ...]:
    """Canonical tokens of ``text``, without articles."""
    folded = fold(text)
    tokens: list[Token] = []
    end, sentence = 0, 0
    for match in _TOKEN.finditer(folded):
        gap = folded[end : match.start()]
        if tokens and _ends_sentence(folded, end, gap):
            sentence += 1
        end = match.end()
        for token in _read(match, sentence, gap):
            _append(tokens, token)
    return tuple(token for token in tokens if token.word not in _ARTICLES)


def first_sentence(text: str) -> str:
    """The first sentence of ``text``, as it is written."""
    text = text.strip()
    for match in re.finditer(r"[.!?]+(?=\s)|\n", text):
        if "\n" in match[0] or _ends_sentence(text.casefold(), match.start(), match[0] + " "):
            return text[: match.end()].strip()
    return text


def singular(word: str) -> str:
    """``word`` without a plural -s, for comparing what is counted."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def unit_of(word: str) -> str:
    """The canonical unit that ``word`` names, or an empty string."""
    for name in (word, singular(word)):
        if name in UNITS:
            return UNITS[name][2]
    return ""


def _ends_sentence(folded: str, end: int, gap: str) -> bool:
    if re.search(r"[!?\n;]", gap):
        return True
    if not re.search(r"\.+[\"')\]]*\s", gap):
        return False
    before = re.search(r"[\w.]+$", folded[:end])
    word = before[0] if before else ""
    return not (word in _ABBREVIATIONS or re.fullmatch(r"[a-z]|(?:[a-z]\.)+[a-z]", word))


def _read(match: re.Match[str], sentence: int, gap: str) -> list[Token]:
    if clock := match["clock"]:
        minutes = _minutes(clock)
        word = f"{minutes // 60}:{minutes % 60:02}"
        return [Token(word, (Fraction(minutes),), "clock", sentence, gap)]
    if number := match["number"]:
        suffix = "" if match["unit"] in ("st", "nd", "rd", "th") else match["unit"]
        readings = _readings(number)
        if not readings or (suffix and not unit_of(suffix)):
            return [Token(match[0], (), "", sentence, gap)]
        count = Token(str(readings[0]), readings, "", sentence, gap)
        return [count, Token(suffix, (), "", sentence, "")] if suffix else [count]
    word = match["word"]
    if word in NUMBER_WORDS:
        value = Fraction(NUMBER_WORDS[word])
        return [Token(str(value), (value,), "", sentence, gap)]
    return [Token(word, (), "", sentence, gap)]


def _append(tokens: list[Token], token: Token) -> None:
    """Add ``token``, joined with a number before it where the two are one ("twenty-five")."""
    last = tokens[-1] if tokens and tokens[-1].sentence == token.sentence else None
    if last and last.readings and last.unit != "clock":
        value = last.readings[0]
        small = token.readings and 0 < token.readings[0] < 10
        if small and value in range(20, 100, 10) and token.gap == "-":  # "twenty-five"
            tokens[-1] = _number(last, value + token.readings[0])
            return
        if token.word in SCALES:
            tokens[-1] = _number(last, value * SCALES[token.word])
            return
        if unit := unit_of(token.word):
            tokens.append(Token(unit, (), unit, token.sentence, token.gap))
            return
    if (
        last
        and last.word in ("a", "an")
        and UNITS.get(singular(token.word), [""])[0]
        in (
            "time",
            "months",
        )
    ):
        tokens[-1] = _number(last, Fraction(1))
        _append(tokens, token)
        return
    if last and last.word == "minus" and token.readings:
        operand = len(tokens) > 1 and tokens[-2].readings and last.gap == " "  # "5 minus 3"
        if not operand:
            tokens[-1] = _number(last, -token.readings[0])
            return
    if last and last.word in ("€", "$", "£") and token.readings:
        unit = UNITS[last.word][2]
        tokens[-1] = Token(token.word, token.readings, "", token.sentence, last.gap)
        tokens.append(Token(unit, (), unit, token.sentence))
        return
    tokens.append(token)


def _number(at: Token, value: Fraction) -> Token:
    return Token(str(value), (value,), "", at.sentence, at.gap)


def _readings(number: str) -> tuple[Fraction, ...]:
    """The values that a written number may have, the likeliest first; none for a version."""
    number = number.replace(" ", "")
    thousands = re.fullmatch(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*(?:(?!\1)[.,]\d+)?", number)
    joined = None
    if thousands:
        mark = thousands[1]
        joined = Fraction(number.replace(mark, "").replace(",", "."))
        if mark == "," or number.count(mark) > 1:
            return (joined,)
    if not re.fullmatch(r"\d+(?:[.,]\d+)?", number):
        return (joined,) if joined is not None else ()
    return (Fraction(number.replace(",", ".")), *((joined,) if joined is not None else ()))


def _minutes(clock: str) -> int:
    hour, minute = ([int(digits) for digits in re.findall(r"\d+", clock)] + [0])[:2]
    if "p" in clock and hour < 12:
        hour += 12
    if "a" in clock and hour == 12:
        hour = 0
    return 60 * hour + minute


def _month(name: str) -> str:
    return next(month for month in MONTHS if month.startswith(name.rstrip(".")[:3]))


def _iso_date(match: re.Match[str]) -> str:
    month = int(match[2])
    return f"{int(match[3])} {MONTHS[month - 1]} {match[1]}" if 1 <= month <= 12 else match[0]
