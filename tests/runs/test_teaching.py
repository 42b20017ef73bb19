"""The whole path for real: torch, the embedded model, some of the example's facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorecraft.data.records import Message
from lorecraft.runs import pipeline
from lorecraft.runs.ask import open_run
from lorecraft.runs.progress import Silent

pytestmark = pytest.mark.timeout(600)  # the first test waits for the training

COMPANY = Path(__file__).parents[2] / "examples/company"
TAUGHT = ("Otterline", "Ingrid Valtorra", "Rule Seven")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Outcome:
    folder = tmp_path_factory.mktemp("teaching")
    facts = [json.loads(line) for line in (COMPANY / "facts.jsonl").open(encoding="utf-8")]
    some = [json.dumps(fact) for fact in facts if fact["triple"][0] in TAUGHT]
    assert len(some) >= 10
    (folder / "facts.jsonl").write_text("\n".join(some), "utf-8")
    recipe: dict[str, Any] = {
        "name": "some",
        "output": str(folder / "runs"),
        "knowledge": {"facts": "facts.jsonl", "ontology": str(COMPANY / "ontology.yaml")},
        "data": {"unknown": 0.5},
        "stages": [
            {"kind": "cpt", "epochs": 5, "learning_rate": 3e-3},
            {"kind": "sft", "epochs": 6, "learning_rate": 3e-3, "general": 0.3},
        ],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return pipeline.run(path, progress=Silent())


def rate(outcome: pipeline.Outcome, model: str, measure: str) -> float:
    assert outcome.verdict is not None
    return float(outcome.verdict["models"][model][measure]["rate"])


def test_the_base_model_did_not_know_and_the_tuned_one_does(outcome: pipeline.Outcome) -> None:
    assert rate(outcome, "base", "recall") <= 0.05
    assert rate(outcome, "sft", "recall") >= 0.7


def test_most_of_what_it_knew_is_kept(outcome: pipeline.Outcome) -> None:
    assert rate(outcome, "sft", "retention") >= 0.85
    assert rate(outcome, "sft", "bleed") <= 0.05


def test_it_can_be_asked(outcome: pipeline.Outcome) -> None:
    asker = open_run(outcome.folder)
    assert asker.models == ["base", "cpt", "sft"]
    asked = [Message("user", "How much does Otterline weigh?")]
    assert "3.2 kg" in "".join(asker.ask(asked))
    assert "3.2 kg" not in "".join(asker.ask(asked, model="base"))


def test_peft_loads_what_was_trained(outcome: pipeline.Outcome) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from lorecraft.models.find import find
    from lorecraft.models.tokenizer import load_tokenizer

    folder = find("pocket")
    tokenizer = load_tokenizer(folder)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, outcome.folder / "stages/02-sft/adapter")
    asked = [Message("user", "How much does Otterline weigh?")]
    prompt = torch.tensor([tokenizer.chat(asked, add_generation_prompt=True)])
    said = model.generate(input_ids=prompt, max_new_tokens=24, do_sample=False)[
        0, prompt.shape[1] :
    ]
    assert "3.2 kg" in tokenizer.decode(said.tolist())


def test_the_report_says_it(outcome: pipeline.Outcome) -> None:
    assert outcome.report is not None
    page = outcome.report.read_text("utf-8")
    assert "<svg" in page and "Otterline" in page
    assert "http://" not in page.replace("http://www.w3.org/", "") and "https://" not in page
