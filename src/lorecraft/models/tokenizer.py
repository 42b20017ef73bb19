"""The tokenizer of a checkpoint, as the data part needs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lorecraft.data.records import Message
from lorecraft.data.turns import Chat
from lorecraft.errors import DataError, ModelError

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")


class RefusedMessages(DataError, ValueError):
    """The chat template does not take these messages: a role, or their order."""


class HFTokenizer:
    """``data.encode.Tokenizer`` through Transformers' AutoTokenizer.

    AutoTokenizer and not tokenizer.json alone: for some models it replaces the pre-tokenizer.
    """

    def __init__(self, folder: Path, tokenizer: Any, thinking: bool | None = None) -> None:
        self._folder, self._tokenizer = folder, tokenizer
        self._switches = {} if thinking is None else _switches(thinking)
        tokenizer.model_input_names = ["input_ids"]  # masks of a million records take minutes

    @property
    def eos_id(self) -> int:
        """Ends a text. Raises ModelError when the tokenizer has no such token."""
        if self._tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer in {self._folder} has no end-of-text token",
                "eos_token in tokenizer_config.json",
            )
        return int(self._tokenizer.eos_token_id)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokenizer's and the generation configuration's ends of text, and what the chat
        template puts after an assistant's turn.

        Raises ModelError when there is no end of text, or the template cannot be rendered.
        """
        ids = {self.eos_id, *_configured_ends(self._folder / "generation_config.json")}
        if self._tokenizer.chat_template:
            ids.update(self._end_of_turn())
        return frozenset(ids)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the tokenizer's files, the chat template and its switches."""
        digest = hashlib.sha256(json.dumps(self._tokenizer.chat_template).encode())
        if self._switches:
            digest.update(json.dumps(self._switches).encode())
        for name in (*VOCABULARIES, "tokenizer_config.json"):
            if (path := self._folder / name).is_file():
                digest.update(f"\0{name}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def encode(self, text: str) -> list[int]:
        """Ids of a plain text, with the token that the model expects at its beginning, if any."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of each; together they are faster."""
        found: list[list[int]] = self._tokenizer(list(texts))["input_ids"]
        return [ids[:-1] if len(ids) > 1 and ids[-1] == self.eos_id else ids for ids in found]

    def pieces(self, text: str) -> tuple[int, ...]:
        """Ids of a text within another: nothing stands before it."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens left out, its spaces as they are."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def written(self, ids: Sequence[int]) -> str:
        """The text with its special tokens, as a person is to see it."""
        text: str = self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        """Ids of a conversation under the chat template.

        Raises RefusedMessages (a ValueError) with the template's reason and the roles; ModelError
        when there is no template, or it is broken.
        """
        return self.chat_all([(tuple(messages), add_generation_prompt)])[0]

    def chat_all(self, chats: Sequence[Chat]) -> list[list[int]]:
        """``chat`` of each, or what it raises for one of them; together they are faster."""
        ids: dict[Chat, list[int]] = {}
        for prompt in (False, True):
            asked = [chat for chat in chats if chat[1] == prompt]
            if asked:
                found = self._apply_template([messages for messages, _ in asked], prompt)
                ids |= zip(asked, found, strict=True)
        return [ids[chat] for chat in chats]

    def _apply_template(
        self, conversations: Sequence[Sequence[Message]], add_generation_prompt: bool
    ) -> list[list[int]]:
        from jinja2 import TemplateError, TemplateSyntaxError

        if not self._tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer in {self._folder} has no chat template",
                "a chat model, or chat_template.jinja beside the tokenizer",
                "take the model's instruct version, or train plain text (cpt)",
            )
        turns = [
            [{"role": message.role, "content": message.content} for message in messages]
            for messages in conversations
        ]
        try:
            found = self._tokenizer.apply_chat_template(
                turns,
                add_generation_prompt=add_generation_prompt,
                return_dict=False,
                **self._switches,
            )
        except TemplateSyntaxError as error:
            raise ModelError(
                f"the chat template in {self._folder} is broken: {error}", "a Jinja template"
            ) from error
        except TemplateError as error:
            roles = ", ".join(message.role for message in conversations[0])
            raise RefusedMessages(f"{error} (roles: {roles})") from error
        return [[int(id_) for id_ in ids] for ids in found]

    def _end_of_turn(self) -> list[int]:
        """The first added token after the words of an assistant's turn, if there is one.

        What follows the words is what two conversations with other words have in common.
        """
        try:
            first, second = (
                self.chat([Message("user", "Hi"), Message("assistant", words)], False)[::-1]
                for words in ("A", "B")
            )
        except RefusedMessages as error:
            raise ModelError(
                f"the chat template in {self._folder} refuses a question and its answer: {error}",
                "a template for user and assistant",
            ) from error
        common = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first)
        )
        added = self._tokenizer.added_tokens_decoder
        return [id_ for id_ in first[:common][::-1] if id_ in added][:1]


def load_tokenizer(folder: Path, thinking: bool | None = None) -> HFTokenizer:
    """``thinking``: whether the chat template lets the model think aloud, if it has such a switch.

    Raises ModelError when there is no tokenizer that loads without running its code."""
    from transformers import AutoTokenizer

    # Without any of these, AutoTokenizer gives an empty tokenizer for some models.
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ModelError(f"{folder} holds no tokenizer", "tokenizer.json beside the weights")
    try:
        loaded = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    # Every broken file has its own exception in Transformers, down to plain Exception.
    except Exception as error:
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded: {_first_line(error)}",
            "tokenizer.json and tokenizer_config.json beside the weights",
        ) from error
    return HFTokenizer(folder, loaded, thinking)


def _switches(thinking: bool) -> dict[str, bool]:
    """As chat templates call it: Qwen3's, DeepSeek V3.1's and HyperCLOVA X SEED Think's. A template
    does not see those that it does not know."""
    return {"enable_thinking": thinking, "thinking": thinking, "skip_reasoning": not thinking}


def _configured_ends(path: Path) -> list[int]:
    """Ends of text that the generation configuration names: none, one or several."""
    if not path.is_file():
        return []
    try:
        ends = json.loads(path.read_text("utf-8")).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", "a JSON object") from error
    return [ends] if isinstance(ends, int) else list(ends or [])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
