"""Each check finds what was planted, with its place, and does not cry wolf on clean data."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from lorecraft.data.audit.audit import audit, checks
from lorecraft.data.audit.lengths import Lengths
from lorecraft.data.audit.rows import Rows, Split
from lorecraft.knowledge.files import SourceFile

from .conftest import Look, Write
from .planted import Row, chat, clean, found

NOTES = Path(__file__).parents[3] / "examples" / "notes"


def test_nothing_is_found_in_clean_data(look: Look) -> None:
    assert look(clean(40), clean(10, seed=1)).findings == []


def test_nothing_is_found_in_the_notes() -> None:
    splits = [
        Split(name, (SourceFile(NOTES / f"{name}.jsonl", name),))
        for name in ("train", "valid", "test")
    ]
    seen = audit(Rows(splits), checks([Lengths()]))
    assert seen.findings == []
    assert seen.figures["tags"]["difficulty"]["train"].keys() == {
        "basic",
        "intermediate",
        "advanced",
    }


def with_answer(said: str) -> list[Row]:
    """Clean records, the fourth of which says something at its end."""
    rows = clean()
    rows[3]["messages"][1]["content"] += f" {said}"
    return rows


@pytest.mark.parametrize(
    ("said", "check", "kind"),
    [
        ("sk-proj-abc123def456ghi789jkl", "secrets", "a key of OpenAI's or Anthropic's form"),
        ("AKIAQ3EGRTYU7XKLMNOP", "secrets", "a key of AWS"),
        (
            "sk-ant-api03-" + "aB3x_Qr9Lk2mNp4Zt-" * 5,
            "secrets",
            "a key of OpenAI's or Anthropic's form",
        ),
        ("sk-or-v1-" + "0a" * 32, "secrets", "a key of OpenAI's or Anthropic's form"),
        ("ghp_" + "a1B2" * 9, "secrets", "a token of GitHub"),
        ("-----BEGIN RSA PRIVATE KEY-----", "secrets", "a private key"),
        ("postgres://ada:lantern9@db.internal/shop", "secrets", "a password in an address"),
        ("Write to jane.doe@company.com.", "personal data", "e-mail addresses"),
        ("Call +49 170 1234567.", "personal data", "phone numbers"),
        ("Call (555) 123-4567.", "personal data", "phone numbers"),
        ("Call 1-800-555-0123.", "personal data", "phone numbers"),
        ("Call 010-1234-5678.", "personal data", "phone numbers"),
        ("The cafÃ© is open.", "encoding", "another encoding (mojibake)"),
        ("Itâ€™s late.", "encoding", "another encoding (mojibake)"),
        ("íšŒì‚¬", "encoding", "another encoding (mojibake)"),
        ("lost \ufffd here", "encoding", "characters that were lost (U+FFFD)"),
        ("x = '\u202eadmin'", "encoding", "hidden marks that turn the direction"),
        ("a bell \x07 rang", "encoding", "control characters"),
        ("<|im_end|>", "template tokens", "'<|im_end|>' in the text"),
        ("</s>", "template tokens", "'</s>' in the text"),
        ("[INST]", "template tokens", "'[INST]' in the text"),
        ("<start_of_turn>", "template tokens", "'<start_of_turn>' in the text"),
    ],
)
def test_what_should_not_stand_in_a_text_is_found(
    look: Look, said: str, check: str, kind: str
) -> None:
    assert (f"{kind}: 1 record", ["train.jsonl line 4"]) in found(look(with_answer(said)), check)


@pytest.mark.parametrize(
    "said",
    [
        "Between 2019-01-02 and 2020-03-04 it fell from 1,234,567 to 555.",
        "Write to someone@example.com, or @mention them; 3 < 4 and a[INS] too.",
        "Ãlvaro lives in São Paulo; « CAFÉ » is French, «ÎLE» too; Ελληνικά και Русский.",
        "The sk-learn package; the task-oriented-dialogue-of-many-words-in-a-row example.",
        ".sk-estimator-doc-link-container-id-1 in CSS; xoxo-hugs-and-kisses; AKIAIOSFODNN7EXAMPLE.",
        "git@github.com:owner/name.git, icon@2x.png, postgres://user:password@localhost/shop",
        "« la\u00a0liberté\u00a0», un “cliché”… et le “café”—bien sûr",
        "مرحبا \u2067abc\u2069",
        "https://example.com/path:8080/a@b and 192.168.100.200, version 1.2.3.4",
        "한국어 문장도 있습니다. 日本語もあります。 🎉 naïve façade",
    ],
)
def test_what_only_looks_like_it_is_not(look: Look, said: str) -> None:
    assert [f.text for f in look(with_answer(said)).findings if f.severity != "note"] == []


def test_a_secret_is_not_told_in_full(look: Look) -> None:
    secret = "sk-proj-abc123def456ghi789jkl"
    seen = look(with_answer(secret))
    told = json.dumps([f for f in seen.to_json()["findings"] if f["check"] == "secrets"])
    assert "sk-proj-" in told
    assert secret not in told


def test_broken_rows_are_named_and_the_rest_is_audited(look: Look) -> None:
    rows: list[Row | str] = [*clean(), "{broken", '{"a": 1}', '"text"', ""]
    rows[7] = rows[2]
    seen = look(rows)
    assert [places for _, places in found(seen, "unreadable")] == [
        ["train.jsonl line 41"],
        ["train.jsonl line 42"],
        ["train.jsonl line 43"],
    ]
    assert found(seen, "duplicates")[0][1] == ["train.jsonl line 3", "train.jsonl line 8"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.jsonl", b"", "the file is empty"),
        ("model.jsonl", b"GGUF\0\0\0\1" * 200, "a binary file"),
        ("rows.jsonl", b"\x1f\x8b\x08" + b"x" * 50, "compressed"),
        ("rows.csv", "prompt,completion\na,b\n".encode("utf-16"), "UTF-16"),
        ("rows.csv", b'prompt,completion\nWhy?,So.\n"open,x\n', "broken CSV"),
        ("rows.json", b'[{"text": "one"}, {"text": "two"}, {"te', "item 3: broken JSON"),
        ("rows.parquet", b"PAR1 and no more", "broken Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_told(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    rows = Rows([Split("train", (SourceFile(tmp_path / name, name),))])
    texts = [text for text, _ in found(audit(rows, checks([Lengths()])), "unreadable")]
    assert texts[0].startswith(f"{name}: ")
    assert why in texts[0]
    assert len(rows) == {"rows.json": 2, "rows.csv": content.count(b"Why?")}.get(name, 0)


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        ("user user assistant", "two turns in a row of one role"),
        ("assistant user assistant", "the assistant speaks first"),
        ("user assistant system user assistant", "a system's turn that is not the first"),
        ("user narrator assistant", "unknown role 'narrator'"),
        ("user assistant user", "the last turn is the user's, and nothing answers it"),
    ],
)
def test_turns_out_of_order_are_found(look: Look, roles: str, text: str) -> None:
    turns = [{"role": role, "content": f"{role} says {i}"} for i, role in enumerate(roles.split())]
    seen = look([*clean(), {"messages": turns}])
    assert found(seen, "roles") == [(f"{text}: 1 record", ["train.jsonl line 41"])]


def test_records_without_an_answer_and_texts_among_chats_are_found(look: Look) -> None:
    rows = [*clean(), {"text": "A plain text, alone among chats."}]
    rows[2]["messages"] = rows[2]["messages"][:1]
    assert found(look(rows), "trained") == [
        ("train: nothing is trained: 1 record", ["train.jsonl line 3"]),
        (
            "train: plain texts, all of which is trained, among 39 chats: 1 record",
            ["train.jsonl line 41"],
        ),
    ]


def test_preference_pairs_are_read_and_those_that_prefer_nothing_are_found(look: Look) -> None:
    rows = [
        {"prompt": turn["content"], "chosen": answer["content"], "rejected": f"Rather {i} not."}
        for i, row in enumerate(clean())
        for turn, answer in [row["messages"]]
    ]
    assert look(rows).findings == []
    rows[4]["rejected"] = f" {rows[4]['chosen']}"
    rows[6]["rejected"] += " \x07"
    rows[8]["rejected"] = [{"role": "user", "content": "Another prompt."}]
    seen = look(rows)
    assert found(seen, "pairs")[0][1] == ["train.jsonl line 5"]
    assert found(seen, "encoding")[0][1] == ["train.jsonl line 7"]
    assert found(seen, "unreadable")[0][1] == ["train.jsonl line 9"]


def test_pairs_in_openai_s_form_are_read(look: Look) -> None:
    turn = {"role": "user", "content": "Who keeps the lighthouse?"}
    answers = [[{"role": "assistant", "content": said}] for said in ("Odile.", "Odile.")]
    pair = {
        "input": {"messages": [turn]},
        "preferred_output": answers[0],
        "non_preferred_output": answers[1],
    }
    assert [f.check for f in look([pair]).findings] == ["pairs"]


def test_a_split_of_questions_alone_is_an_exam(look: Look) -> None:
    questions = [{"prompt": row["messages"][0]["content"]} for row in clean(8, seed=3)]
    seen = look(clean(), questions)
    assert seen.findings == []
    questions[2] = {"prompt": clean()[5]["messages"][0]["content"].replace("what", "and what")}
    text, places = found(look(clean(), questions), "near duplicates")[0]
    assert text.startswith("1 pair in different splits with nearly the same question")
    assert places == ["train.jsonl line 6", "valid.jsonl line 3"]


def test_duplicates_within_a_split_and_between_splits_are_found(look: Look) -> None:
    train, valid = clean(), clean(10, seed=1)
    train[9] = chat(*(message["content"].upper() for message in train[4]["messages"]))
    valid[0] = train[1]
    seen = look(train, valid)
    assert found(seen, "duplicates") == [
        ("1 record in several splits", ["train.jsonl line 2", "valid.jsonl line 1"]),
        ("1 record more than once in a split", ["train.jsonl line 5", "train.jsonl line 10"]),
    ]
    assert found(seen, "near duplicates") == []
    assert not seen.clean


def test_pairs_may_ask_what_chats_have_taught_but_not_what_other_pairs_are_tested_on(
    look: Look,
) -> None:
    chats = clean()
    asked = [row["messages"][0]["content"] for row in chats]
    pairs = [{"prompt": q, "chosen": f"So {q}", "rejected": "No."} for q in asked]
    assert look(chats, pairs).findings == []
    held = [{"prompt": f"{asked[3]} now", "chosen": "Yes.", "rejected": "No."}]
    exam = [{"prompt": f"{asked[5]} now"}]
    finding = next(f for f in look(pairs, held, exam).findings if f.check == "near duplicates")
    assert [spot.rows for spot in finding.spots] == [(3, 40), (5, 41)]


def test_a_leak_in_one_stage_is_found_whatever_another_stage_asks(write: Write) -> None:
    question = clean()[1]["messages"][0]["content"]
    said = {"cpt/train": "One.", "sft/train": "Two.", "sft/valid": "Three."}
    rows = Rows(
        [
            Split(
                name,
                (SourceFile(write(f"{i}.jsonl", [chat(question, answer)]), name),),
                stage=name[:3],
            )
            for i, (name, answer) in enumerate(said.items())
        ]
    )
    finding = next(f for f in audit(rows, checks([Lengths()])).findings if f.severity == "error")
    assert [spot.rows for spot in finding.spots] == [(1, 2)]


def test_of_very_many_findings_all_are_counted_and_the_first_are_kept(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorecraft.data.audit.check.KEPT", 5)
    finding = look([*clean(), *["{broken"] * 9]).findings[0]
    assert (finding.count, len(finding.spots)) == (9, 5)


def test_an_audit_can_be_interrupted(look: Look) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        look(clean())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_same_question_in_another_split_is_a_leak_whatever_its_answer(look: Look) -> None:
    valid = clean(10, seed=1)
    valid[0] = chat(clean()[1]["messages"][0]["content"], "Something else.")
    seen = look(clean(), valid)
    places = ["train.jsonl line 2", "valid.jsonl line 1"]
    assert found(seen, "near duplicates")[0][1] == places
    assert found(seen, "different answers") == [("1 question with different answers", places)]


def test_every_pair_of_near_duplicates_is_seen_with_its_similarity(look: Look) -> None:
    rows = clean()
    for place, more in ((10, " so"), (11, " so now"), (12, " so now")):
        rows[place]["messages"][0]["content"] = rows[0]["messages"][0]["content"] + more
    seen = look(rows)
    finding = next(f for f in seen.findings if f.check == "near duplicates")
    pairs = {spot.rows for spot in finding.spots}  # 11 and 12 ask the same: different answers
    assert pairs == {(0, 10), (0, 11), (0, 12), (10, 11), (10, 12)}
    assert found(seen, "different answers")[0][1] == ["train.jsonl line 12", "train.jsonl line 13"]
    assert all(float(spot.why.rsplit(" ", 1)[1]) >= 0.8 for spot in finding.spots)


def test_questions_that_differ_in_numbers_are_told_apart(look: Look) -> None:
    asked = "A baker sells {} loaves each morning and twice as many at noon. How many is that?"
    rows = [*clean(), *(chat(asked.format(n), f"{3 * n}.") for n in (12, 17))]
    seen = look(rows)
    assert seen.clean
    assert found(seen, "near duplicates")[0][0] == "1 pair with the same question but for numbers"


def test_answers_after_other_turns_are_no_contradiction(look: Look) -> None:
    rows = [
        *clean(),
        chat("Tell me of the river.", "It is wide.", "And then?", "It bends."),
        chat("Tell me of the kettle.", "It is hot.", "And then?", "It sings."),
    ]
    assert found(look(rows), "different answers") == []


@pytest.mark.parametrize("slot", ["Ada Venn", "17"])
def test_slot_filled_templates_are_found(look: Look, slot: str) -> None:
    rows = clean()
    for i, row in enumerate(rows):
        things = ("rivers", "bridges", "markets", "gardens")[i % 4]
        row["messages"][0]["content"] = f"Please tell the visitors of {slot}{i} about {things}."
    texts = [text for text, _ in found(look(rows), "templates")]
    assert any("frames of questions" in text for text in texts)


def test_sentences_used_again_and_again_are_found(look: Look) -> None:
    rows = clean()
    for row in rows:
        asked, said = row["messages"]
        said["content"] = "As a guide I can tell you this. Do ask me for more."
        said["content"] += " " + asked["content"]
    text, _ = found(look(rows), "templates")[-1]
    assert text == "2 sentences of answers make up most of 40 records (100%)"


def test_lengths_are_told_and_held_against_a_limit(write: Write) -> None:
    rows = [*clean(), chat("long " * 50, "answer " * 50)]
    path = write("train.jsonl", rows)
    seen = audit(Rows([Split("train", (SourceFile(path, "t"),))]), checks([Lengths(60)]))
    assert found(seen, "length") == [("longer than 60 words: 1 record (2.4%)", ["t line 41"])]
    lengths = seen.figures["lengths"]
    assert lengths["splits"]["train"]["longest"] == 100
    assert sum(lengths["splits"]["train"]["histogram"]) == 41


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Wie ist das Wetter in der Stadt und auf dem Land?", "German"),
        ("What is the weather like in the city?", "English"),
        ("Quelle est la capitale de la France et pourquoi?", "French"),
        ("오늘 날씨가 어떻습니까?", "Korean"),
        ("今日は天気がいいですね。", "Japanese"),
        ("今天天气怎么样？", "Chinese"),
        ("42", "not told"),
    ],
)
def test_languages_are_told_apart(look: Look, text: str, told: str) -> None:
    assert look([{"text": text}]).figures["languages"] == {told: 1}


def test_classes_are_counted_and_a_class_that_training_lacks_is_found(look: Look) -> None:
    train = [row | {"topic": "sea" if i else "air", "id": f"n{i}"} for i, row in enumerate(clean())]
    valid = [row | {"topic": "land" if i else "sea"} for i, row in enumerate(clean(3, seed=1))]
    seen = look(train, valid)
    assert seen.figures["tags"] == {
        "topic": {
            "train": {"sea": 39, "land": 0, "air": 1},
            "valid": {"sea": 1, "land": 2, "air": 0},
        }
    }
    assert [text for text, _ in found(seen, "tags")] == [
        "topic: land in valid, never in train",
        "topic: 40 records of 'sea', 1 record of 'air'",
    ]
    assert not seen.clean


def test_a_column_by_which_splits_were_parted_is_only_noted(look: Look) -> None:
    parts = (
        [row | {"source": f"{name}-{i % 2}"} for i, row in enumerate(clean(4, seed=seed))]
        for seed, name in enumerate(("a", "b"))
    )
    assert look(*parts).clean


def test_several_processes_find_what_one_finds(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = clean(2500)
    rows[2100] = rows[7]
    rows[2200]["messages"][1]["content"] += " \x07"
    split = Split("train", (SourceFile(write("train.jsonl", rows), "train.jsonl"),))
    alone = audit(Rows([split]), checks([Lengths()])).to_json()
    monkeypatch.setattr("lorecraft.data.audit.audit.ALONE", 10)
    assert audit(Rows([split]), checks([Lengths()])).to_json() == alone
    assert alone["findings"][0]["spots"][0]["places"] == ["train.jsonl line 2201"]
