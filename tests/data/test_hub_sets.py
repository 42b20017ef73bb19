"""Which files of a data set on the hub hold a split."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorecraft import hub
from lorecraft.data.hub_sets import choose
from lorecraft.errors import DataError

MATHS = ["README.md", *(f"data/train-0000{n}-of-00002.parquet" for n in (0, 1))]
MORE = [*MATHS, "data/test-00000-of-00001.parquet", "extended/train.jsonl", "x.py"]
CARD: list[dict[str, Any]] = [
    {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]},
    {"config_name": "extended", "data_dir": "extended"},
    {"config_name": "both", "data_files": ["data/*.parquet", "extended/train.jsonl"]},
]


@pytest.mark.parametrize(
    ("configs", "config", "split", "count"),
    [
        ([], None, "train", 3),
        ([], "data", "train", 2),
        ([], None, "test", 1),
        (CARD, None, "train", 2),
        (CARD, "extended", "train", 1),
        (CARD, "both", "train", 4),
        (CARD[1:2], None, "train", 1),
    ],
)
def test_a_split_is_found_by_the_card_or_by_names(
    configs: list[dict[str, Any]], config: str | None, split: str, count: int
) -> None:
    assert len(choose(MORE, configs, config, split)) == count


def test_files_that_name_no_split_are_for_training() -> None:
    assert choose(["b.jsonl", "a.csv", "LICENSE"], [], None, "train") == ["a.csv", "b.jsonl"]


@pytest.mark.parametrize(
    ("configs", "config", "split", "said"),
    [
        ([], None, "validation", "no split 'validation'\n  expected: one of test, train"),
        (CARD, "small", "train", "no configuration 'small'\n.*one of default, extended, both"),
        (CARD[1:], None, "train", "several configurations"),
        ([], "other", "train", "no split 'train' of 'other'"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    configs: list[dict[str, Any]], config: str | None, split: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        choose(sorted(MORE), configs, config, split)


READ = """
import json
import sys
from lorecraft.data.sources import read_records
from lorecraft.errors import DataError
from lorecraft.recipe import RecordsSection
try:
    for record in read_records(RecordsSection(**json.loads(sys.argv[1]))):
        print(record.place, record.messages[0].content)
except DataError as error:
    print(error)
"""


def read(home: Path, section: dict[str, Any], **environment: str) -> str:
    """In a process of its own, since the hub's library reads its settings once."""
    run = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(section)],
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_downloaded_data_set_is_read_without_the_hub(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "hub/datasets--lights--sums"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    data = folder / "snapshots" / commit / "data"
    data.mkdir(parents=True)
    rows = [{"prompt": "2 + 2?", "completion": "4"}]
    pq.write_table(pa.Table.from_pylist(rows), data / "train-00000-of-00001.parquet")
    (data.parent / "README.md").write_text("---\nlicense: mit\n---\n# Sums\n")
    sums = {"path": "hf:lights/sums"}
    said = read(tmp_path, sums)
    assert said == "data/train-00000-of-00001.parquet row 1 2 + 2?\n"
    assert "hf:lights/sums: no split 'test'" in read(tmp_path, sums | {"split": "test"})
    assert "the hub is out of reach" in read(tmp_path, {"path": "hf:lights/none"})
    assert "the hub is out of reach" in read(tmp_path, sums | {"revision": "v2"})


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a data set needs that is streamed; counts the bytes it sends."""

    commit = "0123456789abcdef0123456789abcdef01234567"
    files: ClassVar[dict[str, bytes]] = {}
    sent = 0

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if "/tree/" in path:
            self.answer(json.dumps(self.listed()))
        elif path.startswith("/api/datasets/lights/sums"):
            siblings = [{"rfilename": name} for name in self.files]
            self.answer(json.dumps({"id": "lights/sums", "sha": self.commit, "siblings": siblings}))
        elif content := self.files.get(path.partition(f"/resolve/{self.commit}/")[2]):
            self.give(content)
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        wanted = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(json.dumps([one for one in self.listed() if one["path"] in wanted]))

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in self.files.items()
        ]

    def give(self, content: bytes) -> None:
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = content[int(asked[1]) : int(asked[2]) + 1] if asked else content
        Hub.sent += len(part)
        self.answer(part, 206 if asked else 200)

    def answer(self, body: str | bytes, status: int = 200) -> None:
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), written, row_group_size=1000)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "written", "unit"),
    [("train.jsonl", as_lines, "line"), ("train.parquet", as_parquet, "row")],
)
def test_of_a_streamed_data_set_no_more_is_fetched_than_is_read(
    tmp_path: Path, name: str, written: Callable[[list[dict[str, Any]]], bytes], unit: str
) -> None:
    draw = random.Random(0)
    rows = [
        {"prompt": f"{number} + 2?", "completion": "4", "note": draw.randbytes(600).hex()}
        for number in range(10_000)
    ]
    Hub.files, Hub.sent = {"README.md": b"# Sums", name: written(rows)}, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        streamed = {"path": "hf:lights/sums", "streaming": True, "rows": 3}
        said = read(tmp_path, streamed, HF_ENDPOINT=url, HF_HUB_OFFLINE="0")
        server.shutdown()
    assert said.splitlines() == [f"{name} {unit} {n} {n - 1} + 2?" for n in (1, 2, 3)]
    assert 2 * Hub.sent < len(Hub.files[name])
    assert not list(tmp_path.rglob(name))


def test_a_hub_that_goes_away_while_it_is_read_is_told() -> None:
    from huggingface_hub.errors import HTTPError

    with pytest.raises(DataError, match="the hub is out of reach"), hub.reaching("lights/sums"):
        raise HTTPError("connection reset")
