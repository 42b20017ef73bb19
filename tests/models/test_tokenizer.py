"""The tokenizer: where turns end, what is refused, and what no model may do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lorecraft.data.encode import encode_record
from lorecraft.data.records import Message, Record
from lorecraft.errors import DataError, ModelError
from lorecraft.models.tokenizer import load_tokenizer

ASKED = [Message("user", "Who?")]
STRICT = (
    "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
)


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)


def token(folder: Path, text: str) -> int:
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return next(entry["id"] for entry in vocabulary if entry["content"] == text)


def test_ids_are_plain_numbers(tiny_model: Path) -> None:
    ids = load_tokenizer(tiny_model).chat(ASKED, add_generation_prompt=True)
    assert {type(id_) for id_ in ids} == {int}


def test_a_refused_role_is_named(copy: Path) -> None:
    write_template(copy, STRICT)
    with pytest.raises(DataError, match=r"System role not supported \(roles: system, user\)"):
        load_tokenizer(copy).chat([Message("system", "Be kind."), *ASKED], True)


@pytest.mark.parametrize(
    ("template", "message"),
    [("{% for m in %}", "is broken"), ("{{ raise_exception('no') }}", "refuses a question")],
)
def test_a_template_that_renders_nothing_is_refused(
    copy: Path, template: str, message: str
) -> None:
    write_template(copy, template)
    with pytest.raises(ModelError, match=message):
        _ = load_tokenizer(copy).stop_ids


@pytest.mark.parametrize("special", [True, False])
def test_the_end_of_turn_need_not_be_declared_special(copy: Path, special: bool) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    for entry in content["added_tokens"]:
        entry["special"] = special
    (copy / "tokenizer.json").write_text(json.dumps(content))
    change(copy / "tokenizer_config.json", eos_token="<|endoftext|>")
    (copy / "generation_config.json").unlink()
    assert token(copy, "<|im_end|>") in load_tokenizer(copy).stop_ids


def test_the_end_of_turn_is_found_where_the_last_turn_is_written_otherwise(copy: Path) -> None:
    write_template(copy, THINKING)
    change(copy / "tokenizer_config.json", eos_token="<|endoftext|>")
    (copy / "generation_config.json").unlink()
    expected = {token(copy, "<|endoftext|>"), token(copy, "<|im_end|>")}
    assert load_tokenizer(copy).stop_ids == expected


def test_a_template_without_an_end_of_turn_adds_no_stop(copy: Path) -> None:
    write_template(copy, "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    assert load_tokenizer(copy).stop_ids == {token(copy, "<|im_end|>")}


@pytest.mark.parametrize("ends", [0, [0, 1]])
def test_the_generation_configuration_s_ends_stop_too(copy: Path, ends: Any) -> None:
    change(copy / "generation_config.json", eos_token_id=ends)
    assert load_tokenizer(copy).stop_ids >= set([ends] if ends == 0 else ends)


def test_a_tokenizer_without_an_end_of_text_is_refused(copy: Path) -> None:
    change(copy / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="no end-of-text token"):
        _ = load_tokenizer(copy).stop_ids


def test_text_begins_as_the_model_expects_and_does_not_end_by_itself(copy: Path) -> None:
    start, end = ("<|im_start|>", token(copy, "<|im_start|>")), ("<|im_end|>", 2)
    assert end[1] == token(copy, "<|im_end|>")
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": start[0], "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": end[0], "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            name: {"id": name, "ids": [id_], "tokens": [name]} for name, id_ in (start, end)
        },
    }
    plain = load_tokenizer(copy).encode("The tide.")
    change(copy / "tokenizer.json", post_processor=template)
    assert load_tokenizer(copy).encode("The tide.") == [start[1], *plain]


def test_decoding_leaves_spaces_as_they_are(copy: Path) -> None:
    change(copy / "tokenizer_config.json", clean_up_tokenization_spaces=True)
    tokenizer = load_tokenizer(copy)
    text = "It is n't 1 , 2 . Or 3 ?"
    assert tokenizer.decode([*tokenizer.encode(text), tokenizer.eos_id]) == text


def test_the_fingerprint_does_not_follow_use(copy: Path) -> None:
    padded = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None}
    padded |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"}
    change(copy / "tokenizer.json", padding=padded)
    used = load_tokenizer(copy)
    used.encode("The tide.")
    assert used.fingerprint == load_tokenizer(copy).fingerprint


def test_the_fingerprint_follows_the_vocabulary_and_its_settings(copy: Path) -> None:
    before = load_tokenizer(copy).fingerprint
    change(copy / "tokenizer_config.json", eos_token="<|endoftext|>")
    other_end = load_tokenizer(copy).fingerprint
    change(copy / "tokenizer.json", normalizer={"type": "NFC"})
    assert len({before, other_end, load_tokenizer(copy).fingerprint}) == 3


@pytest.mark.parametrize("broken", ["{", '{"model": 1}', "[]"])
def test_a_broken_tokenizer_is_refused(copy: Path, broken: str) -> None:
    (copy / "tokenizer.json").write_text(broken)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(copy)


def test_a_model_s_own_code_is_never_run(copy: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (copy / "own.py").write_text(
        f"open({str(trace)!r}, 'w')\n"
        "from transformers import PreTrainedTokenizerFast\n"
        "class Own(PreTrainedTokenizerFast): pass\n"
    )
    change(
        copy / "tokenizer_config.json",
        tokenizer_class="Own",
        auto_map={"AutoTokenizer": [None, "own.Own"]},
    )
    change(copy / "config.json", model_type="own")
    try:
        load_tokenizer(copy)
    except ModelError as error:
        assert "cannot be loaded" in error.seen
    assert not trace.exists()


def test_a_model_s_own_way_of_cutting_words_goes_before_that_of_its_file(tmp_path: Path) -> None:
    """Qwen2's tokenizer takes digits one by one, whatever tokenizer.json says."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    own.train_from_iterator(["2026 2026 2026"], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<|endoftext|>")
    wrapped.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).encode("2026") == own.encode("2026").ids
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    loaded = load_tokenizer(tmp_path)
    assert len(loaded.encode("2026")) == 4 > len(own.encode("2026").ids)
    assert loaded.decode(loaded.encode("2026")) == "2026"


