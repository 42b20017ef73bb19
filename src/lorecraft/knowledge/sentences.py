"""Sentences without a triple: whom they are about, and where they can be cut (English rules)."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS = _words(
    """is are was were be been has have had does do did can could may might must shall should will
    would needs need costs cost weighs weigh makes make made sells sell sold runs run ran lives
    live works work lies lie stands stand opens open opened closes close closed starts start
    started begins begin began ends end ended takes take took holds hold held uses use used
    contains contain includes include belongs belong leads lead led manages manage managed
    reports report measures measure built founded joined moved won wrote became comes come goes
    go gets get keeps keep offers offer employs employ requires require supports support
    replaces replace serves serve covers cover applies apply receives receive ships ship lasts
    last show shows shown pay pays give gives allow allows mean means carry carries drink drinks
    eat eats say says follow follows send sends bring brings turn turns cannot lack lacks sit
    sits rise rises fall falls won't isn't aren't"""
)
_JOINERS = _words("of the and for de von van der la le di du da & in")
_LINKS = _words(
    """is are was were in on at by of to from with for than within after before every under
    over until since near as into between during per"""
)
_OPENERS = _words("in on at since by during after before from for until when if under")
_ARTICLES = _words("the a an our every each all its their this that these those")
_PRONOUNS = _words("it he she they this that we you i there these those")
_LONGEST_SUBJECT = 8
_LONGEST_REST = 4


def subject_of(text: str) -> str | None:
    """What a sentence is about, as it would stand inside a question; ``None`` if it is not plain.

    The words before the first verb, after any opening ``In 1987, ...``; failing that, the leading
    capitalised words. ``"The reading room is quiet."`` -> ``"the reading room"``.
    """
    words = text.split()
    if words and words[0].lower() in _OPENERS:
        comma = next((i for i, word in enumerate(words) if word.endswith(",")), -1)
        words = words[comma + 1 :]
    verbs = (i for i in range(1, len(words)) if _verb_at(i, words))
    end = next(verbs, None)
    if end is None:
        end = next((i for i, word in enumerate(words) if not _named(word)), len(words))
        while end and words[end - 1].lower() in _JOINERS | _ARTICLES:
            end -= 1
    subject = words[:end]
    if not subject or end > _LONGEST_SUBJECT or (end == 1 and subject[0].lower() in _PRONOUNS):
        return None
    if subject[0].lower() in _ARTICLES:
        subject[0] = subject[0].lower()
    return " ".join(subject).rstrip(",.;:") or None


def completion_cut(text: str) -> tuple[str, str] | None:
    """``(prefix, rest)`` with ``prefix + " " + rest == text``; ``None`` if it is too short to cut.

    The rest is what makes the sentence a fact, at most four words: the last number or proper name,
    else what follows the last preposition or copula, else the last two words. Such sentences are
    trained verbatim (they have one wording only), so completing one shows memory, not
    understanding.
    """
    text = " ".join(text.split())
    words = text.split()
    window = range(max(2, len(words) - _LONGEST_REST), len(words))
    values = [i for i in window if _value_like(words[i]) and not _value_like(words[i - 1])]
    linked = [i for i in window if words[i - 1].lower() in _LINKS]
    if not window:
        return None
    cut = max(values or linked or [max(2, len(words) - 2)])
    return " ".join(words[:cut]), " ".join(words[cut:])


def _verb_at(index: int, words: list[str]) -> bool:
    """``the work permit`` has no verb, so what follows an article is none."""
    plain = words[index].rstrip(",.")
    return plain in _VERBS and words[index - 1].lower() not in _ARTICLES


def _named(word: str) -> bool:
    return word[:1].isupper() or word[:1].isdigit() or word in _JOINERS


def _value_like(word: str) -> bool:
    return word[:1].isupper() or any(letter.isdigit() for letter in word)
