"""Checkpoints are found, read and refused; the tokenizer does what the data part needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lorecraft.data.records import Message
from lorecraft.errors import ModelError
from lorecraft.models.find import find
from lorecraft.models.inspect import inspect
from lorecraft.models.tokenizer import load_tokenizer


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def test_the_embedded_model_is_found_by_its_name() -> None:
    info = inspect(find("pocket"))
    assert info.architecture == "Qwen3ForCausalLM"
    assert info.bytes < 12_000_000


def test_a_folder_is_found_by_its_path(tiny_model: Path) -> None:
    assert find(str(tiny_model)) == tiny_model


def test_a_checkpoint_is_described_without_being_loaded(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    info = inspect(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert info.parameters == model.num_parameters()
    assert (info.layers, info.hidden, info.context) == (2, 32, 256)


def test_other_weights_have_another_fingerprint(copy: Path) -> None:
    before = inspect(copy).fingerprint
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert inspect(copy).fingerprint != before


@pytest.mark.parametrize("name", ["no-such-model", "a/b/c", "./nowhere"])
def test_what_is_neither_folder_nor_hub_name_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no model"):
        find(name)


def test_a_hub_out_of_reach_is_said() -> None:
    with pytest.raises(ModelError, match="hub is out of reach"):
        find("lorecraft-tests/does-not-exist")


def test_a_folder_without_a_configuration_is_refused(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        find(str(copy))


def test_pickles_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle"):
        find(str(copy))


def test_no_weights_at_all_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        find(str(copy))


@pytest.mark.parametrize("kept", [0, 4, 500, -100])
def test_a_truncated_download_is_noticed(copy: Path, kept: int) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cut short"):
        find(str(copy))


def test_a_missing_shard_is_named(copy: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"model-00002\.safetensors"):
        find(str(copy))


def test_the_tokenizer_reads_back_what_it_writes(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert tokenizer.decode(tokenizer.encode("The keeper, 12 °C.")) == "The keeper, 12 °C."


def test_chat_ends_where_the_answer_begins(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    turns = [Message("user", "Who?"), Message("assistant", "Odile.")]
    prompt = tokenizer.chat(turns[:1], add_generation_prompt=True)
    whole = tokenizer.chat(turns, add_generation_prompt=False)
    assert whole[: len(prompt)] == prompt
    assert tokenizer.decode(whole[len(prompt) :]).strip() == "Odile."
    assert set(whole[len(prompt) :]) & tokenizer.stop_ids


def test_the_end_of_a_turn_stops_though_it_is_not_the_end_of_text(copy: Path) -> None:
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": "<|endoftext|>"}))
    (copy / "generation_config.json").unlink()
    tokenizer = load_tokenizer(copy)
    assert len(tokenizer.stop_ids) == 2


def test_without_a_chat_template_chat_is_refused(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load_tokenizer(copy).chat([Message("user", "a")], add_generation_prompt=True)


def test_a_template_s_own_refusal_is_passed_on() -> None:
    tokenizer = load_tokenizer(find("pocket"))
    with pytest.raises(ValueError, match="judge"):
        tokenizer.chat([Message("judge", "a")], add_generation_prompt=True)


def test_a_folder_without_a_tokenizer_is_refused(copy: Path) -> None:
    for path in copy.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_tokenizer(copy)


def test_the_fingerprint_follows_the_template(copy: Path) -> None:
    before = load_tokenizer(copy).fingerprint
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert load_tokenizer(copy).fingerprint != before