@pytest.mark.parametrize("pad", ["<|endoftext|>", "<|im_end|>"])
def test_the_end_of_a_turn_is_trained_also_where_it_pads(copy: Path, pad: str) -> None:
    """Stock templates mark no assistant's turn, and many models pad with what ends a text."""
    change(copy / "tokenizer_config.json", pad_token=pad)
    assert "{% generation" not in (copy / "chat_template.jinja").read_text()
    tokenizer = load_tokenizer(copy)
    messages = (Message("user", "Who?"), Message("assistant", "The keeper."))
    ((chat, _, _),) = encode_record(Record("r", messages), tokenizer, 99)
    trained = chat.tokens[chat.weight > 0].tolist()
    assert trained == [*tokenizer.encode("The keeper."), token(copy, "<|im_end|>")]
    ((text, _, _),) = encode_record(Record("r", text="The tide."), tokenizer, 99)
    assert (text.tokens[-1], text.weight[-1]) == (tokenizer.eos_id, 1)


@pytest.mark.parametrize(
    "switch", ["enable_thinking is false", "not thinking|default(true)", "skip_reasoning"]
)
def test_thinking_can_be_switched_off(copy: Path, switch: str) -> None:
    closed = f"{{% if {switch} %}}{{{{ '\\n\\n</think>\\n\\n' }}}}{{% endif %}}{{% endif %}}"
    write_template(copy, THINKING.removesuffix("{% endif %}") + closed)
    thinks, answers = load_tokenizer(copy), load_tokenizer(copy, thinking=False)
    turn = [*ASKED, Message("assistant", "I.")]
    prompt = answers.chat(ASKED, add_generation_prompt=True)
    assert answers.chat(turn, False)[: len(prompt)] == prompt  # it is trained as it is asked
    assert answers.decode(prompt).endswith("</think>\n\n")
    assert thinks.decode(thinks.chat(ASKED, True)).endswith("<think>")
    assert load_tokenizer(copy, thinking=True).chat(ASKED, True) == thinks.chat(ASKED, True)
    assert thinks.fingerprint != answers.fingerprint


def test_pieces_are_a_text_within_another(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert tokenizer.pieces("<|im_end|>") == (token(tiny_model, "<|im_end|>"),)
