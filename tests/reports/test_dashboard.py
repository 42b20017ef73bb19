"""Several runs on one page: what they have in common, what differs, and what a run lacks."""

from __future__ import annotations

import re
import xml.dom.minidom
from dataclasses import replace
from typing import Any

import pytest

from lorecraft.data.records import Message
from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.questions import Question
from lorecraft.reports import charts, dashboard, svg
from lorecraft.reports.charts import Mark
from lorecraft.reports.data import ReportData, Results
from lorecraft.reports.sweep import SweepData, files
from lorecraft.reports.tables import marked_lines

BAD = "<script>alert(1)</script>"


def results(report: ReportData, name: str, rank: int) -> Results:
    stages = {
        stage: {"curves": points, "steps": 9, "best_valid_error": 0.1}
        for stage, points in report.curves.items()
    }
    return Results(
        name=name,
        state="reported",
        recipe={
            "name": name,
            "model": {"path": "pocket"},
            "adapter": {"rank": rank, "alpha": 8},
            "stages": {stage: {"epochs": 1} for stage in stages},
        },
        stages=stages,
        verdict=report.verdict,
        questions=report.questions,
        answers=report.answers,
        audit=report.audit,
        seconds=12.0,
    )


@pytest.fixture(scope="module")
def runs(report: ReportData) -> list[Results]:
    one, two = results(report, "one", 4), results(report, f"two {BAD}", 8)
    begun = Results("begun", "started", {**one.recipe, "stages": {"dpo": {"epochs": 2}}})
    return [one, two, begun]


@pytest.fixture(scope="module")
def page(runs: list[Results]) -> str:
    return dashboard.render(runs, "today")


def test_the_page_stands_alone_and_trusts_nobody(page: str) -> None:
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)", page)
    assert "&lt;script&gt;alert(1)" in page


def test_settings_are_those_in_which_runs_differ(runs: list[Results]) -> None:
    found = dashboard.settings(runs)
    assert found["adapter.rank"] == [4, 8, 4]
    assert found["stages.dpo.epochs"] == [None, None, 2]
    assert "adapter.alpha" not in found and "name" not in found


def test_the_same_untrained_model_stands_there_once(runs: list[Results]) -> None:
    labels = [column.label for column in dashboard.columns(runs)]
    assert labels == ["base", "one", f"two {BAD}"]
    figures = runs[1].verdict["models"]
    other = {**runs[1].verdict, "models": {**figures, "base": figures["cpt"]}}
    labels = [c.label for c in dashboard.columns([runs[0], replace(runs[1], verdict=other)])]
    assert labels[:2] == ["base of one", f"base of two {BAD}"]


def test_curves_of_a_stage_lie_over_each_other(runs: list[Results]) -> None:
    found = dashboard.curve_pictures(runs)
    assert list(found) == ["cpt", "sft"]  # dpo has not begun
    assert found["sft"].count("<polyline") == 4
    assert 'class="s0"' in found["sft"] and 'class="s1"' in found["sft"]


def test_questions_on_which_runs_differ_come_first(runs: list[Results]) -> None:
    question = runs[0].questions[7]
    turned = [
        replace(a, passed=not a.passed) if (a.id, a.model) == (question.id, "sft") else a
        for a in runs[1].answers
    ]
    found = dashboard.exchanges(dashboard.columns([runs[0], replace(runs[1], answers=turned)]))
    assert found[0].question == question
    assert len(found) == len(runs[0].questions)


def test_an_output_s_lines_are_marked_where_a_rule_is_broken() -> None:
    answer = Answer("q", "sft", "a\nb", False, 0.0, "line 2: Sum: x; y [words]; line 2: z [before]")
    assert marked_lines(answer) == [("a", ""), ("b", "Sum: x; y [words]; z [before]")]
    fine = Answer("q", "sft", "a", True, 1.0, "keeps to the format")
    assert marked_lines(fine) == [("a", "")]


