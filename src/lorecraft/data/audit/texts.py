"""What should not stand in a text: template tokens, damaged encoding, secrets, personal data."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lorecraft.data.audit.check import Mark, Marks, around
from lorecraft.data.audit.rows import Entry

_TEMPLATE = re.compile(
    r"<[|｜][\w▁ ]{1,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk|mask)>|\[(?:CLS|SEP|PAD|UNK|MASK|gMASK)\]|<reserved_\d+>"
    r"|### (?:Instruction|Response|Human|Assistant):"
)
_TURNS = (("<|im_start|>", "<|im_end|>"), ("<start_of_turn>", "<end_of_turn>"))


class TemplateTokens(Marks):
    """Text that looks like a token of a chat template, which a tokenizer may take for one; and
    turns of such a template that do not end."""

    name = "template tokens"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        found = {match[0]: match for match in _TEMPLATE.finditer(entry.words)}
        for token, match in found.items():
            yield f"'{token}' in the text", around(entry.words, *match.span())
        for start, end in _TURNS:
            if start in found and entry.words.count(start) > entry.words.count(end):
                yield f"a turn that begins with '{start}' and does not end", ""


_REPLACED = re.compile("\ufffd+")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]+")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]+")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")
_AFTER = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""What the second and later bytes of UTF-8 look like when they are read as Windows' Latin."""
# Once is enough only where the letter ends no word: "é »" and "É”" are French.
_MOJIBAKE = re.compile(
    f"(?:[ÂÃ]{_AFTER})+|(?:[Ä-ß]{_AFTER}){{2,}}|(?:[à-ï]{_AFTER}{_AFTER}){{2,}}"
    f"|â[€„†ˆ]{_AFTER}|ï(?:»¿|¼{_AFTER})|ð{_AFTER}{{3}}"
)


class Encoding(Marks):
    """Text that was read in another encoding than it was written in, and what no text holds."""

    name = "encoding"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        text = entry.words
        if found := _CONTROL.search(text):
            yield "control characters", repr(around(text, *found.span()))
        if text.isascii():
            return
        if (found := _DIRECTION.search(text)) and not _RIGHT_TO_LEFT.search(text):
            yield "hidden marks that turn the direction", repr(around(text, *found.span()))
        if found := _REPLACED.search(text):
            yield "characters that were lost (U+FFFD)", around(text, *found.span())
        for found in _MOJIBAKE.finditer(text):
            if right := _repaired(found[0]):
                where = around(text, *found.span())
                yield "another encoding (mojibake)", f"{where}: '{found[0]}' was '{right}'"
                return


def _repaired(text: str) -> str:
    """What a text was before UTF-8 was read as Windows' Latin; empty if it was not."""
    raw = bytearray()
    for letter in text:
        try:
            raw += letter.encode("cp1252")
        except UnicodeEncodeError:
            if ord(letter) > 0xFF:
                return ""
            raw.append(ord(letter))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""


# What each holds, which is quickly looked for, and what it is.
_SECRETS = (
    ("a private key", ["PRIVATE KEY"], r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY"),
    (
        "a key of OpenAI's or Anthropic's form",
        ["sk-"],
        r"\bsk-(?=[\w-]{0,60}?(?=[a-zA-Z_]{0,40}\d)\w{16})[\w-]{20,200}",
    ),
    ("a key of AWS", ["AKIA", "ASIA"], r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b(?<!EXAMPLE)"),
    (
        "a token of GitHub",
        ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{50,})",
    ),
    ("a token of GitLab", ["glpat-"], r"\bglpat-[\w-]{20,}"),
    ("a token of Slack", ["xox"], r"\bxox[abceoprs]-(?=[A-Za-z-]{0,40}\d)[A-Za-z0-9-]{10,}"),
    ("a key of Google", ["AIza"], r"\bAIza[\w-]{35}"),
    ("a token of Hugging Face", ["hf_"], r"\bhf_[A-Za-z0-9]{30,}"),
    ("a key of Stripe", ["k_live_"], r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    (
        "a signed token (JWT)",
        ["eyJ"],
        r"\beyJ[\w-]{10,999}\.eyJ[\w-]{10,9999}\.[\w-]{10,}",
    ),
    (
        "a password in an address",
        ["://"],
        r"\b[a-z+]{2,20}://[^/\s:@]{1,64}:(?!(?:password|passwd|pass|pwd|secret|x+)@)"
        r"[^/\s:@{}<>$*]{3,200}@[\w.-]+",
    ),
)
_KEYS = [(kind, hints, re.compile(pattern)) for kind, hints, pattern in _SECRETS]
_SHOWN = 8


class Secrets(Marks):
    """Keys, tokens and passwords: a model that learned them tells them."""

    name = "secrets"
    severity = "error"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        text = entry.words
        for kind, hints, pattern in _KEYS:
            if any(hint in text for hint in hints) and (found := pattern.search(text)):
                yield kind, f"{found[0][:_SHOWN]}… ({len(found[0])} letters)"


_MAIL = re.compile(
    r"(?<![\w.+-])(?!git@)[\w.+-]{1,64}@(?!\dx\.)(?:[a-z0-9-]{1,63}\.)+[a-z]{2,}\b", re.IGNORECASE
)
_MADE_UP = re.compile(r"@(?:[\w-]+\.)*(?:example|test|invalid|localhost)(?:\.(?:com|org|net))?$")
_DIGITS = re.compile(r"\d\d")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4})|0\d{1,2}-\d{3,4}-\d{4}"
    r")(?![\w-]|\.\d)"
)


class Personal(Marks):
    """E-mail addresses and phone numbers. Addresses of made-up hosts (``example.com``) are none."""

    name = "personal data"
    severity = "warning"

    def marks(self, entry: Entry) -> Iterable[Mark]:
        text = entry.words
        if "@" in text:
            mails = [m[0] for m in _MAIL.finditer(text) if not _MADE_UP.search(m[0].lower())]
            if mails:
                yield "e-mail addresses", mails[0]
        if _DIGITS.search(text) and (found := _PHONE.search(text)):
            yield "phone numbers", found[0]
