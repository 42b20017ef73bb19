"""The section of a language model that tells sources in other words."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from lorecraft.recipe.section import Section
from lorecraft.recipe.values import (
    Count,
    EndpointUrl,
    KeyName,
    NotNegative,
    Number,
    Positive,
    Price,
    sealed,
)

Style = Literal[
    "encyclopedia",
    "email",
    "faq",
    "dialogue",
    "argument",
    "child",
    "list",
    "news",
    "tutorial",
    "summary",
    "reference",
    "speech",
]
Depth = Literal["recall", "understanding", "connection", "application"]


class TellerSection(Section):
    """A language model that tells documents and facts in other words, asks about them and answers.
    Each answer is checked against its source, and kept: it is never asked for again."""

    endpoint: EndpointUrl = Field(
        description="An endpoint of OpenAI's kind (vLLM, llama.cpp, Ollama, LM Studio, any "
        "provider), or `base`: the recipe's own base model."
    )
    model: str | None = Field(None, description="Its model's name; none for `base`.")
    key: KeyName = Field(
        None, description="Where the endpoint's key is; only its name stands in a run's folder."
    )
    styles: Annotated[tuple[Style, ...], BeforeValidator(sealed)] = Field(
        get_args(Style), description="In which styles passages are rewritten."
    )
    per_passage: Number = Field(2, description="Rewrites of each passage, each in another style.")
    depths: Annotated[tuple[Depth, ...], BeforeValidator(sealed)] = Field(
        get_args(Depth), description="A question about each passage at each of these depths."
    )
    relations: Number = Field(
        1, description="For each name that several passages share: so many texts that join two."
    )
    chats: Number = Field(0, description="General chats, to mix in with the general records.")
    temperature: NotNegative = Field(0.7, description="How freely it writes; 0 is greedy.")
    max_new_tokens: Count = Field(1024, description="Longest answer, in tokens.")
    requests_per_minute: Positive | None = Field(
        None, description="No more requests are begun in a minute; no limit if not given."
    )
    at_once: Count = Field(4, description="Requests at the same time.")
    timeout: Positive = Field(120.0, description="Seconds for an answer; then it is asked again.")
    price: Price | None = Field(
        None, description="What a million tokens of prompts and of answers cost (`[0.15, 0.6]`)."
    )
    budget: Positive | None = Field(
        None, description="What all answers together may cost, in the currency of `price`."
    )
    max_tokens: Count | None = Field(
        None, description="Tokens that all prompts and answers together may have."
    )

    @model_validator(mode="after")
    def _whole(self) -> TellerSection:
        if self.endpoint == "base" and (self.model or self.key):
            raise PydanticCustomError("path", "`base` is the recipe's own model, and needs no key")
        if self.endpoint != "base" and not self.model:
            raise PydanticCustomError("path", "an endpoint needs the name of a model there (model)")
        if self.budget is not None and self.price is None:
            raise PydanticCustomError(
                "path", "a budget needs the price of a million tokens (price)"
            )
        return self
