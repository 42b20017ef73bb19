"""The section of the LoRA adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from lorecraft.recipe.section import Section
from lorecraft.recipe.values import Count, Ending, Expression, Positive, sealed


def _start(path: str | None, info: ValidationInfo) -> str | None:
    """A folder becomes absolute; what is no folder may be a stage of a run."""
    if path is None or info.context is None:
        return path
    folder = (info.context["folder"] / Path(path).expanduser()).resolve()
    return str(folder) if folder.is_dir() else path


class AdapterSection(Section):
    """The LoRA adapter."""

    start: Annotated[str | None, AfterValidator(_start)] = Field(
        None,
        description="The adapter that the first stage starts from: a folder (PEFT's or mlx-lm's "
        "form), or a stage of a run (`company/sft`). All but its dropout must be as given here. "
        "A new adapter if not given.",
    )
    rank: Count = Field(16, description="Rank of the update of each adapted matrix.")
    alpha: Positive = Field(32.0, description="The update is scaled by alpha / rank.")
    rslora: bool = Field(
        False,
        description="Rank-stabilised LoRA: the update is scaled by alpha / sqrt(rank).",
    )
    dora: bool = Field(
        False,
        description="DoRA: the length of each row of an adapted matrix is learned apart from its "
        "direction.",
    )
    dropout: Annotated[float, Ge(0), Le(0.9)] = Field(
        0.0, description="Share of an adapter's inputs that is dropped while training."
    )
    targets: Annotated[
        Literal["all-linear"] | tuple[str, ...] | Expression, BeforeValidator(sealed)
    ] = Field(
        "all-linear",
        min_length=1,
        description="Which linear modules of the decoder blocks are adapted: all, a list of names "
        "(`[q_proj, v_proj]`), or those whose whole path a regular expression matches.",
    )
    layers: Literal["all"] | Count = Field(
        "all", description="Which decoder blocks are adapted: all, or the last so many."
    )
    rank_pattern: Annotated[dict[Ending, Count], "keys with whole numbers of at least 1"] = Field(
        {},
        description="Other ranks for some modules, by a name or a regular expression for the end "
        "of their path (`{down_proj: 64}`); the first that matches counts.",
    )
    alpha_pattern: Annotated[dict[Ending, Positive], "keys with numbers above 0"] = Field(
        {}, description="Other alphas for some modules, in the same way."
    )
