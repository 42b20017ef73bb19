"""Which files of a data set on the hub hold a split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
import sys
from lorecraft.data.sources import read_records
from lorecraft.errors import DataError
from lorecraft.recipe import RecordsSection
keys = dict(zip(("path", "split", "revision"), sys.argv[1:]))
try:
    for record in read_records(RecordsSection(**keys)):
        print(record.place, record.messages[0].content)
except DataError as error:
    print(error)
"""


def read(home: Path, *arguments: str) -> str:
    """In a process of its own, since the hub's library reads its settings once."""
    run = subprocess.run(
        [sys.executable, "-c", READ, *arguments],
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
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
    said = read(tmp_path, "hf:lights/sums", "train")
    assert said == "data/train-00000-of-00001.parquet row 1 2 + 2?\n"
    assert "hf:lights/sums: no split 'test'" in read(tmp_path, "hf:lights/sums", "test")
    assert "the hub is out of reach" in read(tmp_path, "hf:lights/none", "train")
    assert "the hub is out of reach" in read(tmp_path, "hf:lights/sums", "train", "v2")
