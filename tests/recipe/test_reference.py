"""docs/recipe.md says what the schema says."""

from pathlib import Path

from lorecraft.recipe import Recipe
from lorecraft.recipe.reference import reference
from lorecraft.recipe.wording import section_of


def test_the_document_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "recipe.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: .venv/bin/python -m lorecraft.recipe.reference > docs/recipe.md"
    )


def test_every_key_is_described() -> None:
    sections = [Recipe, *filter(None, map(section_of, _annotations()))]
    fields = {f"{s.__name__}.{n}": f for s in sections for n, f in s.model_fields.items()}
    assert len(fields) > 40
    plain = [name for name, field in fields.items() if not section_of(field.annotation)]
    assert [name for name in plain if not fields[name].description] == []


def _annotations() -> list[object]:
    return [field.annotation for field in Recipe.model_fields.values()]
