"""What a text says, measured by its words: no model judges, so a figure is the same every time.

A *term* is a word that carries content, cut to its stem; function words are none.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lorecraft.evaluation.quantities import FUNCTION_WORDS
from lorecraft.evaluation.wording import words
from lorecraft.knowledge.ontology import normal
from lorecraft.style.outline import outline
from lorecraft.style.schema import Format

PHRASE = 5
"""Terms of a phrase,"""
REPEATED = 3
"""which is formulaic when outputs about so many different things have it."""
RARE = 0.1
"""A term is specific when no larger share of the prompts has it."""
_ENDINGS = ("ings", "ing", "edly", "ed", "ies", "es", "ly", "s", "e")
_LEAST = 4
"""Letters of a stem."""
_SMALL = FUNCTION_WORDS | frozenset(
    words(
        "a an the i you we me us your our my him not no can could may might must shall should will "
        "would do does did done am if while because how why whether such more most some any many "
        "much few other another same own very even still yet again once out off down into onto "
        "between among against during without does doing one two here now always often never"
    )
)


def terms(text: str) -> list[str]:
    """The terms of a text in order, with repetitions."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    found = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", folded)
    return [_stem(word) for word in found if word not in _SMALL]


def f1(output: str, reference: str) -> float:
    """Overlap of the terms as SQuAD scores answers (Rajpurkar et al. 2016, arXiv:1606.05250)."""
    said, wanted = Counter(terms(output)), Counter(terms(reference))
    common = (said & wanted).total()
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def key_terms(reference: str, prompt: str) -> set[str]:
    """What a good answer says: the reference's terms that the prompt has too; all of them where it
    has none."""
    wanted = set(terms(reference))
    return wanted & set(terms(prompt)) or wanted


def recall(output: str, keys: set[str]) -> float:
    """Share of the key terms that the output says."""
    return len(keys & set(terms(output))) / len(keys) if keys else 0.0


def unsupported(output: str, sources: Iterable[str]) -> float | None:
    """Share of the output's terms that no source has; None for an output without any."""
    said = terms(output)
    known = {term for source in sources for term in terms(source)}
    return sum(term not in known for term in said) / len(said) if said else None


def formulaic(outputs: Sequence[str], prompts: Sequence[str], about: Sequence[str]) -> list[float]:
    """For each output the share of its phrases that stand in outputs about other things too, and
    not in its own prompt: learned by heart, whatever is asked."""
    phrases = [_phrases(output) for output in outputs]
    things: dict[tuple[str, ...], set[str]] = {}
    for some, thing in zip(phrases, about, strict=True):
        for phrase in some:
            things.setdefault(phrase, set()).add(thing)
    shares = []
    for some, prompt in zip(phrases, prompts, strict=True):
        given = set(_phrases(prompt))
        repeated = [p for p in some if len(things[p]) >= REPEATED and p not in given]
        shares.append(len(repeated) / len(some) if some else 0.0)
    return shares


def diversity(outputs: Sequence[str]) -> float:
    """Distinct pairs of neighbouring terms among all (distinct-2: Li et al. 2016,
    arXiv:1510.03055)."""
    pairs = [pair for output in outputs for pair in _neighbours(terms(output), 2)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def specific(outputs: Sequence[str], prompts: Sequence[str]) -> list[float]:
    """For each output the share of its terms that its own prompt has and few others."""
    given = [set(terms(prompt)) for prompt in prompts]
    spread = Counter(term for some in given for term in some)
    most = max(1.0, RARE * len(prompts))
    shares = []
    for output, own in zip(outputs, given, strict=True):
        said = terms(output)
        fitting = sum(term in own and spread[term] <= most for term in said)
        shares.append(fitting / len(said) if said else 0.0)
    return shares


def bodies(text: str, format: Format) -> dict[str, str]:
    """What stands under each heading that is there; under ``""`` all that no heading opens."""
    before, blocks = outline(text, format.sections)
    found: dict[str, str] = {"": "\n".join(line for _, line in before)} if before else {}
    for block in blocks:
        said = "\n".join(line for _, line in block.body if line.strip())
        heading = block.rules.heading
        found[heading] = f"{found[heading]}\n{said}" if heading in found else said
    return found


def asks(question: str, prompt: str) -> bool:
    """Whether it is a question about what the prompt tells, and not a sentence of it."""
    question = question.strip()
    about = set(terms(question)) & set(terms(prompt))
    return question.endswith("?") and bool(about) and normal(question) not in normal(prompt)


def depth(sections: Mapping[str, str], prompt: str, format: Format) -> dict[str, float]:
    """For each section of the format a third each for: as many words as are asked for, two terms of
    the prompt, and a term that no section before it has."""
    marks: dict[str, float] = {}
    given, before = set(terms(prompt)), set[str]()
    for rules in format.sections:
        said = sections.get(rules.heading, "")
        own, least = set(terms(said)), rules.words[0] if rules.words else 1
        points = (len(said.split()) >= least, len(own & given) >= 2, bool(own - before))
        marks[rules.heading] = sum(points) / len(points) if said.strip() else 0.0
        before |= own
    return marks


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST:
            return word.removesuffix(ending)
    return word


def _phrases(text: str) -> list[tuple[str, ...]]:
    return [
        phrase
        for line in re.split(r"\n|(?<=[.!?])\s", text)
        for phrase in _neighbours(terms(line), PHRASE)
    ]


def _neighbours(terms: Sequence[str], count: int) -> list[tuple[str, ...]]:
    return [tuple(terms[at : at + count]) for at in range(len(terms) - count + 1)]
