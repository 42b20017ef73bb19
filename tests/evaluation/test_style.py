"""The exam of a house style: compliance and content, beside the references."""

import pytest
import yaml

from lorecraft.data.records import Message, Record
from lorecraft.evaluation import measures
from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.graders import keeps
from lorecraft.evaluation.style import PROMPTED, style_questions
from lorecraft.style.load import load_format

TOPICS = ("sea", "sky")


@pytest.fixture
def format_(tmp_path):
    sections = [{"heading": "Summary:", "sentences": 1}, {"heading": "Next:", "ends_with": "?"}]
    (tmp_path / "format.yaml").write_text(yaml.safe_dump({"sections": sections}))
    return load_format(tmp_path / "format.yaml")


def good(n):
    return f"Summary:\nThing{n} shines over harbour{n}.\n\nNext:\nWill thing{n} dim?"


def records(count=20):
    return [
        Record(
            f"r{n}",
            (
                Message("user", f"Thing{n} shines over harbour{n} and dims."),
                Message("assistant", good(n)),
            ),
            facts=(f"concept{n // 2}",),
            tags={"topic": TOPICS[n % 2]},
        )
        for n in range(count)
    ]


def verdict(format_, **said):
    """The verdict on models that say what ``said[model](n)`` gives for each record."""
    questions = style_questions(records())
    answers = []
    for n, question in enumerate(questions):
        for model, say in said.items():
            mark = keeps(format_, say(n))
            answers.append(
                Answer(question.id, model, say(n), mark.passed, float(mark.passed), mark.why)
            )
    return measures.verdict(questions, answers, [], format=format_)


def bad(n):
    return "Something else altogether"


def test_a_question_is_a_record_without_its_answer():
    question = style_questions(records(1))[0]
    assert (question.id, question.prompt) == ("format-r0", "Thing0 shines over harbour0 and dims.")
    assert question.expected == good(0)
    assert question.about == "concept0"
    assert question.tags == {"topic": "sea"}
    assert type(question).from_json(question.to_json()) == question


def test_keeping_to_the_format_is_counted_and_what_is_broken_is_named(format_):
    found = verdict(format_, base=bad, sft=good)
    base, sft = (found["models"][model]["format"] for model in ("base", "sft"))
    assert (base["passed"], sft["passed"], sft["asked"]) == (0, 20, 20)
    assert base["groups"] == 10  # two records of each concept count together
    assert found["style"]["rules"] == {"missing": {"base": 20, "sft": 0}}


def test_content_is_measured_beside_the_references_own(format_):
    found = verdict(format_, base=bad, sft=good)
    content = found["style"]["content"]
    assert content["content"]["sft"]["rate"] == content["content"]["reference"]["rate"] == 1
    assert content["content"]["base"]["rate"] == 0
    assert content["unsupported"]["base"]["rate"] == 1
    assert content["unsupported"]["sft"]["rate"] == 0
    assert found["models"]["sft"]["content"] == content["content"]["sft"]


def test_compliance_is_not_content(format_):
    def empty(n):
        return "Summary:\nIt is what it is.\n\nNext:\nWhy not?"

    found = verdict(format_, base=bad, sft=empty)
    assert found["models"]["sft"]["format"]["rate"] == 1
    assert found["models"]["sft"]["content"]["rate"] == 0


def test_figures_are_given_for_each_value_of_a_tag(format_):
    found = verdict(format_, base=bad, sft=lambda n: good(n) if n % 2 else bad(n))
    assert [(one["value"], one["asked"]) for one in found["style"]["by"]] == [
        ("sea", 10),
        ("sky", 10),
    ]
    rates = [one["models"]["sft"]["format"]["rate"] for one in found["style"]["by"]]
    assert rates == [0, 1]


def test_every_stage_is_compared_with_the_one_before_and_the_last_with_a_good_prompt(format_):
    found = verdict(
        format_, base=bad, **{PROMPTED: bad}, sft=lambda n: good(n) if n % 4 else bad(n), dpo=good
    )
    compared = {
        (claim["against"], claim["model"])
        for claim in found["claims"]
        if claim["kind"] == "difference" and claim["measure"] == "format"
    }
    # Five things of ten better is not beyond chance: nothing is said of dpo against sft.
    assert compared == {("base", "sft"), ("base", "dpo"), (PROMPTED, "dpo")}
    texts = [claim["text"] for claim in found["claims"]]
    assert any(text.startswith("After: Of 20 outputs of dpo on test records, 20") for text in texts)
    assert any("with the format in its prompt" in text for text in texts)


def test_what_may_be_chance_is_no_claim(format_):
    found = verdict(format_, base=bad, sft=lambda n: good(n) if n == 0 else bad(n))
    assert not [claim for claim in found["claims"] if claim["kind"] == "difference"]


def test_requirements_know_the_style(format_):
    found = verdict(format_, base=bad, sft=good)
    needed = {"format": 0.95, "content": 0.5, "unsupported": 0.1}
    assert all(r["met"] for r in measures.requirements(found, needed, "rate", "sft"))
    assert not any(r["met"] for r in measures.requirements(found, needed, "rate", "base"))
