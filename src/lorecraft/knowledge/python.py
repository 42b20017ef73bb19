"""What a Python package says of itself, read from its source: nothing is imported or run."""

from __future__ import annotations

import ast
import gc
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Literal

from lorecraft.errors import DataError

Kind = Literal["module", "class", "function"]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_LEFT_OUT = {"tests", "test", "testing", "_vendor", "vendor", "site-packages", "node_modules"}
_NO_PACKAGES = {"src", "lib", "python"}
_POOL_FROM = 300
"""Files from which on a pool of processes is faster than one."""
_CHAIN = 10
"""Longest chain of re-exports that is followed."""


@dataclass(frozen=True)
class Documented:
    """A module, class or function with a docstring.

    Attributes:
        name: as a user would import it (``httpx.Client.get``).
        signature: parameters as they are written, without ``self``; of a class those of
            ``__init__``; ``""`` for a module.
        doc: the docstring, its indentation taken off.
        place: file and line.
    """

    kind: Kind
    name: str
    signature: str
    doc: str
    place: str


@dataclass(frozen=True)
class _Module:
    """What one file holds: its objects, and what it imports from elsewhere by which name."""

    name: str
    found: tuple[Documented, ...]
    imported: dict[str, str]
    stars: tuple[str, ...]
    names: frozenset[str]
    is_package: bool


def documented(package: str) -> list[Documented]:
    """All that is documented in a package, in the order of its files; each name once.

    Private names, tests and files that are not Python's grammar are passed over. What a package
    imports into its own namespace is named after that: ``httpx.Client``, not
    ``httpx._client.Client``.

    Args:
        package: an installed package or module, or a folder or file with one.

    Raises:
        DataError: there is no such package, or nothing in it has a docstring.
    """
    files = source_files(package)
    read = partial(_read, _above(package))
    if len(files) < _POOL_FROM:
        modules = [module for file in files if (module := read(file))]
    else:
        # A syntax tree is many objects and no cycles: to look for some takes a quarter of the time.
        with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), initializer=gc.disable) as pool:
            modules = [module for module in pool.map(read, files, chunksize=32) if module]
    public = _public_names(modules)
    found: dict[str, Documented] = {}
    for item in chain.from_iterable(module.found for module in modules):
        name = _renamed(item.name, public)
        if "._" not in name:
            found.setdefault(name, replace(item, name=name))
    if not found:
        raise DataError(
            f"{package}: nothing in its {len(files)} files has a docstring",
            "a package with Python sources or stubs (.py, .pyi)",
        )
    return list(found.values())


def source_files(package: str) -> list[Path]:
    """The Python files of a package, sorted; a stub only where there is no source.

    Raises DataError when there is no such package, or it has none.
    """
    root = _root(package)
    paths = [root] if root.is_file() else sorted(p for p in root.rglob("*.py*") if p.is_file())
    files = [
        path
        for path in paths
        if path.suffix == ".py" or (path.suffix == ".pyi" and not path.with_suffix(".py").exists())
        if not _LEFT_OUT & set(path.relative_to(root).parts)
    ]
    if not files:
        raise DataError(f"{package}: no Python sources in {root}", "a package with .py or .pyi")
    return files


def _root(package: str) -> Path:
    path = Path(package)
    if path.is_absolute():
        return path
    top, *inner = package.split(".")
    try:
        spec = find_spec(top)  # of a top-level name, nothing is imported
    except (ImportError, ValueError):
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        root = Path(folder, *inner)
        if root.is_dir():
            return root
        for file in (root.with_suffix(".py"), root.with_suffix(".pyi")):
            if inner and file.is_file():
                return file
    if spec and spec.origin and spec.origin.endswith(".py") and not inner:
        return Path(spec.origin)
    raise DataError(
        f"no Python package {package!r} is installed here",
        "the name that it is imported by, or a folder with its sources",
        f"pip install {top}, or python: ./path/to/{top}",
    )


def _above(package: str) -> Path:
    """The folder that names start in: the one that would be on the path of imports."""
    root = _root(package)
    if not Path(package).is_absolute():
        return root.parents[package.count(".")]
    if root.is_dir() and (not root.name.isidentifier() or root.name in _NO_PACKAGES):
        return root
    above = root.parent
    while (above / "__init__.py").exists():
        above = above.parent
    return above


