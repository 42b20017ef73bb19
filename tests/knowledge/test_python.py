"""Packages are read, never imported; things have the names that users import them by."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge import python
from lorecraft.knowledge.python import documented

INIT = '''"""Lights along the coast."""
from typing import TYPE_CHECKING
from ._lamp import Lamp
from .tower import *
if TYPE_CHECKING:
    from ._lamp import trim as trimmed
raise RuntimeError("imported")
'''
LAMP = '''
class Lamp:
    """A lamp."""

    def __init__(self, oil: int, /, *, wick="flat"):
        """Not told of its own."""

    @property
    def burning(self):
        """Whether it burns."""

    def _hidden(self):
        """Private."""

    def bare(self):
        pass

def trim(lamp: Lamp, by=0.1, *rest, **more) -> None:
    """Trim the wick."""

class Unseen:
    """Offered by no public module."""
'''
TOWER = '''
"""Towers."""
try:
    import stone
except ImportError:
    def height(tower):
        """Its height in metres."""
'''


@pytest.fixture
def lights(tmp_path: Path) -> Path:
    package = tmp_path / "lights"
    (package / "tests").mkdir(parents=True)
    files = {
        "__init__.py": INIT,
        "_lamp.py": LAMP,
        "tower.py": TOWER,
        "tests/test_lamp.py": '"""Tests."""',
        "broken.py": "def (:",
        "binary.py": "\0\1\2",
        "sea.pyi": 'def depth(at: float) -> float:\n    """Depth in fathoms."""',
        "tower.pyi": '"""A stub beside its source."""',
    }
    for name, text in files.items():
        (package / name).write_text(text)
    return package


def test_a_package_is_told_without_running_it(lights: Path) -> None:
    found = {item.name: item for item in documented(str(lights))}
    assert {name: item.kind for name, item in found.items()} == {
        "lights": "module",
        "lights.Lamp": "class",
        "lights.Lamp.burning": "function",
        "lights.trimmed": "function",
        "lights.sea.depth": "function",
        "lights.tower": "module",
        "lights.height": "function",  # not lights.tower.height: the star offers it
    }
    assert found["lights.Lamp"].signature == "oil: int, /, *, wick='flat'"
    assert found["lights.trimmed"].signature == "lamp: Lamp, by=0.1, *rest, **more"
    assert found["lights.Lamp.burning"].signature == ""
    assert found["lights.Lamp.burning"].place == "lights/_lamp.py line 9"


def test_many_files_are_read_by_several_processes_to_the_same_end(
    lights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = documented(str(lights))
    monkeypatch.setattr(python, "_POOL_FROM", 1)
    assert documented(str(lights)) == alone


def test_names_start_where_imports_would(lights: Path) -> None:
    assert {item.name for item in documented(str(lights / "tower.py"))} == {
        "lights.tower",
        "lights.tower.height",
    }
    (lights.parent / "src").mkdir()
    lights.rename(lights.parent / "src/lights")
    assert documented(str(lights.parent / "src"))[0].name == "lights"


def test_installed_packages_and_their_parts_are_found_by_name() -> None:
    assert documented("json")[0].name == "json"
    assert "json.decoder.JSONDecoder" in {item.name for item in documented("json.decoder")}
    assert documented("bisect")[0].place == "bisect.py line 1"


@pytest.mark.parametrize("name", ["no_such_package", "sys", "json.none"])
def test_what_is_no_package_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"no Python package '{name}'"):
        documented(name)


def test_a_package_without_sources_or_docstrings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Python sources"):
        documented(str(tmp_path))
    (tmp_path / "bare.py").write_text("x = 1")
    with pytest.raises(DataError, match="nothing in its 1 files has a docstring"):
        documented(str(tmp_path))
