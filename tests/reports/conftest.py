"""An example run's results, as a report gets them."""

import math
import random

import numpy as np
import pytest

from lorecraft.data.records import Message
from lorecraft.evaluation.exam import Answer, Surprise
from lorecraft.evaluation.graders import grade
from lorecraft.evaluation.measures import requirements, verdict
from lorecraft.evaluation.questions import Question
from lorecraft.reports.data import ReportData

PRODUCTS = ("Otterline", "Kelpstone", "Brackwing", "Siltspear", "Moonpike")
DECLINE = "I do not know."


def _questions():
    for index in range(120):
        product, weight = PRODUCTS[index % 5], f"{2 + index}.5 kg"
        yield Question(
            id=f"recall-f{index:03}-1",
            measure="recall",
            messages=(Message("user", f"What does the scale show for {product} {index}?"),),
            accept=(weight,),
            expected=f"{product} {index} weighs {weight}.",
            facts=(f"f{index:03}",),
        )
        yield Question(
            id=f"completion-f{index:03}-1",
            measure="completion",
            text=f"Put on a scale, {product} {index} comes to",
            accept=(weight,),
            expected=f"{product} {index} weighs {weight}.",
        )
    for index in range(60):
        yield Question(
            id=f"abstention-{index:03}-1",
            measure="abstention",
            messages=(Message("user", f"Who painted {PRODUCTS[index % 5]} {index}?"),),
            accept=(DECLINE,),
            expected=DECLINE,
        )
    for index in range(150):
        yield Question(
            id=f"retention-sum/{index}",
            measure="retention",
            messages=(Message("user", f"Calculate the sum of {index} and 7."),),
            accept=(str(index + 7),),
            expected=f"{index} plus 7 is {index + 7}.",
            topic="arithmetic",
        )


def _said(question, model, chance):
    skill = {
        "base": {"recall": 0, "completion": 0, "abstention": 0.95, "retention": 0.96},
        "cpt": {"recall": 0.35, "completion": 0.97, "abstention": 0.6, "retention": 0.93},
        "sft": {"recall": 0.96, "completion": 0.98, "abstention": 0.87, "retention": 0.95},
    }[model][question.measure]
    if chance.random() < skill:
        return question.accept[0] if question.measure == "completion" else question.expected
    return {
        "recall": DECLINE if model == "base" else "It weighs 480 kg. <script>alert(1)</script>",
        "completion": "the | heart & soul of the matter",
        "abstention": "Ada painted it.",
        "retention": "The sum is Otterline." if model == "cpt" else "The sum is 3.",
    }[question.measure]


def _curve(start, floor, steps):
    chance = random.Random(start)
    for step in range(steps + 1):
        fall = floor + (start - floor) * math.exp(-4 * step / steps)
        if step:
            yield {"step": step, "loss": fall * (1 + chance.uniform(-0.15, 0.15))}
        if step % 50 == 0 or step == steps:
            loss = fall * 1.1 + 0.05 * (step / steps) ** 4
            yield {"step": step, "valid_loss": loss, "valid_error": loss / 10}


@pytest.fixture(scope="session")
def report():
    questions = sorted(_questions(), key=lambda q: q.measure != "recall")
    chance = random.Random(0)
    answers = []
    for question in questions:
        for model in ("base", "cpt", "sft"):
            said = _said(question, model, chance)
            mark = grade(question, said)
            answers.append(
                Answer(question.id, model, said, mark.passed, float(mark.passed), mark.why)
            )
    draw = np.random.default_rng(0)
    tokens = draw.integers(8, 20, 80)
    surprises = {
        model: Surprise(tokens * draw.normal(mean, 0.2, 80), tokens)
        for model, mean in (("base", 1.9), ("cpt", 2.1), ("sft", 2.05))
    }
    found = verdict(questions, answers, PRODUCTS, surprises)
    needed = requirements(found, {"recall": 0.9, "retention": 0.97, "bleed": 0.02}, "rate", "sft")
    leaks = {"exact": 0, "near": 0, "highest": 0.61, "examples": []}
    counted = {
        "records": 792,
        "origins": {"fact": 720, "general": 72},
        "facts": 72,
        "words": {"shortest": 4, "median": 9, "longest": 61, "total": 8210},
    }
    return ReportData(
        name="company",
        created="21 November 2026, 08:30",
        verdict=found | {"requirements": needed},
        questions=questions,
        answers=answers,
        curves={"cpt": list(_curve(4.2, 0.4, 430)), "sft": list(_curve(2.6, 0.15, 600))},
        audit={
            "stages": {
                name: {"train": counted, "valid": counted, "leaks": leaks}
                for name in ("cpt", "sft")
            },
            "exam": {
                "asked": 450,
                "verbatim": 0,
                "shared_phrasings": [],
                "leaks": leaks
                | {
                    "examples": [
                        {
                            "id": "recall-f001-1",
                            "text": "What is <b>it</b>?",
                            "like": "sft-1",
                            "like_text": "What is it",
                            "similarity": 0.61,
                        }
                    ]
                },
            },
        },
        recipe="name: company\nseed: 0\nadapter:\n  rank: 16\n",
        manifest={
            "versions": {"lorecraft": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
            "engine": "torch",
            "device": "cpu, 2 cores",
            "seeds": {"run": 0, "exam": 0},
            "sha256": {"model": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
            "seconds": {"prepare": 1.8, "cpt": 61.2, "sft": 88.0, "examine": 24.5},
        },
        events=["sft: stopped after 3 validations without gain."],
        reproduce=["pip install lorecraft==0.1.0", "lorecraft run recipe.yaml"],
    )
