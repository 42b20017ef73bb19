"""docs/recipe.md, made from the schema.

``python -m lorecraft.recipe.reference > docs/recipe.md`` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from lorecraft.recipe.schema import Recipe, Section
from lorecraft.recipe.wording import expectation, section_of

_INTRODUCTION = """\
# The recipe

<!-- Made by `python -m lorecraft.recipe.reference > docs/recipe.md`; a test keeps it true. -->

A recipe is a YAML file. It says what `lorecraft run` learns from, on which model, and how. Every
key has a default, but one source is needed: `knowledge.facts`, `data.train`, or another of those in
[data.md](data.md). Relative paths start at the recipe's folder. Unknown keys are refused, and all
mistakes are told at once.

```yaml
knowledge:
  facts: facts.jsonl
stages:
  - kind: cpt
    epochs: 10
  - kind: sft
    epochs: 10
```
"""


def reference() -> str:
    """Every key of a recipe: what it takes, its default, what it is for (Markdown)."""
    return "\n".join([_INTRODUCTION, _table("Top level", Recipe), *_sections(Recipe)])


def _sections(section: type[Section], above: str = "") -> Iterator[str]:
    """A table for each section inside ``section``, and for those inside them; one for those that
    have the same keys."""
    told: dict[type[Section], str] = {}
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner:
            title = f"`{above}{name}`" + (", a list" if "tuple" in str(field.annotation) else "")
            if inner in told:
                yield f"## {title}\n\n{field.description} The keys are those of {told[inner]}.\n"
                continue
            told[inner] = title
            yield _table(title, inner, field.description)
            yield from _sections(inner, f"{above}{name}.")


def _table(title: str, section: type[Section], note: str | None = None) -> str:
    rows = [
        f"| `{name}` | {expectation(field.annotation, field.metadata)} | {_default(field)} "
        f"| {field.description} |"
        for name, field in section.model_fields.items()
        if not section_of(field.annotation)
    ]
    about = " ".join([*(section.__doc__ or "").split(), *filter(None, [note])])
    head = ["| key | takes | default | |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", about, "", *head, *rows, ""])


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "see right" if "f not given" in str(field.description) else "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and value:
        return "all of them"
    return "none" if value in (None, (), {}) else f"`{value}`"


if __name__ == "__main__":
    print(reference(), end="")
