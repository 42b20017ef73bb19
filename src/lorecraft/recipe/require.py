"""The section of what a run must reach."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lorecraft.recipe.section import Section
from lorecraft.recipe.values import AskedShares, Share


class RequireSection(Section):
    """What the last stage's model must reach, or `lorecraft run` ends with exit code 3."""

    at: Literal["rate", "low"] = Field(
        "rate",
        description="What is compared: the measured `rate`, or the careful end of its 95% "
        "interval (`low`).",
    )
    recall: Share | None = Field(None, description="Least share of facts recalled.")
    completion: Share | None = Field(None, description="Least share of statements completed.")
    retention: Share | None = Field(None, description="Least share of general answers kept.")
    abstention: Share | None = Field(None, description="Least share of unanswerables declined.")
    bleed: Share | None = Field(
        None, description="Largest share of general answers that mention the injected entities."
    )
    format: Share | None = Field(
        None, description="Least share of outputs that keep to every rule of the format."
    )
    content: Share | None = Field(
        None, description="Least share of the references' key terms that outputs say."
    )
    unsupported: Share | None = Field(
        None, description="Largest share of terms that neither prompt nor reference has."
    )

    kinds: AskedShares = Field(
        {}, description="Least share of right answers in kinds of `exam.kinds`: `{inverse: 0.5}`."
    )

    def measures(self) -> dict[str, float]:
        """The measures that something is required of, and what."""
        rates = self.model_dump(exclude={"at", "kinds"}, exclude_none=True)
        return rates | {str(kind): share for kind, share in self.kinds.items()}
