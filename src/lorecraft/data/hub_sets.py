"""Data sets of the Hugging Face hub: which of their files hold a configuration's split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import IO, Any, Literal

import yaml

from lorecraft import hub
from lorecraft.errors import DataError
from lorecraft.knowledge.files import SourceFile
from lorecraft.knowledge.rows import SUFFIXES

_CARD = "README.md"
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def fetch(
    name: str, config: str | None, split: str, revision: str | None = None
) -> list[SourceFile]:
    """Those files of a data set, downloaded once. Raises DataError, and as ``hub.download``."""
    commit, chosen = _find(name, config, split, revision)
    folder = hub.download(name, "dataset", commit, wanted=chosen)
    return [SourceFile(folder / file, file) for file in chosen]


@dataclass(frozen=True)
class Streamed:
    """A file of a data set on the hub, of which only what is read is fetched, and nothing kept."""

    data_set: str
    commit: str
    name: str

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        return hub.stream(self.data_set, self.commit, self.name)

    def __str__(self) -> str:
        return f"hf:{self.data_set}: {self.name}"


def stream(
    name: str, config: str | None, split: str, revision: str | None = None
) -> list[Streamed]:
    """Those files of a data set, to be read over the network."""
    commit, chosen = _find(name, config, split, revision)
    return [Streamed(name, commit, file) for file in chosen]


def _find(name: str, config: str | None, split: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit, and the files that hold the split."""
    folder = hub.download(name, "dataset", revision, wanted=[_CARD])
    there = hub.names(name, "dataset", folder)
    card = folder / _CARD
    configs = _configs(card.read_text("utf-8")) if card.is_file() else []
    try:
        chosen = choose(there, configs, config, split)
    except DataError as error:
        raise DataError(f"hf:{name}: {error.seen}", error.expected, error.fix) from None
    return folder.name, chosen


def choose(
    files: Sequence[str], configs: Sequence[dict[str, Any]], config: str | None, split: str
) -> list[str]:
    """The files of a split, in order: as the data set's card says, else by their names.

    Args:
        configs: the card's ``configs``, each a ``config_name`` and ``data_files`` or ``data_dir``.
        config: ``None`` takes the default, or the only one.

    Raises DataError when there is no such configuration or split, with those that there are.
    """
    data = sorted(f for f in files if f.endswith(SUFFIXES) and not f.startswith("."))
    if configs:
        by_split = _of_card(data, _configured(configs, config))
    else:
        within = data if config is None else [f for f in data if f.split("/")[0] == config]
        by_split = _by_name(within)
    if split not in by_split:
        raise DataError(
            f"no split '{split}'" + (f" of '{config}'" if config else ""),
            f"one of {', '.join(by_split)}" if by_split else f"files in {', '.join(SUFFIXES)}",
        )
    return by_split[split]


def _configs(card: str) -> list[dict[str, Any]]:
    """What a card's front matter says of configurations; nothing when it is broken."""
    match = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return []
    configs = front.get("configs") if isinstance(front, dict) else None
    return [entry for entry in configs or [] if isinstance(entry, dict)]


def _configured(configs: Sequence[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    by_name = {str(entry.get("config_name", "default")): entry for entry in configs}
    default = [name for name, entry in by_name.items() if entry.get("default")]
    name = wanted or next(iter([*default, *({"default"} & by_name.keys())]), None)
    if name is None and len(by_name) == 1:
        name = next(iter(by_name))
    if name not in by_name:
        seen = f"no configuration '{wanted}'" if wanted else "several configurations, none default"
        raise DataError(seen, f"config: one of {', '.join(by_name)}")
    return by_name[name]


def _of_card(data: Sequence[str], config: dict[str, Any]) -> dict[str, list[str]]:
    listed = config.get("data_files")
    if not listed:
        above = str(config.get("data_dir", "")).strip("/")
        return _by_name([file for file in data if not above or file.startswith(f"{above}/")])
    entries = listed if isinstance(listed, list) else [listed]
    by_split: dict[str, list[str]] = {}
    for entry in entries:
        entry = entry if isinstance(entry, dict) else {"path": entry}
        patterns = entry.get("path") or []
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            found = [file for file in data if fnmatch(file, str(pattern).removeprefix("./"))]
            by_split.setdefault(str(entry.get("split", "train")), []).extend(found)
    return {split: list(dict.fromkeys(files)) for split, files in by_split.items() if files}


def _by_name(data: Sequence[str]) -> dict[str, list[str]]:
    """By the word for a split in a file's path; files without one are all for training."""
    by_split: dict[str, list[str]] = {}
    for file in data:
        if split := split_named(file):
            by_split.setdefault(split, []).append(file)
    return by_split or ({"train": list(data)} if data else {})


def split_named(file: str) -> str | None:
    """The split that a file's path has a word for."""
    words = re.split(r"[^a-z]+", file.lower())
    return next((s for s, names in SPLITS.items() if set(names) & set(words)), None)
