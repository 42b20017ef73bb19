"""What a model answered, by what it was asked; nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from lorecraft.disk import naming


@dataclass(frozen=True)
class Reply:
    """An answer, and the tokens that it took."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def cache_folder() -> Path:
    """Where answers are kept, for all runs: ``$XDG_CACHE_HOME/lorecraft``, or in ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "lorecraft" / "teller"


class Replies:
    """The answers of one model: those that are known, and those that come, a line of JSON each.

    A line that a kill cut short is passed over. Several processes may write at once.
    """

    def __init__(self, folder: Path, model: str) -> None:
        name = hashlib.sha256(model.encode()).hexdigest()[:16]
        self._path = folder / f"{name}.jsonl"
        self._known: dict[str, Reply] = {}
        for line in self._path.read_bytes().split(b"\n") if self._path.exists() else ():
            try:
                said = json.loads(line)
                reply = Reply(str(said["text"]), int(said["prompt"]), int(said["completion"]))
                self._known[str(said["key"])] = reply
            except (ValueError, TypeError, LookupError):
                continue

    def get(self, key: str) -> Reply | None:
        return self._known.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep an answer; it is on the disk when this returns."""
        import fcntl

        self._known[key] = reply
        line = {
            "key": key,
            "prompt": reply.prompt_tokens,
            "completion": reply.completion_tokens,
            "text": reply.text,
        }
        with naming(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if (
                    file.seek(0, os.SEEK_END)
                    and file.seek(-1, os.SEEK_END)
                    and file.read(1) != b"\n"
                ):
                    file.write(b"\n")  # a kill cut the line before short
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
