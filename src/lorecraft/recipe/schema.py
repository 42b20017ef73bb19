"""What a run is: one frozen, typed recipe in sections, with one set of defaults.

Each part of the program receives the section that it needs. `load.load_recipe` reads a recipe from
YAML; every key, its meaning and its default stand in docs/recipe.md, which is made from this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lorecraft.recipe.adapter import AdapterSection
from lorecraft.recipe.require import RequireSection
from lorecraft.recipe.section import Section
from lorecraft.recipe.teller import TellerSection
from lorecraft.recipe.values import (
    HUB,
    AskedKinds,
    Count,
    Dataset,
    Documents,
    FolderName,
    InputFile,
    Kinds,
    ModelPath,
    NotNegative,
    OutputFolder,
    Packages,
    Positive,
    Seed,
    Share,
    Tables,
    Template,
    Texts,
    fields_of,
    path_alone,
    sealed,
)


class ModelSection(Section):
    """The base model, which stays as it is."""

    path: ModelPath = Field(
        "pocket",
        min_length=1,
        description="`pocket` (the small model that comes with Lorecraft), the name of a model on "
        "the Hugging Face hub (`google/gemma-2-9b-it`), or a folder.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub; its default branch if not given."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Type of the frozen weights; `auto` takes what suits the device."
    )
    quantization: Literal["none", "int8", "nf4"] = Field(
        "none",
        description="Load the frozen weights in 8 bits (`int8`: close to them) or in 4 (`nf4`: "
        "QLoRA's, coarser; needs `pip install 'lorecraft[quantization]'`), to fit a large model "
        "into memory. On a CPU, steps take about as long (speed.md).",
    )
    thinking: bool | None = Field(
        None,
        description="Whether the model thinks aloud before it answers, where its chat template has "
        "a switch for that; as the template has it if not given.",
    )
    banned: Texts = Field(
        (),
        description="Tokens that no answer may hold, each given as its text, as `<think>`. A text "
        "of several tokens is kept out as those alone, not where others spell it.",
    )


class KnowledgeSection(Section):
    """What is to be taught and examined."""

    facts: InputFile | None = Field(
        None,
        description="JSON lines, a fact each: `text`, and if you have them `id`, `source` and "
        "`triple` (subject, relation, object).",
    )
    ontology: InputFile | None = Field(
        None,
        description="YAML: the relations of the triples with their domain, range and phrasings, "
        "and the entities with their aliases.",
    )
    tables: Tables | None = Field(
        None,
        description="A database or tables whose rows become facts, as the ontology maps them: CSV, "
        "SQLite, or an URL (needs `pip install 'lorecraft[tables]'` and the database's driver).",
    )
    documents: Documents = Field(
        (),
        description="Markdown, text, HTML, PDF or DOCX, read in passages by CPT (PDF and DOCX need "
        "`pip install 'lorecraft[documents]'`).",
    )
    python: Packages = Field(
        (),
        description="Python packages whose docstrings become questions and answers; they are read, "
        "never imported.",
    )
    teller: TellerSection | None = None


class DatasetSection(Section):
    """JSON lines, a JSON array, CSV or Parquet. A path alone needs no key: `pairs: pairs.jsonl`."""

    path: Dataset = Field(description="Where the records are.")
    config: str | None = Field(
        None, description="Which configuration of a data set of the hub; its default if not given."
    )
    split: str = Field("train", description="Which split of a data set of the hub.")
    revision: str | None = Field(
        None, description="Branch, tag or commit of a data set of the hub."
    )
    streaming: bool = Field(
        False,
        description="Read a data set of the hub over the network instead of downloading its files; "
        "with `rows` no more than these are fetched.",
    )
    rows: Count | None = Field(None, description="Only the first so many rows; all if not given.")

    @model_validator(mode="after")
    def _of_hub(self) -> Self:
        given = {name: getattr(self, name) for name in ("config", "revision", "streaming")}
        if any(given.values()) and not self.path.startswith(HUB):
            what = next(name for name, value in given.items() if value)
            raise PydanticCustomError(
                "path", "{what} is said of a data set of the hub (hf:...)", {"what": what}
            )
        return self


class RecordsSection(DatasetSection):
    """JSON lines, a JSON array, CSV or Parquet, in the forms that mlx-lm, TRL, OpenAI, ShareGPT and
    Alpaca have: these are found by their columns (see data.md). Columns of other names are mapped
    by templates, such as `prompt: "Solve this: {problem}"` and `completion: "{solution}"`. A path
    alone needs no key: `train: records.jsonl`."""

    messages: Template | None = Field(
        None, description="The column with the turns of a chat, alone in its braces."
    )
    system: str | None = Field(
        None, description="What stands before `prompt` as the system's turn; a template or a text."
    )
    prompt: Template | None = Field(None, description="The user's turn.")
    completion: Template | None = Field(None, description="The assistant's turn.")
    text: Template | None = Field(None, description="A plain text, in the place of a chat.")

    def columns(self) -> set[str]:
        """The columns that the templates name."""
        templates = (self.messages, self.system, self.prompt, self.completion, self.text)
        return {name for template in templates if template for name in fields_of(template)}

    @model_validator(mode="after")
    def _whole(self) -> RecordsSection:
        forms = [self.messages, self.prompt or self.completion, self.text]
        together = bool(self.prompt) == bool(self.completion)
        if not together or sum(form is not None for form in forms) > 1:
            raise PydanticCustomError(
                "path", "expected prompt and completion together, or messages, or text"
            )
        if self.system and not self.prompt:
            raise PydanticCustomError("path", "system stands before prompt, which is not given")
        return self


Records = Annotated[
    RecordsSection | None,
    BeforeValidator(path_alone),
    f"a file, a folder, a glob, {HUB}owner/name or keys such as path and split",
]


Pairs = Annotated[
    DatasetSection | None,
    BeforeValidator(path_alone),
    f"a file, a folder, a glob, {HUB}owner/name or keys such as path and split",
]


class DataSection(Section):
    """Records besides those made from the knowledge, and how records are made."""

    train: Records = Field(None, description="Ready-made training records.")
    valid: Records = Field(
        None,
        description="Ready-made validation records; without them a part of `train` is set aside.",
    )
    pairs: Pairs = Field(
        None,
        description="Preference pairs for a `dpo` stage: a prompt, a chosen and a rejected answer "
        "(TRL's or OpenAI's form, see [preferences.md](preferences.md)).",
    )
    pairs_valid: Pairs = Field(
        None, description="Pairs to validate with; without them a part of `pairs` is set aside."
    )
    general: Literal["builtin", "none"] | InputFile = Field(
        "builtin",
        description="General records to rehearse, so that the model forgets less: those that come "
        "with Lorecraft, none, or a file of your own, as `train` takes it.",
    )
    limit: Count | None = Field(
        None, description="Train each stage on so many records, evenly drawn; all if not given."
    )
    max_length: Annotated[int, Ge(8)] = Field(
        512, description="Longest record, in tokens; longer ones are cut at the end and counted."
    )
    tellings: Count | None = Field(
        None,
        description="Wordings in which each fact is told, and asked; all that there are if not "
        "given.",
    )
    kinds: Kinds = Field(
        {},
        description="What is trained beyond each fact by itself, as data.md lists it: `[inverse, "
        "yes_no]`, or with the wordings of each thing, `{inverse: 5, yes_no: 2}`.",
    )
    unknown: NotNegative = Field(
        1.0, description="Declined questions (nobody told the answer) for each fact in SFT."
    )
    decline: str = Field(
        "I do not know.", min_length=1, description="What the model says when nobody told it."
    )


class StyleSection(Section):
    """A house style, examined on records that are never trained: their prompts are asked, their
    answers are the references."""

    format: InputFile = Field(
        description="YAML: what every answer keeps to, as format.md describes it."
    )
    test: Annotated[
        RecordsSection, BeforeValidator(path_alone), "a file, or keys such as path and prompt"
    ] = Field(description="The records to examine on, as `data.train` takes them.")
    by: Texts = Field(
        (), description="Columns of the test records by which figures are also given, as `[topic]`."
    )
    prompted: bool = Field(
        True,
        description="Also ask the base model with the format described in the prompt: what is "
        "reached without any training.",
    )


class StageLimits(Section):
    """Where a stage ends, if not after its epochs; whichever comes first."""

    steps: Count | None = Field(None, description="Optimiser steps.")
    tokens: Count | None = Field(None, description="Tokens seen, prompts included.")
    minutes: Positive | None = Field(
        None,
        description="Minutes of training and validation, in all its runs together. The learning "
        "rate falls to its end by then.",
    )


class LimitsSection(Section):
    """Limits of the whole run."""

    hours: Positive | None = Field(
        None,
        description="Hours from the moment that `lorecraft run` is called to the report. The "
        "stages share what the exam leaves, by their tokens; the learning rate falls to its end "
        "by then.",
    )


class PreferenceSection(Section):
    """How a `dpo` stage learns from `data.pairs`. The reference is the adapter that the stage
    starts from, frozen. See [preferences.md](preferences.md)."""

    loss: Literal["sigmoid", "ipo", "hinge", "orpo"] = Field(
        "sigmoid",
        description="`sigmoid`: DPO. `ipo`: a margin to reach, not to exceed; less apt to overfit. "
        "`hinge`: SLiC. `orpo`: odds instead of a reference, with an SFT term of weight 1.",
    )
    beta: Positive = Field(
        0.1,
        description="How closely the model keeps to the reference: higher is closer. For `orpo` "
        "the weight of the preference beside the SFT term.",
    )
    label_smoothing: Annotated[float, Ge(0), Le(0.5)] = Field(
        0.0, description="Share of the pairs that may be the wrong way round."
    )
    sft: NotNegative = Field(
        0.0,
        description="Weight of the chosen answer's own loss a token beside that of the pair; it "
        "holds against unlearning.",
    )
    average: bool = Field(
        False,
        description="Compare log-probabilities a token instead of those of whole answers, so that "
        "longer answers count no more. `ipo` and `orpo` always do; beta is then larger.",
    )


class StageSection(Section):
    """One stage of training; it starts from the adapter of the stage before."""

    kind: Literal["cpt", "sft", "dpo"] = Field(
        description="`cpt`: continued pre-training on plain statements, loss on every token. "
        "`sft`: supervised fine-tuning on chats, loss on the assistant's turns. `dpo`: direct "
        "preference optimisation on pairs of answers."
    )
    preference: PreferenceSection | None = None
    epochs: Count = Field(3, description="Passes over the training records.")
    limits: StageLimits = StageLimits()
    batch_size: Count = Field(16, description="Records in one forward pass.")
    accumulate: Count = Field(1, description="Forward passes in one optimiser step.")
    learning_rate: Positive = Field(
        1e-4, description="Highest learning rate; for `dpo` 5e-6 if not given."
    )
    schedule: Literal["cosine", "constant", "linear"] = Field(
        "cosine", description="How the learning rate falls after the warm-up."
    )
    warmup: Share = Field(0.05, description="Share of the steps in which the rate rises from 0.")
    max_grad_norm: Positive = Field(1.0, description="Longer gradients are clipped to this norm.")
    weight_decay: NotNegative = Field(0.0, description="AdamW's decoupled weight decay.")
    validate_every: Count = Field(50, description="Optimiser steps between validations.")
    patience: Count | None = Field(
        None,
        description="Stop after so many validations without a gain; never early if not given. "
        "The best adapter is kept either way.",
    )
    min_delta: NotNegative = Field(
        0.0,
        description="A fall of the validation error (0 to 1; for `dpo` the validation loss) by "
        "less than this is no gain.",
    )
    general: Annotated[float, Ge(0), Le(0.95)] = Field(
        0.3,
        description="Share of general records in the mix; 0 if `data.general` is `none`, and for "
        "`dpo`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Defaults of a stage on pairs."""
        if not isinstance(given, dict) or given.get("kind") != "dpo":
            return given
        filled = {key: value for key, value in given.items() if value is not None}
        return {"learning_rate": 5e-6, "general": 0.0, "preference": {}} | filled


