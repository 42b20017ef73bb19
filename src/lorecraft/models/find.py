"""From what a recipe names to a folder with a checkpoint in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lorecraft import hub
from lorecraft.errors import ModelError

POCKET = "pocket"
WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
"""What is downloaded: weights as safetensors, configuration, tokenizer; never a pickle or code."""
UNWANTED = ["*/*", "consolidated*"]
"""The same weights once more, in other formats."""
WEIGHTS = "*.safetensors"

_AGAIN = "download the model again"
_HUB_NAME = re.compile(r"^\w[\w.-]*/\w[\w.-]*$", re.ASCII)


@dataclass(frozen=True)
class Preview:
    """What is known of a checkpoint before it is here.

    Attributes:
        folder: its configuration and tokenizer; its weights too if nothing is to be downloaded.
        download: file -> bytes, of what `find` would still download.
    """

    folder: Path
    download: Mapping[str, int]


def find(path: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint: the embedded model, a local folder, or one from the hub.

    A model of the hub is downloaded once, into Hugging Face's own cache.
    Raises ModelError when there is no such model, the hub is out of reach or asks for a login, or
    the folder does not hold a checkpoint that may be loaded.
    """
    return check(_local(path) or _download(path, revision, UNWANTED))


def preview(path: str, revision: str | None = None) -> Preview:
    """As ``find``, but the weights of a model on the hub stay there."""
    folder = _local(path)
    if folder is not None:
        return Preview(check(folder), {})
    folder = _download(path, revision, [*UNWANTED, WEIGHTS])
    missing = _missing(path, revision)
    if missing is None:
        try:
            return Preview(check(folder), {})
        except ModelError:
            raise hub.unreachable(path, "model") from None
    return Preview(folder if missing else check(folder), missing)


def cache_folder() -> Path:
    """Where models of the hub are kept."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _local(path: str) -> Path | None:
    """The folder that ``path`` names; None for a model on the hub."""
    if path == POCKET:
        return Path(str(files("lorecraft.models.pocket") / "weights"))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_NAME.match(path):
        raise ModelError(
            f"no model {path!r}",
            "`pocket`, a folder with a checkpoint, or a name on the hub (owner/name)",
        )
    return None


def check(folder: Path) -> Path:
    """``folder``, if it holds a Transformers checkpoint as safetensors. Raises ModelError."""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        raise ModelError(
            f"{folder} is an adapter, not a model" if adapter else f"{folder} has no config.json",
            "a folder that Transformers' save_pretrained wrote for a model",
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pth", ".pt"))
        if pickles:
            raise ModelError(
                f"{folder} holds its weights as {pickles[0]}, a pickle, which can run code",
                "weights as *.safetensors",
                "save them again: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)",
            )
        raise ModelError(f"{folder} holds no weights", "weights as *.safetensors")
    _check_index(folder / "model.safetensors.index.json", {path.name for path in weights})
    for path in weights:
        header(path)
    return folder


def _check_index(index: Path, present: set[str]) -> None:
    """Raises ModelError unless every weight file that the index names is there."""
    if not index.is_file():
        return
    try:
        wanted = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index} cannot be read: {error}", "a JSON object with weight_map", _AGAIN
        ) from error
    missing = sorted(wanted - present)
    if missing:
        raise ModelError(
            f"{index.parent} lacks {len(missing)} of {len(wanted)} weight files, "
            f"first {missing[0]}",
            f"all files that {index.name} names",
            _AGAIN,
        )


def header(path: Path) -> dict[str, dict[str, Any]]:
    """A safetensors file's header: tensor name -> dtype, shape, offsets.

    Raises ModelError when the file is not as long as its header says, as after a broken download.
    """
    size = path.stat().st_size
    broken = ModelError(
        f"{path} is broken or cut short ({size:,} bytes)", "a whole safetensors file", _AGAIN
    )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise broken
        try:
            found = dict(json.loads(file.read(length)))
            found.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in found.values()), default=0)
        except (ValueError, KeyError, TypeError) as error:
            raise broken from error
    if 8 + length + end != size:
        raise broken
    return found


def _download(name: str, revision: str | None, unwanted: list[str]) -> Path:
    return hub.download(name, "model", revision, wanted=WANTED, unwanted=unwanted)


def _missing(name: str, revision: str | None) -> dict[str, int] | None:
    """The files that are not in the cache, with their bytes; None when the hub cannot be asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    try:
        listed = snapshot_download(
            name,
            revision=revision,
            allow_patterns=WANTED,
            ignore_patterns=UNWANTED,
            dry_run=True,
        )
    except DryRunError:
        return None
    return {file.filename: file.file_size or 0 for file in listed if file.will_download}
