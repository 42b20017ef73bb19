"""A model on the hub, known before its weights are here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from lorecraft.hub import Unreachable
from lorecraft.models.find import find, preview

Serve = Callable[[type[BaseHTTPRequestHandler]], AbstractContextManager[str]]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = 5_000_000_000
FILES = {
    "config.json": b'{"model_type": "llama", "max_position_embeddings": 512}',
    "tokenizer.json": b"{}",
}
PREVIEW = """
import json, sys
from lorecraft.models.find import preview
found = preview("owner/model")
print(json.dumps([sorted(p.name for p in found.folder.iterdir()), dict(found.download)]))
"""


class Hub(BaseHTTPRequestHandler):
    """A hub with one model, of whose weights nobody may ask for more than the size."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[-1]
        if "/tree/" in path:
            sizes = {name: len(content) for name, content in FILES.items()}
            sizes |= {"model.safetensors": WEIGHTS, "pytorch_model.bin": WEIGHTS}
            listed = [
                {"type": "file", "path": name, "size": size, "oid": f"{index:040x}"}
                for index, (name, size) in enumerate(sizes.items())
            ]
            self.answer(json.dumps(listed).encode(), "application/json")
        elif path.startswith("/api/models/"):
            about = {"id": "owner/model", "sha": COMMIT, "private": False, "tags": []}
            self.answer(json.dumps(about).encode(), "application/json")
        elif name in FILES:
            self.answer(FILES[name], "text/plain")
        elif name == "model.safetensors" and self.command == "HEAD":
            self.answer(b"", "application/octet-stream", WEIGHTS)
        else:
            self.send_error(500)

    do_HEAD = do_GET

    def answer(self, content: bytes, kind: str, size: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{abs(hash(content)):x}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub(serve: Serve) -> Iterator[str]:
    with serve(Hub) as address:
        yield address


def test_only_the_small_files_come_and_the_rest_is_told_in_bytes(hub: str, tmp_path: Path) -> None:
    settings = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", PREVIEW],
        env=os.environ | settings | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    files, download = json.loads(run.stdout)
    assert files == sorted(FILES)
    assert download == {"model.safetensors": WEIGHTS}


def test_what_is_here_needs_no_download() -> None:
    found = preview("pocket")
    assert found.folder == find("pocket")
    assert found.download == {}


def test_without_a_network_a_model_that_is_not_here_is_out_of_reach() -> None:
    with pytest.raises(Unreachable, match="hub is out of reach"):
        preview("owner/model")
