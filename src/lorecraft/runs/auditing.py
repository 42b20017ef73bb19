"""What is audited: files, folders and data sets of the hub, or a recipe's or a run's own data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from lorecraft.data import hub_sets
from lorecraft.data.audit.audit import Audit, audit, checks
from lorecraft.data.audit.check import Check
from lorecraft.data.audit.contradictions import Contradictions
from lorecraft.data.audit.gates import Gates, GatesSection
from lorecraft.data.audit.lengths import Lengths, Tokens
from lorecraft.data.audit.rows import Rows, Split
from lorecraft.errors import DataError
from lorecraft.evaluation.questions import Question
from lorecraft.hub import Unreachable
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.files import SourceFile, files_at
from lorecraft.knowledge.ontology import Ontology
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.rows import SUFFIXES
from lorecraft.models.find import preview
from lorecraft.models.tokenizer import HFTokenizer, load_tokenizer
from lorecraft.recipe import DataSection, ModelSection, RecordsSection
from lorecraft.recipe.values import HUB
from lorecraft.runs.directory import resolve
from lorecraft.runs.files import read_lines, write_text
from lorecraft.runs.prepare import prepare, read_knowledge, save
from lorecraft.runs.progress import Progress, Silent


@dataclass(frozen=True)
class Audited:
    """What an audit is made of.

    Attributes:
        tokenizer: loads the tokenizer by whose tokens lengths are told, if by any.
        limit: the longest record, in tokens if there is a tokenizer, in words otherwise.
    """

    splits: tuple[Split, ...]
    tokenizer: Callable[[], HFTokenizer] | None = None
    limit: int | None = None
    facts: tuple[Fact, ...] = ()
    ontology: Ontology | None = None


@contextmanager
def opened(targets: Sequence[str], section: RecordsSection | None = None) -> Iterator[Audited]:
    """A recipe or a run's folder, or any files. What is made for it is gone at the end.

    Raises DataError for files that are not there, and what a recipe raises.
    """
    recipes = [path for path in map(Path, targets) if _is_recipe(path)]
    if recipes and len(targets) > 1:
        raise DataError(
            f"{recipes[0]} and other data", "a recipe or a run's folder alone, or any files"
        )
    if recipes:
        with TemporaryDirectory(prefix="lorecraft-") as folder:
            yield _of_recipe(recipes[0], Path(folder))
    else:
        yield Audited(tuple(_distinct(split for t in targets for split in _splits(t, section))))


def run(
    audited: Audited, gates: GatesSection | None = None, *, progress: Progress | None = None
) -> Audit:
    """Every check that what is there allows."""
    rows = Rows(audited.splits)
    more: list[Check] = []
    if audited.tokenizer:
        assert audited.limit is not None
        more.append(Tokens(audited.tokenizer, audited.limit))
    else:
        more.append(Lengths(audited.limit))
    if audited.ontology:
        more.append(Contradictions(audited.facts, audited.ontology))
    if gates:
        more.append(Gates(gates))
    with (progress or Silent()).stage("audit", len(rows), "records") as bar:
        return audit(rows, checks(more), bar.advance)


def tokenizer_of(model: ModelSection) -> Callable[[], HFTokenizer]:
    """Raises ModelError when there is no such model, or the hub cannot be asked for it."""
    load = partial(load_tokenizer, preview(model.path, model.revision).folder, model.thinking)
    load()
    return load


def measured(audited: Audited, model: str | None, limit: int | None) -> Audited:
    """The same, its lengths told in a model's tokens, or against another limit."""
    limit = limit or audited.limit
    if model is None:
        return replace(audited, limit=limit)
    limit = limit or int(DataSection.model_fields["max_length"].default)
    return replace(audited, tokenizer=tokenizer_of(ModelSection(path=model)), limit=limit)


def with_facts(audited: Audited, facts: Path, ontology: Path) -> Audited:
    """The same, held against facts. Raises DataError."""
    return replace(audited, facts=load_facts(facts), ontology=load_ontology(ontology))