class ExamSection(Section):
    """The exam that the base model and every stage sit."""

    max_new_tokens: Count = Field(
        48,
        description="Longest answer, in tokens; where a style is examined, twice the reference's "
        "if that is more.",
    )
    batch_size: Count = Field(64, description="Questions answered at the same time.")
    per_fact: Count | None = Field(
        2, description="Questions about each fact in unseen phrasings; null asks all there are."
    )
    kinds: AskedKinds = Field(
        (),
        description="What is asked beyond the facts, of data.md's kinds; each is a measure of its "
        "own. A third of what can be asked is never trained; that is what is asked.",
    )
    stop: Texts = Field(
        (), description='Texts that an answer ends before, as `"\\n"`; none if not given.'
    )
    limit: Count | None = Field(
        None, description="Ask so many questions of each measure, evenly drawn; all if not given."
    )
    seed: Seed = Field(0, description="Draws the questions.")


def _given(sections: dict[str, Any], name: str, key: str) -> Any:
    """A key of a section, which may be validated already."""
    section = sections.get(name)
    return section.get(key) if isinstance(section, dict) else getattr(section, key, None)


def _kinds(sections: dict[str, Any]) -> list[str]:
    """The stages that there is something for."""
    facts, tables, documents, packages = (
        _given(sections, "knowledge", key) for key in ("facts", "tables", "documents", "python")
    )
    facts = facts or tables
    teller = {"teller": _given(sections, "knowledge", "teller")}
    told = documents and teller["teller"] and _given(teller, "teller", "depths") not in ([], ())
    chats = packages or told or _given(sections, "data", "train")
    kinds = ["cpt"] * bool(facts or documents) + ["sft"] * bool(facts or chats)
    return kinds + ["dpo"] * bool(_given(sections, "data", "pairs"))