def test_a_run_s_house_style_stands_beside_another_s(runs: list[Results]) -> None:
    def styled(run: Results, rules: dict[str, Any], measure: str) -> Results:
        figure = {"asked": 2, "groups": 2, "rate": 0.5, "low": 0.1, "high": 0.9}
        of = dict.fromkeys(("base", "cpt", "sft"), figure)
        style = {"outputs": dict.fromkeys(of, 2), "rules": rules, "by": []}
        style["content"] = {"content": {**of, "reference": figure}, measure: of}
        question = Question("format-1", "format", (Message("user", "?"),), expected="x")
        return replace(run, verdict={**run.verdict, "style": style}, questions=[question])

    both = [
        styled(runs[0], {"words": {"base": 2, "cpt": 1, "sft": 1}}, "depth of A"),
        styled(runs[1], {"bullets": {"base": 0, "cpt": 0, "sft": 2}}, "depth of B"),
    ]
    found = dashboard.style_tables(dashboard.columns([*both, runs[2]]))
    assert found is not None
    assert dict(found.rules) == {"words": [2, 1, 0], "bullets": [0, 0, 2]}
    depth = dict(found.content)["depth of B"]
    assert [cell.rate for cell in depth] == ["–", "–", "50%"]


def test_pictures_are_files_that_stand_alone(runs: list[Results]) -> None:
    found = dashboard.pictures(runs)
    assert set(found) >= {"recall", "curves-sft", "pipeline-1"}
    for picture in found.values():
        root = xml.dom.minidom.parseString(picture).documentElement
        assert root.tagName == "svg" and "prefers-color-scheme" in picture


@pytest.mark.parametrize(
    "marks",
    [
        [Mark(1, 1.0), Mark(8, 1.0)],
        [Mark(0, 0.0, 0.0, 0.5), Mark(1, 1.0, 0.4, 1.0, chosen=True)],
        [Mark(1e-5, 0.2), Mark(1e-3, 0.3), Mark(1e-4, 0.25)],
    ],
)
def test_figures_of_any_kind_lie_against_a_setting(marks: list[Mark]) -> None:
    picture = charts.against("recall", "rank", {"": marks}, share=True)
    xml.dom.minidom.parseString(svg.standalone(picture))
    assert "nan" not in picture
    assert picture.count('class="chosen"') == sum(mark.chosen for mark in marks)
    levels = [float(y) for y in re.findall(r'class="dot" cx="[\d.]+" cy="([-\d.]+)"', picture)]
    assert all(0 <= level <= 240 for level in levels)


def test_one_setting_is_no_picture() -> None:
    assert charts.against("recall", "rank", {"": [Mark(1, 0.5)]}, share=True) == ""


def test_more_lines_than_colours_are_grey_but_the_chosen() -> None:
    lines = {f"seed {k}": [Mark(1, 0.1 * k), Mark(2, 0.2, chosen=k == 3)] for k in range(8)}
    picture = charts.against("recall", "rank", lines, share=True)
    assert picture.count('<g class="crowd">') == 7
    assert "seed 3" in picture and "others in grey" in picture


def test_a_sweep_s_page_has_what_failed_and_where_its_grid_ends() -> None:
    def row(rank: int, error: float | None) -> dict[str, Any]:
        recall = {"passed": 1, "asked": 2, "rate": 0.5, "low": 0.1, "high": 0.9}
        return {
            "name": f"r-{rank}",
            "values": {"adapter.rank": rank},
            "folder": f"r-{rank}",
            "state": "failed" if error is None else "finished",
            "error": BAD if error is None else None,
            "valid_error": error,
            "measures": {} if error is None else {"recall": recall},
        }

    rows = [row(4, 0.3), row(8, 0.2), row(16, None)]
    axes = {"adapter.rank": [4, 8, 16]}
    data = SweepData("r", "today", axes, ["adapter.rank"], rows, "r-8", "Chosen is r-8.")
    found = files(data)
    assert BAD not in found["sweep.html"] and BAD not in found["sweep.md"]
    assert "pictures/recall-by-adapter-rank.svg" in found
    assert data.edges == []
    assert replace(data, chosen="r-4").edges == [
        "adapter.rank 4 is the smallest tried; a smaller one may be better."
    ]
