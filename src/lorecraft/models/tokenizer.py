"""The tokenizer of a checkpoint, as the data part needs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lorecraft.data.records import Message
from lorecraft.errors import ModelError


class HFTokenizer:
    """``data.encode.Tokenizer`` through Transformers' AutoTokenizer.

    AutoTokenizer and not tokenizer.json alone: for some models it replaces the pre-tokenizer.
    """

    def __init__(self, folder: Path, tokenizer: Any) -> None:
        self._folder, self._tokenizer = folder, tokenizer

    @property
    def eos_id(self) -> int:
        """Ends a text. Raises ModelError when the tokenizer has no such token."""
        if self._tokenizer.eos_token_id is None:
            raise ModelError(f"the tokenizer in {self._folder} has no end-of-text token", "eos_token")
        return int(self._tokenizer.eos_token_id)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokenizer's and the generation configuration's ends of text, and what the chat
        template puts after an assistant's turn."""
        ids = {self.eos_id}
        config = self._folder / "generation_config.json"
        if config.is_file():
            ends = json.loads(config.read_text("utf-8")).get("eos_token_id")
            ids.update([ends] if isinstance(ends, int) else ends or [])
        if self._tokenizer.chat_template:
            ids.update(self._end_of_turn())
        return frozenset(ids)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the vocabulary, its merges and the chat template."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        content = backend.to_str() if backend else json.dumps(self._tokenizer.get_vocab())
        template = json.dumps(self._tokenizer.chat_template)
        return hashlib.sha256(f"{content}\0{template}".encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of a plain text, with the token that the model expects at its beginning, if any."""
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids[:-1] if ids and len(ids) > 1 and ids[-1] == self.eos_id else ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        """Ids of a conversation under the chat template.

        Raises ValueError when the template refuses the messages, with its reason; ModelError when
        there is no template.
        """
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer in {self._folder} has no chat template",
                "a chat model, or chat_template.jinja beside the tokenizer",
                "take the model's instruct version, or train plain text (cpt)",
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            ids = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=add_generation_prompt, return_dict=False
            )
        except TemplateError as error:
            raise ValueError(str(error)) from error
        return [int(id_) for id_ in ids]

    def _end_of_turn(self) -> set[int]:
        """The first special token after the words of an assistant's turn."""
        turns = [Message("user", "a"), Message("assistant", "b")]
        try:
            whole = self.chat(turns, add_generation_prompt=False)
            prompt = self.chat(turns[:1], add_generation_prompt=True)
        except ValueError:
            return set()
        special = set(self._tokenizer.all_special_ids)
        return set([id_ for id_ in whole[len(prompt) :] if id_ in special][:1])


def load_tokenizer(folder: Path) -> HFTokenizer:
    """Raises ModelError when there is no tokenizer that loads without running its code."""
    from transformers import AutoTokenizer

    try:
        return HFTokenizer(folder, AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded: {str(error).splitlines()[0]}",
            "tokenizer.json and tokenizer_config.json beside the weights",
        ) from error
