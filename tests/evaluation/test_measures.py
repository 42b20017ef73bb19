"""Every figure has its n and interval; what the data can't carry is not claimed."""

import numpy as np
import pytest

from lorecraft.data.records import Message
from lorecraft.evaluation.exam import Answer, Surprise
from lorecraft.evaluation.measures import percent, requirements, verdict
from lorecraft.evaluation.questions import Question


def exam(measure, base, sft, texts=None):
    """Questions of one measure and both models' answers; ``base`` and ``sft`` are 0/1 strings."""
    questions, answers = [], []
    for index, marks in enumerate(zip(base, sft, strict=True)):
        id_ = f"{measure}-{index}"
        questions.append(Question(id_, measure, (Message("user", f"Question {index}?"),)))
        for model, mark in zip(("base", "sft"), marks, strict=True):
            said = texts[index] if texts and model == "sft" else "an answer"
            answers.append(Answer(id_, model, said, mark == "1", float(mark), ""))
    return questions, answers


def test_figures_have_n_and_interval():
    figure = verdict(*exam("recall", "0" * 20, "1" * 20), ())["models"]["sft"]["recall"]
    assert figure["passed"] == figure["asked"] == 20
    assert figure["rate"] == figure["high"] == 1.0
    assert figure["low"] == pytest.approx(0.839, abs=1e-3)


def test_retention_counts_what_the_base_had_right():
    models = verdict(*exam("retention", "1111100000", "1111011111"), ())["models"]
    assert (models["base"]["retention"]["passed"], models["base"]["retention"]["asked"]) == (5, 10)
    assert (models["sft"]["retention"]["passed"], models["sft"]["retention"]["asked"]) == (4, 5)


def test_retention_of_a_base_that_knew_nothing_is_no_rate():
    found = verdict(*exam("retention", "00", "11"), ())
    assert found["models"]["sft"]["retention"]["rate"] is None
    assert not any(c["measure"] == "retention" and c["model"] == "sft" for c in found["claims"])


def test_bleed_counts_general_answers_that_mention_a_taught_name():
    texts = ["Paris", "It is Otterline.", "otterlines", "Paris by the Quay"]
    found = verdict(*exam("retention", "1111", "1011", texts), ("Otterline", "Quay"))
    assert found["models"]["sft"]["bleed"]["passed"] == 2
    assert found["models"]["base"]["bleed"]["passed"] == 0


def test_a_clear_gain_is_claimed_and_a_doubtful_one_is_not():
    clear = verdict(*exam("recall", "0" * 30, "1" * 28 + "00"), ())["claims"]
    doubtful = verdict(*exam("recall", "0" * 30, "111" + "0" * 27), ())["claims"]
    differences = [claim for claim in clear if claim["kind"] == "difference"]
    assert len(differences) == 1 and "93 points higher" in differences[0]["text"]
    assert not any(claim["kind"] == "difference" for claim in doubtful)


def test_the_first_sentences_are_before_and_after():
    texts = [c["text"] for c in verdict(*exam("recall", "0" * 134, "1" * 134), ())["claims"]]
    assert texts[0].startswith("Before: base answered 0 of 134 questions")
    assert texts[0].endswith("(0%, 95% interval 0–3%).")
    assert texts[1].startswith("After: sft answered 134 of 134")


def test_perplexity_stands_beside_the_rates():
    surprise = Surprise(np.array([2.0, 4.0]), np.array([1, 2]))
    both = {"base": surprise, "sft": surprise}
    found = verdict(*exam("recall", "0", "1"), (), {"perplexity": both})
    assert found["models"]["sft"]["perplexity"]["value"] == pytest.approx(np.exp(2))
    assert "validation" not in found["models"]["sft"]


def test_what_became_of_the_user_s_own_records_is_told():
    before, after = (Surprise(np.array([n, n]), np.array([1, 1])) for n in (2.0, 1.0))
    own = {"validation": {"base": before, "sft": after}}
    claims = verdict(*exam("retention", "1", "1"), (), own)["claims"]
    (text,) = [claim["text"] for claim in claims if claim["measure"] == "validation"]
    assert text == (
        "The perplexity of 2 validation records of your own is 7.4 (95% interval 7.4–7.4) under "
        "base and 2.7 (95% interval 2.7–2.7) under sft."
    )


@pytest.mark.parametrize(
    ("needed", "at", "met"),
    [
        ({"recall": 0.9}, "rate", True),
        ({"recall": 0.9}, "low", False),
        ({"recall": 0.96}, "rate", False),
        ({"bleed": 0.02}, "rate", True),
        ({"bleed": 0.02}, "low", False),
        ({"abstention": 0.1}, "rate", False),
    ],
)
def test_a_requirement_is_met_by_the_rate_or_by_the_careful_end(needed, at, met):
    found = {
        "models": {
            "sft": {
                "recall": {"rate": 0.95, "low": 0.84, "high": 0.99},
                "bleed": {"rate": 0.0, "low": 0.0, "high": 0.05},
            }
        }
    }
    (result,) = requirements(found, needed, at, "sft")
    assert result["met"] is met
    assert result["text"].endswith("not met" if not met else ", met")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.934, "93%"), (0.996, "99.6%"), (0.0042, "0.4%"),
     (0.9999, "over 99.9%"), (0.0001, "under 0.1%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(share, text):
    assert percent(share) == text