def _read(above: Path, path: Path) -> _Module | None:
    """One file; None when it cannot be parsed."""
    relative = path.relative_to(above)
    parts = [*relative.parent.parts, relative.stem]
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    around = name if is_package else name.rpartition(".")[0]
    imported, stars = _imports(tree, around)
    place = relative.as_posix()
    doc = ast.get_docstring(tree)
    module = [Documented("module", name, "", doc, f"{place} line 1")] if doc else []
    names = frozenset(n.name for n in _definitions(tree.body) if not n.name.startswith("_"))
    return _Module(
        name, (*module, *_objects(tree.body, name, place)), imported, stars, names, is_package
    )


def _under_conditions(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, those under a condition (``if TYPE_CHECKING:``) as well."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handlers = node.handlers if isinstance(node, ast.Try) else []
            bodies = (node.body, node.orelse, *(handler.body for handler in handlers))
            yield from _under_conditions(chain(*bodies))
        else:
            yield node


def _definitions(body: Iterable[ast.stmt]) -> Iterator[Definition]:
    return (node for node in _under_conditions(body) if isinstance(node, Definition))


def _objects(body: Iterable[ast.stmt], around: str, place: str) -> Iterator[Documented]:
    for node in _definitions(body):
        if node.name.startswith("_"):
            continue
        name = f"{around}.{node.name}"
        doc = ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            if doc:
                yield Documented("class", name, _of_class(node), doc, f"{place} line {node.lineno}")
            yield from _objects(node.body, name, place)
        elif doc:
            yield Documented(
                "function", name, _parameters(node), doc, f"{place} line {node.lineno}"
            )


def _of_class(node: ast.ClassDef) -> str:
    made = (n for n in _definitions(node.body) if n.name == "__init__")
    init = next(made, None)
    return _parameters(init) if init and not isinstance(init, ast.ClassDef) else ""


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = node.args
    first = [*arguments.posonlyargs, *arguments.args][:1]
    if first and first[0].arg in ("self", "cls"):
        (arguments.posonlyargs or arguments.args).pop(0)
    return ast.unparse(arguments)


def _imports(tree: ast.Module, around: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is imported by name, name -> where it is from; and what is imported as a whole."""
    imported: dict[str, str] = {}
    stars: list[str] = []
    for node in _under_conditions(tree.body):
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = around.split(".")
        above = parts[: len(parts) - node.level + 1] if node.level else []
        module = ".".join([*above, *filter(None, [node.module])])
        for alias in node.names:
            if alias.name == "*":
                stars.append(module)
            elif not (alias.asname or alias.name).startswith("_"):
                imported[alias.asname or alias.name] = f"{module}.{alias.name}"
    return imported, tuple(stars)


def _public_names(modules: Sequence[_Module]) -> dict[str, str]:
    """Where an object is defined -> the shortest name under which its package offers it."""
    by_name = {module.name: module for module in modules}
    public: dict[str, str] = {}

    def origin(name: str, left: int = _CHAIN) -> str:
        module, _, last = name.rpartition(".")
        further = by_name[module].imported.get(last) if module in by_name else None
        return origin(further, left - 1) if further and left else name

    for module in modules:
        if not module.is_package:
            continue
        offered = dict(module.imported)
        for star in module.stars:
            for name in by_name[star].names if star in by_name else ():
                offered.setdefault(name, f"{star}.{name}")
        for name, source in offered.items():
            defined, here = origin(source), f"{module.name}.{name}"
            home = by_name.get(defined.rpartition(".")[0])
            if home is None or defined.rpartition(".")[2] not in home.names:
                continue
            if _plainness(here) < _plainness(public.get(defined, defined)):
                public[defined] = here
    return public


def _plainness(name: str) -> tuple[bool, int, str]:
    return any(part.startswith("_") for part in name.split(".")), name.count("."), name


def _renamed(name: str, public: dict[str, str]) -> str:
    """The public name of an object, or of the class that it is in."""
    if name in public:
        return public[name]
    owner, _, last = name.rpartition(".")
    return f"{public[owner]}.{last}" if owner in public else name
