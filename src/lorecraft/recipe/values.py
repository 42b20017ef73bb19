"""What a value of a recipe may be: paths that are looked up, templates, numbers with bounds."""

from __future__ import annotations

import difflib
import re
from glob import has_magic
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

HUB = "hf:"
"""What a data set of the hub is told by."""
COLUMN = r"\{([^{}]+)\}"
"""A column's name in a template."""
USUAL = 3
"""Wordings of each thing in a kind of tellings that is only named."""
MAGIC = set(r"\.^$*+?{}[]|()")
"""What tells a regular expression from a name."""


def _input_file(path: Path, info: ValidationInfo) -> Path:
    """Resolve against the folder of the recipe, given as context; refuse what is not a file."""
    if info.context is None:
        return path
    path = (info.context["folder"] / path.expanduser()).resolve()
    if path.is_dir():
        raise PydanticCustomError("path", "expected a file, but {path} is a folder", {"path": path})
    if not path.is_file():
        raise _missing(path)
    return path


def _missing(path: Path) -> PydanticCustomError:
    hint = ""
    if path.parent.is_dir():
        names = [entry.name for entry in path.parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
    return PydanticCustomError("path", "no such file: {path}{hint}", {"path": path, "hint": hint})


def _files(where: str, info: ValidationInfo) -> str:
    """A file, a folder or a glob, resolved against the folder of the recipe."""
    if info.context is None:
        return where
    path = (info.context["folder"] / Path(where).expanduser()).resolve()
    if not path.exists() and not has_magic(where):
        raise _missing(path)
    return str(path)


def _tables(where: str | None, info: ValidationInfo) -> str | None:
    """Files, or the URL of a database."""
    return where if where is None or "://" in where else _files(where, info)


def _dataset(where: str, info: ValidationInfo) -> str:
    """Files, or a data set of the hub."""
    if not where.startswith(HUB):
        return _files(where, info)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", where.removeprefix(HUB), re.ASCII):
        raise PydanticCustomError("path", "expected hf:owner/name, saw {seen}", {"seen": where})
    return where


def _endpoint(where: str) -> str:
    # A password in it, or a key, would stand in the run's folder.
    host, path = r"([\w.-]+|\[[\da-f:.]+\])", r"(/[\w.~%+:@/-]*)?"
    if where != "base":
        if not re.fullmatch(rf"https?://{host}(:\d+)?{path}", where, re.ASCII | re.IGNORECASE):
            raise ValueError
        _ = urlsplit(where).port  # raises ValueError for one that there cannot be
    return where


def _key_name(name: str | None) -> str | None:
    """A key itself would stand in the run's folder."""
    if name is not None and not re.fullmatch(r"\$\w+", name):
        raise PydanticCustomError(
            "path", "expected the name of an environment variable that holds it, as $API_KEY"
        )
    return name


def _package(name: str, info: ValidationInfo) -> str:
    """Tell a folder or file with a package from a package's name; a path becomes absolute."""
    if info.context is None or re.fullmatch(r"\w+(\.\w+)*", name):
        return name
    path = (info.context["folder"] / Path(name).expanduser()).resolve()
    if not path.exists():
        raise _missing(path)
    return str(path)


def _several(given: Any) -> Any:
    """One where several may stand."""
    return (given,) if isinstance(given, str) else sealed(given)


def _each(given: Any) -> Any:
    """A list of names, each with the usual count."""
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return dict.fromkeys(given, USUAL)
    return given


def _template(template: str | None) -> str | None:
    """A template without a column would be the same for each record."""
    if template is not None and not fields_of(template):
        raise PydanticCustomError(
            "path", "no column in it; put the column's name in braces and the whole in quotes"
        )
    return template


def fields_of(template: str) -> list[str]:
    """The columns that a template names: ``["question"]`` for ``"Solve: {question}"``."""
    return re.findall(COLUMN, template)


def path_alone(given: Any) -> Any:
    return {"path": given} if isinstance(given, str) else given


def _output_folder(path: Path, info: ValidationInfo) -> Path:
    return path if info.context is None else path.expanduser().absolute()


def _model_path(path: str, info: ValidationInfo) -> str:
    """Tell a folder from the name of a model on the hub; a folder becomes absolute."""
    if info.context is None or path == "pocket":
        return path
    folder = (info.context["folder"] / Path(path).expanduser()).resolve()
    if folder.is_dir():
        return str(folder)
    if path.startswith((".", "~", "/")) or path.count("/") > 1:
        raise PydanticCustomError("path", "no such folder: {path}", {"path": str(folder)})
    return path


def _expression(pattern: str) -> str:
    """A regular expression; a plain word is none, and more likely a name."""
    if not set(pattern) & MAGIC:
        raise ValueError
    try:
        re.compile(pattern)
    except re.error as error:
        raise PydanticCustomError(
            "path",
            "no regular expression: {pattern} ({why})",
            {"pattern": pattern, "why": str(error)},
        ) from None
    return pattern


def _ending(pattern: str) -> str:
    """A name, or a regular expression."""
    return _expression(pattern) if set(pattern) & MAGIC else pattern


def sealed(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


# A string among the annotations is what the reference and the errors call such a value.
InputFile = Annotated[Path, AfterValidator(_input_file), "a file"]
OutputFolder = Annotated[Path, AfterValidator(_output_folder), "a folder"]
Dataset = Annotated[str, AfterValidator(_dataset), f"a file, a folder, a glob or {HUB}owner/name"]
Tables = Annotated[str, AfterValidator(_tables), "a file, a folder, a glob or a database's URL"]
Documents = Annotated[
    tuple[Annotated[str, AfterValidator(_files)], ...],
    BeforeValidator(_several),
    "a file, a folder or a glob; or a list of them",
]
Texts = Annotated[
    tuple[Annotated[str, MinLen(1)], ...], BeforeValidator(_several), "a text; or a list of them"
]
EndpointUrl = Annotated[
    str, AfterValidator(_endpoint), "`base`, or a URL such as http://localhost:8000/v1"
]
KeyName = Annotated[
    str | None, AfterValidator(_key_name), "the name of an environment variable, as $API_KEY"
]
Price = Annotated[
    tuple[Annotated[float, Ge(0)], Annotated[float, Ge(0)]],
    BeforeValidator(sealed),
    "a list of two numbers",
]
Packages = Annotated[
    tuple[Annotated[str, AfterValidator(_package)], ...],
    BeforeValidator(_several),
    "the name of an installed package, or a folder (./src/package); or a list of them",
]
Asked = Literal[
    "inferred",
    "multi_hop",
    "inverse",
    "lists",
    "compare",
    "yes_no",
    "false_premise",
    "follow_up",
    "identity",
]
AskedKinds = Annotated[tuple[Asked, ...], BeforeValidator(sealed)]
AskedShares = Annotated[dict[Asked, Annotated[float, Ge(0), Le(1)]], "kinds with shares of 0 to 1"]
Kinds = Annotated[
    dict[Asked | Literal["across"], Annotated[int, Ge(1)]],
    BeforeValidator(_each),
    "a list of kinds, or kinds with whole numbers of at least 1",
]
ModelPath = Annotated[str, AfterValidator(_model_path)]
Template = Annotated[str, AfterValidator(_template), 'a template such as "{column}", in quotes']
Expression = Annotated[
    str, AfterValidator(_expression), r"a regular expression such as '.*\.[qv]_proj'"
]
Ending = Annotated[str, AfterValidator(_ending)]
FolderName = Annotated[str, Field(pattern=r"^\w[\w.-]*$"), "letters, digits, '-', '_' and '.'"]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Number = Annotated[int, Ge(0)]
