"""The house stands in its order: who may import whom, and what the README says is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lorecraft"

# A folder imports from those above it and from itself.
ORDER = (
    "errors",
    "disk",
    "hub",
    "recipe",
    "knowledge",
    "style",
    "data",
    "models",
    "adapters",
    "engines",
    "training",
    "evaluation",
    "reports",
    "runs",
    "serve",
    "cli",
)
HEAVY = {"torch", "transformers"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: Path) -> set[str]:
    """Dotted names of what a syntax tree imports; relative ones made absolute."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["lorecraft", *path.relative_to(PACKAGE).parts[:-1]]
            around = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*around, *filter(None, [node.module])])
            found.update(
                f"{module}.{alias.name}" if module == "lorecraft" else module
                for alias in node.names
            )
    return found


def at_module_level(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported."""

    class Outer(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            typing_only = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if typing_only else self.generic_visit(node)

    return Outer().visit(tree)


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {folder_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert folders <= set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_folder_imports_only_from_those_above_it(path: Path) -> None:
    if path.name in ("__init__.py", "__main__.py") and path.parent == PACKAGE:
        return
    used = {
        name.split(".")[1]
        for name in imports(ast.parse(path.read_text()), path)
        if name.startswith("lorecraft.")
    }
    below = {name for name in used & set(ORDER) if ORDER.index(name) > ORDER.index(folder_of(path))}
    assert not below, f"{name_of(path)} imports from below: {sorted(below)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_load_late_and_in_few_places(path: Path) -> None:
    tree = ast.parse(path.read_text())
    roots = {name.split(".")[0] for name in imports(tree, path)}
    at_once = {name.split(".")[0] for name in imports(at_module_level(tree), path)}
    if name_of(path).startswith("engines/torch/"):
        return
    assert not at_once & HEAVY, f"{name_of(path)} imports {at_once & HEAVY} when it is imported"
    if folder_of(path) not in ("models", "adapters"):
        assert not roots & HEAVY, f"{name_of(path)} imports {roots & HEAVY}"


def tree_paths(readme: str) -> list[str]:
    """Paths of the README's annotated tree: two spaces of indent a level, then the name."""
    block = re.search(r"```text\n(src/.*?|.*?\nsrc/.*?)```", readme, re.DOTALL)
    assert block, "the README has no tree"
    paths: list[str] = []
    around: list[str] = []
    for line in filter(str.strip, block[1].splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        around[depth:] = [line.split()[0]]
        paths.append("".join(around))
    return paths


def test_the_readme_s_tree_names_what_is_there() -> None:
    paths = tree_paths((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    named = {Path(path).name for path in paths}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= named
