"""What the hub may answer, and what it may have left half done."""

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

from lorecraft.errors import ModelError
from lorecraft.models.find import find

Serve = Callable[[type[BaseHTTPRequestHandler]], AbstractContextManager[str]]
FIND = """
import sys
from lorecraft.errors import ModelError
from lorecraft.models.find import find
for asked in sys.argv[1:]:
    name, _, revision = asked.partition("@")
    try:
        print(find(name, revision or None))
    except ModelError as error:
        print(error.seen)
"""


def find_on(endpoint: str, cache: Path, *asked: str) -> list[str]:
    """What ``find`` says of each ``name@revision`` with this hub; in a process of its own, since
    the hub's library reads its settings once."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", FIND, *asked],
        env=os.environ | settings | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


class Hub(BaseHTTPRequestHandler):
    """A hub where every model is another trouble."""

    def do_GET(self) -> None:
        troubles = {
            "/none/": (404, "RepoNotFound"),
            "/gated/": (403, "GatedRepo"),
            "/model/revision/": (404, "RevisionNotFound"),
        }
        status, code = next((t for part, t in troubles.items() if part in self.path), (500, ""))
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub(serve: Serve) -> Iterator[str]:
    with serve(Hub) as address:
        yield address


def test_a_closed_port_is_a_hub_out_of_reach(tmp_path: Path) -> None:
    (said,) = find_on("http://127.0.0.1:9", tmp_path, "owner/model")
    assert "hub is out of reach" in said


def test_the_hub_s_refusals_are_told_apart(hub: str, tmp_path: Path) -> None:
    none, gated, revision, ill = find_on(
        hub, tmp_path, "owner/none", "owner/gated", "owner/model@v9", "owner/ill"
    )
    assert "the hub has no model 'owner/none'" in none
    assert "behind a licence" in gated
    assert "no revision 'v9'" in revision
    assert "hub is out of reach" in ill


@pytest.mark.parametrize("name", ["../model", "owner/a--b", "owner/.hidden", "owner name/model"])
def test_names_that_no_model_can_have_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=r"no model"):
        find(name)


def test_an_adapter_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter"):
        find(str(tmp_path))


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": []}'])
def test_a_broken_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(b"")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"index\.json cannot be read"):
        find(str(tmp_path))


@pytest.mark.parametrize(
    "header", [[], ["a"], {"a": 1}, {"a": {"dtype": "F32"}}, {"a": {"data_offsets": [0, 8]}}]
)
def test_a_header_that_does_not_describe_the_file_is_refused(
    tmp_path: Path, header: object
) -> None:
    (tmp_path / "config.json").write_text("{}")
    body = json.dumps(header).encode()
    content = len(body).to_bytes(8, "little") + body + b"\0" * 4
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="broken or cut short"):
        find(str(tmp_path))
