"""The model of these tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .small_stage import VOCABULARY


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": VOCABULARY}))
    return folder
