"""A recipe and a run are audited as any data: their stages, their exam, their facts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lorecraft.cli.targets import mapping
from lorecraft.data import hub_sets
from lorecraft.data.records import Message
from lorecraft.errors import DataError
from lorecraft.knowledge.files import SourceFile
from lorecraft.models.find import find
from lorecraft.runs import auditing, pipeline
from lorecraft.runs.progress import Silent

Write = Callable[..., Path]


def test_a_recipe_is_audited_without_leaving_anything(write_recipe: Write) -> None:
    recipe = write_recipe()
    with auditing.opened([str(recipe)]) as audited:
        found = auditing.run(audited)
    names = [split.name for split in found.rows.splits]
    assert names == ["cpt/train", "cpt/valid", "sft/train", "sft/valid", "exam"]
    assert found.figures["lengths"]["unit"] == "tokens"
    assert found.figures["lengths"]["limit"] == 512
    assert [f.text for f in found.findings if f.severity == "error"] == []
    assert not (recipe.parent / "runs").exists()


def test_the_tokens_are_those_of_the_recipe_s_way_to_think(
    write_recipe: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "thinker"
    shutil.copytree(find("pocket"), folder)
    template = folder / "chat_template.jinja"
    switch = "{% if enable_thinking is defined and not enable_thinking %}[no thought]{% endif %}"
    template.write_text(switch + template.read_text())
    recipe = write_recipe(model={"path": str(folder), "thinking": False})
    with auditing.opened([str(recipe)]) as audited:
        assert audited.tokenizer is not None
        ids = audited.tokenizer().chat([Message("user", "Who?")], True)
        assert "[no thought]" in audited.tokenizer().written(ids)


def test_a_run_is_audited_as_it_stands(write_recipe: Write) -> None:
    folder = pipeline.prepare(write_recipe(), progress=Silent()).folder
    train = folder / "data" / "sft" / "train.jsonl"
    lines = train.read_text().splitlines()
    record = json.loads(lines[3])
    record["messages"][-1]["content"] = "Something else altogether."
    train.write_text("\n".join([*lines, json.dumps(record), "{broken"]) + "\n")
    with auditing.opened([str(folder)]) as audited:
        found = auditing.run(audited)
    places = {
        finding.check: [found.rows.place(i) for i in finding.spots[0].rows]
        for finding in found.findings
        if finding.spots
    }
    assert places["different answers"][0] == "sft/train.jsonl line 4"
    assert places["unreadable"] == [f"sft/train.jsonl line {len(lines) + 2}"]


def test_a_run_without_some_of_its_data_is_told_to_prepare_them(write_recipe: Write) -> None:
    folder = pipeline.prepare(write_recipe(), progress=Silent()).folder
    (folder / "data" / "sft" / "valid.jsonl").unlink()
    with (
        pytest.raises(DataError, match=r"valid\.jsonl(.|\n)*--from prepare"),
        auditing.opened([str(folder)]),
    ):
        pass


def test_a_run_s_own_audit_names_what_is_found(write_recipe: Write) -> None:
    recipe = write_recipe(data={"train": "own.jsonl", "general": "general.jsonl"})
    own = [
        {"prompt": f"What stands in letter {i} of the archive?", "completion": said}
        for i, said in enumerate(["A key: AKIAQ3EGRTYU7XKLMNOP", *["Nothing of note."] * 30])
    ]
    (recipe.parent / "own.jsonl").write_text("\n".join(map(json.dumps, own)))
    folder = pipeline.prepare(recipe, progress=Silent()).folder
    found = json.loads((folder / "data" / "audit.json").read_text())["findings"]
    [secret] = [finding for finding in found if finding["check"] == "secrets"]
    assert secret["spots"][0]["places"] == ["own.jsonl line 1"]


def test_a_data_set_of_the_hub_is_audited_in_all_its_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "The same in both."}\n')

    def fetch(name: str, config: str | None, split: str, revision: str | None) -> list[SourceFile]:
        path = tmp_path / f"{split}.jsonl"
        if not path.exists():
            raise DataError(f"no split '{split}'")
        return [SourceFile(path, path.name)]

    monkeypatch.setattr(hub_sets, "fetch", fetch)
    with auditing.opened(["hf:owner/name"], mapping(["split=test"])) as audited:
        assert [split.name for split in audited.splits] == ["test"]
    with auditing.opened(["hf:owner/name"]) as audited:
        found = auditing.run(audited)
    assert [split.name for split in found.rows.splits] == ["train", "test"]
    assert [f.check for f in found.findings] == ["duplicates"]
