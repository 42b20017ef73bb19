"""Asking the models of a run: the base, and every stage's adapter over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lorecraft.data.decode import Decoded
from lorecraft.data.records import Message
from lorecraft.engines.base import Request
from lorecraft.errors import RunError
from lorecraft.runs.directory import resolve
from lorecraft.runs.workbench import Workbench

LONGEST = 256
"""Tokens of an answer."""


class Asker:
    """The models of one run, ready to answer."""

    def __init__(self, bench: Workbench, slots: dict[str, int]) -> None:
        self._bench, self._slots = bench, slots

    @property
    def models(self) -> list[str]:
        """``base``, then the stages in order."""
        return list(self._slots)

    def ask(
        self,
        messages: Sequence[Message],
        model: str | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Stream the answer in pieces of text; ``model`` is the last stage if not given.

        The answer ends before any of the texts in ``stop``; the other settings are ``Request``'s.

        Raises RunError for a model that the run does not have, and for a conversation that has
        outgrown the model's context.
        """
        name = model or self.models[-1]
        if name not in self._slots:
            raise RunError(f"no model {name!r} in this run", " or ".join(self.models))
        tokenizer = self._bench.tokenizer
        prompt = tokenizer.chat(messages, add_generation_prompt=True)
        context = self._bench.info.context or len(prompt) + LONGEST
        room = min(LONGEST, context - len(prompt))
        if room < 1:
            raise RunError(
                f"the conversation has {len(prompt)} tokens",
                f"at most {context - 1}: the model's context",
                "start anew (/reset in a chat)",
            )
        request = Request(
            prompt,
            self._slots[name],
            room,
            tokenizer.stop_ids,
            temperature=temperature,
            top_p=top_p,
            min_p=min_p,
            seed=seed,
            banned=self._bench.banned,
        )
        answer = Decoded(tokenizer, stop)
        for _, token in self._bench.engine.generate([request]):
            answer.add(token)
            yield answer.piece()
            if answer.ended:
                return
        yield answer.piece(last=True)


def open_run(folder: Path) -> Asker:
    """Load a run's base model and its finished adapters. Raises RunError when it has none."""
    recipe, directory = resolve(folder)
    finished = {
        name: stage / "adapter"
        for name, stage in directory.stages(recipe).items()
        if (stage / "stage.json").exists()
    }
    if not finished:
        raise RunError(
            f"{folder} has no trained stage yet", "a finished stage", f"lorecraft run {folder}"
        )
    bench = Workbench.open(recipe)
    return Asker(bench, bench.attach_all(finished))
