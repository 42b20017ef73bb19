"""Read a format from YAML with all its mistakes at once; that no text can meet it is one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from lorecraft.errors import FormatError
from lorecraft.recipe.source import Key, Mistake, Source, read, spell
from lorecraft.recipe.wording import explain
from lorecraft.style.check import check, count_words
from lorecraft.style.schema import Bounds, Format, Rules, name_of


def load_format(path: Path | str) -> Format:
    """Read and check a format.

    Raises:
        FormatError: the file cannot be read, holds mistakes (all of them, each with its line), or
            describes what no text is known to meet.
    """
    path = Path(path)
    try:
        source = read(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise FormatError(f"cannot read {path}: {why}", "a format, a YAML file") from error
    if not source.mistakes and not isinstance(source.value, dict):
        source.mistakes.append(Mistake(1, "expected keys such as sections:"))
    if source.mistakes:
        raise _refusal(path, source.mistakes)
    try:
        format = Format.model_validate_json(json.dumps(source.value), strict=True)
    except ValidationError as error:
        raise _refusal(path, explain(error.errors(include_url=False), source, Format)) from None
    if mistakes := [
        Mistake(source.line(key), f"{spell(key)}: {text}" if key else text)
        for key, text in contradictions(format)
    ]:
        raise _refusal(path, mistakes)
    format = _placed(format, path.absolute().parent)
    _prove(format, path, source)
    return format


def contradictions(format: Format) -> Iterator[tuple[Key, str]]:
    """Rules that are right one by one and that no text can meet together."""
    if not format.model_fields_set - {"example"}:
        yield (), "a format without a rule"
    if format.json_schema is not None:
        if format.sections:
            yield ("json_schema",), "a text is JSON or has sections, not both"
        if format.example is None:
            yield ("json_schema",), "expected an example beside it, a text that is valid by it"
        yield from _bad_schema(format)
    names = Counter(name_of(rules.heading) for rules in format.sections)
    least, most = 0, 0.0
    for index, rules in enumerate(format.sections):
        key: Key = ("sections", index)
        if names[name_of(rules.heading)] > 1:
            yield (*key, "heading"), f"'{rules.heading}' opens two sections"
        if rules.bullets and rules.bullets[1] == 0:
            yield (*key, "bullets"), "no bullets and nothing else: leave it out for prose"
        if rules.paragraphs[1] == 0:
            yield (*key, "paragraphs"), "a section has at least one"
        yield from _few_words(rules, key)
        low, high = _words(rules, rules.bullets or (1, 1))
        least, most = (
            least + count_words(rules.heading) + low,
            most + count_words(rules.heading) + high,
        )
    yield from _few_words(format, ())
    if format.sections and format.words:
        if format.words[1] is not None and least > format.words[1]:
            yield ("words",), f"at most {format.words[1]}, but the sections need {least}"
        if format.words[0] > most:
            yield (
                ("words",),
                f"at least {format.words[0]}, but the sections hold {most:.0f} at most",
            )


def _few_words(rules: Rules, key: Key) -> Iterator[tuple[Key, str]]:
    if rules.words and rules.words[1] == 0:
        yield (*key, "words"), "no text is without words"
    most = rules.words[1] if rules.words else None
    if most and rules.sentences and most < rules.sentences[0]:
        yield (*key, "words"), f"at most {most} for at least {rules.sentences[0]} sentences"
    if rules.sentences and rules.sentences[1] == 0:
        yield (*key, "sentences"), "no text is without a sentence"


def _words(rules: Rules, times: Bounds) -> tuple[int, float]:
    """How many words a section has at least and at most."""
    low, high = rules.words or (1, None)
    most = float("inf") if high is None or times[1] is None else high * times[1]
    return max(1, low) * max(1, times[0]), most


def _bad_schema(format: Format) -> Iterator[tuple[Key, str]]:
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
    except ImportError:
        return
    try:
        validator_for(format.json_schema).check_schema(format.json_schema)
    except SchemaError as error:
        yield ("json_schema",), f"no JSON Schema: {error.message}"


def _placed(format: Format, folder: Path) -> Format:
    """The format with functions of a module beside its file named by that file's path."""

    def place(rules: Rules) -> tuple[str, ...]:
        names = []
        for name in rules.checks:
            file = folder / (name.split(":")[0].replace(".", "/") + ".py")
            names.append(f"{file}:{name.split(':')[1]}" if file.is_file() else name)
        return tuple(names)

    sections = tuple(s.model_copy(update={"checks": place(s)}) for s in format.sections)
    return format.model_copy(update={"sections": sections, "checks": place(format)})


def _prove(format: Format, path: Path, source: Source) -> None:
    """A text that meets the format is known: its example, or one that is written here."""
    text = written(format) if format.example is None else format.example
    broken = check(format, text)
    if not broken:
        return
    lines = [f"  {found}" for found in broken]
    if format.example is not None:
        seen = f"{path}:{source.line(('example',))}: the example does not meet the format:"
        raise FormatError("\n".join([seen, *lines]), "an example that meets it")
    raise FormatError(
        "\n".join([f"{path}: no text is known to meet the format; Lorecraft's own try:", *lines]),
        "rules that fit together, or an `example:`, a text that meets them",
    )


def written(format: Format) -> str:
    """A text without meaning that meets the counted rules, if they can be met."""
    missing = max(0, (format.words or (0, None))[0])
    if not format.sections:
        return _filled(format, missing)[0]
    parts, missing = [], missing - sum(count_words(s.heading) for s in format.sections)
    missing -= sum(_words(rules, rules.bullets or (1, 1))[0] for rules in format.sections)
    for rules in format.sections:
        lines = []
        for _ in range(max(1, rules.bullets[0]) if rules.bullets else 1):
            text, missing = _filled(rules, missing)
            lines.append(f"{rules.marker} {text}" if rules.bullets else text)
        if not rules.bullets:
            lines += [text for _ in range(rules.paragraphs[0] - 1) for text in ("", "More.")]
        parts.append("\n".join([rules.heading, *lines]))
    return "\n\n".join(parts)


def _filled(rules: Rules, missing: int) -> tuple[str, int]:
    """Words that meet a section's counts, up to ``missing`` more than need be; what then misses."""
    least, most = rules.words or (1, None)
    count = max(1, least, (rules.sentences or (1, None))[0])
    more = max(0, missing) if most is None else max(0, min(missing, most - count))
    words = ["Word"] * (count + more)
    for end in range((rules.sentences or (1, None))[0] - 1):
        words[end] += "."
    text = " ".join(words)
    end_with = rules.ends_with or "."
    return (text if text.endswith(end_with) else text + end_with), missing - more


def _refusal(path: Path, mistakes: list[Mistake]) -> FormatError:
    count = f"{len(mistakes)} mistakes" if len(mistakes) > 1 else "a mistake"
    lines = [f"  {path}:{mistake.line}: {mistake.text}" for mistake in sorted(mistakes)]
    return FormatError("\n".join([f"the format has {count}:", *lines]))
