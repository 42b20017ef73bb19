"""A recipe made small, to try all of it in a minute."""

from __future__ import annotations

from lorecraft.recipe.require import RequireSection
from lorecraft.recipe.schema import LimitsSection, ModelSection, Recipe

RECORDS = 10
STEPS = 3
ANSWER = 64  # tokens: the embedded model's context is short


def smoke(recipe: Recipe) -> Recipe:
    """The recipe on the embedded model, with 10 records and 3 steps a stage, 10 questions a
    measure and nothing required, under a name of its own."""
    stages = [
        stage.model_copy(
            update={"limits": stage.limits.model_copy(update={"steps": STEPS}), "batch_size": 4}
        )
        for stage in recipe.stages
    ]
    # What is said of modules need not be true of the embedded model's.
    everywhere = {"targets": "all-linear", "layers": "all", "rank_pattern": {}, "alpha_pattern": {}}
    adapter = recipe.adapter.model_copy(update={"start": None, **everywhere})
    knowledge, told = recipe.knowledge, recipe.knowledge and recipe.knowledge.teller
    if told and not _has_chats(recipe):
        stages = [stage for stage in stages if stage.kind != "sft"] or stages
    return recipe.model_copy(
        update={
            # A try asks nobody, who might want money for it.
            "knowledge": knowledge and knowledge.model_copy(update={"teller": None}),
            "name": f"{recipe.name}-smoke",
            "model": ModelSection(),
            "data": recipe.data.model_copy(update={"limit": RECORDS}),
            "adapter": adapter,
            "stages": tuple(stages),
            "exam": recipe.exam.model_copy(
                update={
                    "limit": RECORDS,
                    "max_new_tokens": min(recipe.exam.max_new_tokens, ANSWER),
                }
            ),
            "limits": LimitsSection(),
            "require": RequireSection(),
        }
    )


def _has_chats(recipe: Recipe) -> bool:
    """Whether there is anything but tellings to fine-tune on."""
    knowledge = recipe.knowledge
    own = knowledge and (knowledge.facts or knowledge.tables or knowledge.python)
    return bool(own or recipe.data.train)
