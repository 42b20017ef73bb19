"""The tokens of a run are kept, and made anew for what has changed and for nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lorecraft.data.encode import encode_records
from lorecraft.errors import DataError
from lorecraft.models.find import find
from lorecraft.models.tokenizer import load_tokenizer
from lorecraft.runs import pipeline, prepare
from lorecraft.runs.progress import Silent
from lorecraft.runs.stage import encode_stage

WriteRecipe = Callable[..., Path]


def written(folder: Path) -> dict[str, int]:
    """When each file of tokens was written."""
    return {
        path.relative_to(folder / "tokens").as_posix(): path.stat().st_mtime_ns
        for path in folder.glob("tokens/*/*.arrow")
    }


def changed(folder: Path, before: dict[str, int]) -> set[str]:
    return {name for name, when in written(folder).items() if when != before[name]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the embedded model, whose template may be changed."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in find("pocket", None).iterdir():
        if path.suffix == ".safetensors":
            (folder / path.name).symlink_to(path)
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def own(write_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """A recipe with texts for the one stage and chats for the other."""
    texts = [json.dumps({"text": f"Light {n} is {n * 7} feet high."}) for n in range(30)]
    chats = [
        json.dumps({"prompt": f"How high is light {n}?", "completion": f"{n * 7} feet."})
        for n in range(30)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(texts[:25] + chats[:25]))
    (tmp_path / "valid.jsonl").write_text("\n".join(texts[25:] + chats[25:]))
    return write_recipe(
        knowledge=None,
        data={"train": "train.jsonl", "valid": "valid.jsonl", "general": "none"},
        stages=[{"kind": kind, "epochs": 1, "learning_rate": 0.01} for kind in ("cpt", "sft")],
    )


def test_a_changed_record_rebuilds_its_stage_s_file_only(own: Path) -> None:
    folder = pipeline.train(own, progress=Silent()).folder
    before = written(folder)
    assert set(before) == {f"{s}/{p}.arrow" for s in ("cpt", "sft") for p in ("train", "valid")}
    train = own.with_name("train.jsonl")
    train.write_text(train.read_text().replace('"21 feet."', '"22 feet."'))
    pipeline.train(own, progress=Silent())
    assert changed(folder, before) == {"sft/train.arrow"}


def test_what_is_the_same_is_not_tokenised_again(own: Path) -> None:
    folder = pipeline.train(own, progress=Silent()).folder
    before = written(folder)
    (folder / "data" / "prepared.json").unlink()
    (folder / "stages" / "02-sft" / "stage.json").unlink()
    pipeline.train(own, progress=Silent())
    assert changed(folder, before) == set()


def test_a_changed_template_rebuilds_all(write_recipe: WriteRecipe, model: Path) -> None:
    recipe = write_recipe(model={"path": str(model)})
    folder = pipeline.train(recipe, progress=Silent()).folder
    before = written(folder)
    template = next(path for path in model.iterdir() if path.suffix == ".jinja")
    template.write_text(template.read_text().replace("message.content + '", "message.content + ' "))
    pipeline.train(recipe, progress=Silent())
    assert changed(folder, before) == set(before)


def test_a_shorter_limit_rebuilds_all(own: Path) -> None:
    folder = pipeline.train(own, progress=Silent()).folder
    before = written(folder)
    own.write_text(own.read_text().replace("general: none", "general: none\n  max_length: 22"))
    pipeline.train(own, progress=Silent())
    assert changed(folder, before) == set(before)


def test_examples_from_the_cache_are_those_encoded_directly(write_recipe: WriteRecipe) -> None:
    path = write_recipe()
    folder = pipeline.prepare(path, progress=Silent()).folder
    tokenizer = load_tokenizer(find("pocket", None))
    for name, data in prepare.load(folder / "data", ["cpt", "sft"]).stages.items():
        for _ in range(2):
            stored = encode_stage(
                tokenizer, 512, folder / "data" / name, folder / "tokens" / name, Silent()
            )
            for records, examples in ((data.train, stored.train), (data.valid, stored.valid)):
                direct = encode_records(records, tokenizer, 512)
                assert len(examples) == len(direct)
                for mine, its in zip(examples, direct, strict=True):
                    assert mine.record == its.record
                    assert mine.tokens.tobytes() == its.tokens.tobytes()
                    assert mine.weight.tobytes() == its.weight.tobytes()


def test_long_texts_are_split_long_chats_cut_and_both_told(own: Path) -> None:
    train = own.with_name("train.jsonl")
    own.write_text(own.read_text().replace("  valid:", "  max_length: 64\n  valid:"))
    long = " and ".join(f"light {n} is {n * 7} feet high" for n in range(20))
    records = [{"text": long}, {"prompt": "How high?", "completion": long}]
    train.write_text("\n".join([train.read_text(), *map(json.dumps, records)]))
    folder = pipeline.train(own, progress=Silent()).folder
    cpt, sft = (json.loads(path.read_text()) for path in sorted(folder.glob("stages/*/stage.json")))
    assert cpt["lengths"] == ["1 of 26 records (3.8%) split into several of at most 64 tokens"]
    assert sft["lengths"] == ["1 of 26 records (3.8%) cut at 64 tokens, the rest is lost"]


def test_a_bad_record_leaves_no_tokens_behind(own: Path) -> None:
    train = own.with_name("train.jsonl")
    roles = [("wizard", "Hi"), ("assistant", "Ho")]
    bad = {"messages": [{"role": role, "content": content} for role, content in roles]}
    train.write_text(train.read_text() + "\n" + json.dumps(bad))
    folder = pipeline.prepare(own, progress=Silent()).folder
    with pytest.raises(DataError, match=r"train.jsonl line 51: .*wizard"):
        pipeline.train(own, progress=Silent())
    assert not list(folder.glob("tokens/sft/*"))