def stages_named(kinds: Iterable[str]) -> tuple[str, ...]:
    """``cpt``, ``sft``; a second stage of a kind is told by its place (``sft-2``)."""
    names: list[str] = []
    for number, kind in enumerate(kinds, 1):
        names.append(kind if kind not in names else f"{kind}-{number}")
    return tuple(names)


class Recipe(Section):
    """A run, complete: what `lorecraft run` needs to know."""

    name: FolderName = Field(
        description="Name of the run's folder; if not given, the name of the recipe's folder, or "
        "of its file when that is not `recipe.yaml`.",
    )
    seed: Seed = Field(0, description="Everything drawn by chance is drawn from this.")
    output: OutputFolder = Field(
        Path("runs"), description="Folder of the runs, relative to where the command is called."
    )
    engine: Literal["auto", "torch", "fake"] = Field(
        "auto", description="What computes; `fake` is a toy in NumPy for trying things out."
    )
    track: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = Field(
        (),
        description="Where loss, learning rate, tokens/s and memory go besides `events.jsonl`; "
        "`tensorboard` writes into the run's folder (needs `pip install 'lorecraft[track]'`).",
    )
    model: ModelSection = ModelSection()
    knowledge: KnowledgeSection | None = None
    data: DataSection = DataSection()
    style: StyleSection | None = None
    adapter: AdapterSection = AdapterSection()
    stages: tuple[StageSection, ...] = Field(
        min_length=1,
        description="If not given: CPT when there are facts or documents, then SFT when there are "
        "facts, packages or `data.train`, then DPO when there are `data.pairs`.",
    )
    limits: LimitsSection = LimitsSection()
    exam: ExamSection = ExamSection()
    require: RequireSection = RequireSection()

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages' names, in order."""
        return stages_named(stage.kind for stage in self.stages)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Defaults of one section that depend on another; an empty section is one not given."""
        if not isinstance(given, dict):
            return given
        filled = {key: sealed(value) for key, value in given.items() if value is not None}
        if "stages" not in filled:
            filled["stages"] = tuple({"kind": kind} for kind in _kinds(filled) or ["sft"])
        if _given(filled, "data", "general") == "none" and isinstance(filled["stages"], tuple):
            filled["stages"] = tuple(
                {"general": 0.0, **stage} if isinstance(stage, dict) else stage
                for stage in filled["stages"]
            )
        return filled
