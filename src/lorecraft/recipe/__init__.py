"""Recipes: what a run is. Imports no library of machine learning."""

from lorecraft.recipe.adapter import AdapterSection
from lorecraft.recipe.load import load_recipe, to_yaml
from lorecraft.recipe.require import RequireSection
from lorecraft.recipe.schema import (
    DataSection,
    DatasetSection,
    ExamSection,
    KnowledgeSection,
    ModelSection,
    PreferenceSection,
    Recipe,
    RecordsSection,
    StageSection,
    StyleSection,
)
from lorecraft.recipe.smoke import smoke
from lorecraft.recipe.teller import TellerSection

__all__ = [
    "AdapterSection",
    "DataSection",
    "DatasetSection",
    "ExamSection",
    "KnowledgeSection",
    "ModelSection",
    "PreferenceSection",
    "Recipe",
    "RecordsSection",
    "RequireSection",
    "StageSection",
    "StyleSection",
    "TellerSection",
    "load_recipe",
    "smoke",
    "to_yaml",
]