def _is_recipe(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (path / "recipe.yaml").is_file()


def _splits(target: str, section: RecordsSection | None) -> Iterator[Split]:
    """A file is a split; of a folder or a data set of the hub, files that name the same split."""
    mapped = section if section and section.columns() else None
    if target.startswith(HUB):
        yield from _of_hub(target.removeprefix(HUB), section, mapped)
        return
    if not Path(target).exists() and not any(letter in target for letter in "*?["):
        raise DataError(
            f"no such file or folder: {target}",
            f"a file in {', '.join(SUFFIXES)}, a folder or a glob of them, {HUB}owner/name, "
            "a recipe or a run's folder",
        )
    files = files_at(target, SUFFIXES)
    if len(files) == 1:
        yield Split(files[0].path.stem, tuple(files), mapped)
        return
    parts: dict[str, list[SourceFile]] = {name: [] for name in hub_sets.SPLITS}
    for file in files:
        parts.setdefault(hub_sets.split_named(file.name) or "", []).append(file)
    parts = {name: some for name, some in parts.items() if some}
    whole = Path(target).name if parts.keys() == {""} else "others"
    for name, some in parts.items():
        yield Split(name or whole, tuple(some), mapped)


def _of_hub(
    name: str, section: RecordsSection | None, mapped: RecordsSection | None
) -> Iterator[Split]:
    wanted = section or RecordsSection(path=f"{HUB}{name}")
    if wanted.streaming or wanted.rows:
        raise DataError(
            "an audit of a data set that is streamed, or of its first rows",
            "all of it, which is downloaded once",
            "leave --map streaming and rows out, or audit a recipe that names them",
        )
    given = section is not None and "split" in section.model_fields_set
    missing: DataError | None = None
    found = False
    for split in (wanted.split,) if given else hub_sets.SPLITS:
        try:
            files = hub_sets.fetch(name, wanted.config, split, wanted.revision)
        except DataError as error:
            missing = missing or error
            continue
        found = True
        yield Split(split, tuple(files), mapped)
    if missing and not found:
        raise missing


def _distinct(splits: Iterator[Split]) -> Iterator[Split]:
    """No two of one name, and no two files of one: then their whole paths name them."""
    several = list(splits)
    files = [file.name for split in several for file in split.files]
    for split in several:
        if sum(other.name == split.name for other in several) > 1:
            split = replace(split, name=str(split.files[0].path))
        named = tuple(
            replace(file, name=str(file.path)) if files.count(file.name) > 1 else file
            for file in split.files
        )
        yield replace(split, files=named)


def _of_recipe(target: Path, folder: Path) -> Audited:
    """The data of every stage and the exam: those in a run's folder, or prepared now."""
    recipe, directory = resolve(target)
    names = list(directory.stages(recipe))
    data = directory.data
    if not (target.is_dir() and data.is_dir()):
        data = folder / "data"
        save(prepare(recipe, names), data)
    parts = [(name, part) for name in names for part in ("train", "valid")]
    paths = [data / name / f"{part}.jsonl" for name, part in parts]
    if missing := [path for path in (*paths, data / "exam.jsonl") if not path.is_file()]:
        raise DataError(
            f"no {missing[0]}",
            "the data of every stage, and the exam",
            f"lorecraft resume {target} --from prepare",
        )
    splits = [
        Split(f"{name}/{part}", (SourceFile(path, f"{name}/{path.name}"),), stage=name, ours=True)
        for (name, part), path in zip(parts, paths, strict=True)
        if path.stat().st_size
    ]
    asked = folder / "exam.jsonl"
    questions = list(map(Question.from_json, read_lines(data / "exam.jsonl")))
    # Facts' own sentences are trained word for word; a blank line keeps the numbers of the others.
    prompts = (json.dumps({"prompt": q.prompt}) if q.phrasing else "" for q in questions)
    write_text(asked, "\n".join(prompts))
    if any(question.phrasing for question in questions):
        splits.append(Split("exam", (SourceFile(asked, "exam.jsonl"),)))
    facts, ontology = read_knowledge(recipe.knowledge)
    found = Audited(tuple(splits), facts=facts, ontology=ontology)
    try:
        tokenizer = tokenizer_of(recipe.model)
    except Unreachable:
        return found
    return replace(found, tokenizer=tokenizer, limit=recipe.data.max_length)
