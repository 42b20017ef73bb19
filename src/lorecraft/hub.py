"""The Hugging Face hub: what is downloaded once, into the hub library's own cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Literal

from lorecraft.errors import DataError, LorecraftError, ModelError

Kind = Literal["model", "dataset"]

BLOCK = 1 << 20
"""Bytes that are fetched at once of what is streamed."""


class Unreachable(ModelError):
    """The model is on the hub, if anywhere, and the hub cannot be asked."""


def download(
    name: str,
    kind: Kind,
    revision: str | None = None,
    *,
    wanted: Sequence[str],
    unwanted: Sequence[str] = (),
) -> Path:
    """The folder of a repository, with those of its files that match ``wanted``.

    Raises ModelError, or DataError for a data set: no such repository, no such revision, a licence
    to be accepted, or a hub out of reach and nothing in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    trouble: type[LorecraftError] = ModelError if kind == "model" else DataError
    what = "model" if kind == "model" else "data set"
    try:
        return Path(
            snapshot_download(
                name,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(wanted),
                ignore_patterns=list(unwanted),
            )
        )
    except GatedRepoError as error:
        page = name if kind == "model" else f"datasets/{name}"
        raise trouble(
            f"{name} is behind a licence",
            "an account that has accepted it",
            f"accept it at https://huggingface.co/{page}, then `hf auth login`",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise trouble(
            f"the hub has no {what} {name!r}, or it is private",
            "a folder here, or a name on the hub (owner/name)",
            "check the name, or `hf auth login`",
        ) from error
    except RevisionNotFoundError as error:
        raise trouble(f"{name} has no revision {revision!r}", "a branch, tag or commit") from error
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own trouble, which says what it is
        raise unreachable(name, kind) from error


def stream(name: str, commit: str, file: str) -> IO[bytes]:
    """A file of a data set, read over the network as it is asked for; within ``reaching``."""
    from huggingface_hub import HfFileSystem

    files = HfFileSystem(skip_instance_cache=True)
    return BufferedReader(files.open(f"datasets/{name}@{commit}/{file}", block_size=BLOCK))


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Within: a data set is streamed. Raises DataError when the hub goes away."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except HTTPError as error:
        raise unreachable(name, "dataset") from error


def unreachable(name: str, kind: Kind) -> LorecraftError:
    """What to say when the hub cannot be asked."""
    seen = f"{name} is neither a folder here nor in the cache, and the hub is out of reach"
    if kind == "model":
        fix = "give model.path a folder, or download it elsewhere with `hf download`"
        return Unreachable(seen, "a network, or a downloaded model", fix)
    return DataError(
        seen,
        "a network, or a downloaded data set (HF_HOME says where the cache is)",
        "give the recipe a folder, or download it with `hf download --repo-type dataset`",
    )


def names(name: str, kind: Kind, folder: Path) -> list[str]:
    """The files of a repository of which ``folder`` is a snapshot; without the hub, those there."""
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import HTTPError

    try:
        return sorted(list_repo_files(name, repo_type=kind, revision=folder.name))
    except (HTTPError, OSError):
        found = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(folder).as_posix() for path in found)
