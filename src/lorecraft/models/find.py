"""From what a recipe names to a folder with a checkpoint in it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from lorecraft.errors import ModelError

POCKET = "pocket"
WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.txt"]
"""What is downloaded: weights as safetensors, configuration, tokenizer; never a pickle or code."""

_HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")


def find(path: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint: the embedded model, a local folder, or one from the hub.

    A model of the hub is downloaded once, into Hugging Face's own cache.
    Raises ModelError when there is no such model, the hub is out of reach or asks for a login, or
    the folder does not hold a checkpoint that may be loaded.
    """
    if path == POCKET:
        return check(Path(str(files("lorecraft.models.pocket") / "weights")))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return check(folder)
    if not _HUB_NAME.match(path):
        raise ModelError(
            f"no model {path!r}",
            "`pocket`, a folder with a checkpoint, or a name on the hub (owner/name)",
        )
    return check(_download(path, revision))


def check(folder: Path) -> Path:
    """``folder``, if it holds a Transformers checkpoint as safetensors. Raises ModelError."""
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} has no config.json", "a folder that Transformers' save_pretrained wrote"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickles = sorted(p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pth")))
        if pickles:
            raise ModelError(
                f"{folder} holds its weights as {pickles[0]}, a pickle, which can run code",
                "weights as *.safetensors",
                "save them again: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)",
            )
        raise ModelError(f"{folder} holds no weights", "weights as *.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        missing = sorted(wanted - {path.name for path in weights})
        if missing:
            raise ModelError(
                f"{folder} lacks {len(missing)} of {len(wanted)} weight files, first {missing[0]}",
                "all files that model.safetensors.index.json names",
                "download the model again",
            )
    for path in weights:
        header(path)
    return folder


def header(path: Path) -> dict[str, dict[str, object]]:
    """A safetensors file's header: tensor name -> dtype, shape, offsets.

    Raises ModelError when the file is shorter than its header says, as after a broken download.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise _truncated(path, size)
        try:
            found = json.loads(file.read(length))
        except ValueError:
            raise _truncated(path, size) from None
    found.pop("__metadata__", None)
    ends = [entry["data_offsets"][1] for entry in found.values()]
    if 8 + length + max(ends, default=0) > size:
        raise _truncated(path, size)
    return dict(found)


def _truncated(path: Path, size: int) -> ModelError:
    return ModelError(
        f"{path} is broken or cut short ({size:,} bytes)",
        "a whole safetensors file",
        "download the model again",
    )


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED))
    except GatedRepoError as error:
        raise ModelError(
            f"{name} is behind a licence",
            "an account that has accepted it",
            f"accept it at https://huggingface.co/{name}, then `hf auth login`",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {name!r}, or it is private",
            "a folder here, or a name on the hub (owner/name)",
            "check the name, or `hf auth login`",
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name} has no revision {revision!r}", "a branch, tag or commit") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{name} is neither a folder here nor in the cache, and the hub is out of reach",
            "a network, or a downloaded model",
            "give model.path a folder, or download it elsewhere with `hf download`",
        ) from error
