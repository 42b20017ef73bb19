"""A recipe is read whole, or refused with every mistake and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import RecipeError
from lorecraft.recipe import Recipe, load_recipe, to_yaml

SMALLEST = "knowledge: {facts: facts.jsonl}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "lighthouse"
    home.mkdir()
    for name in ("facts.jsonl", "train.jsonl", "ontology.yaml"):
        (home / name).write_text("{}\n")
    return home


def load(folder: Path, text: str) -> Recipe:
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml")


def mistakes(folder: Path, text: str) -> list[str]:
    """The lines of the refusal, each as ``line: sentence``."""
    with pytest.raises(RecipeError) as refused:
        load(folder, text)
    prefix = f"  {folder / 'recipe.yaml'}:"
    first, *lines = str(refused.value).splitlines()
    assert first.startswith("the recipe has ")
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


def test_smallest_recipe_has_every_default(folder: Path) -> None:
    recipe = load(folder, SMALLEST)
    assert recipe.name == "lighthouse"
    assert recipe.model.path == "pocket"
    assert recipe.knowledge is not None and recipe.knowledge.facts == folder / "facts.jsonl"
    assert [stage.kind for stage in recipe.stages] == ["cpt", "sft"]
    assert recipe.stages[0].learning_rate == 1e-4
    assert recipe.output == Path("runs").absolute()


def test_ready_made_records_alone_are_fine_tuned(folder: Path) -> None:
    recipe = load(folder, "data: {train: train.jsonl}\n")
    assert [stage.kind for stage in recipe.stages] == ["sft"]


@pytest.mark.parametrize(
    ("sources", "kinds"),
    [
        ("knowledge: {documents: .}", ["cpt"]),
        ("knowledge: {python: json}", ["sft"]),
        ("knowledge: {python: [json, ./lights], documents: ['*.jsonl']}", ["cpt", "sft"]),
        ("knowledge: {documents: .}\ndata: {train: train.jsonl}", ["cpt", "sft"]),
        ("knowledge: {tables: 'sqlite:///$SHOP', ontology: ontology.yaml}", ["cpt", "sft"]),
    ],
)
def test_stages_are_those_that_there_is_something_for(
    folder: Path, sources: str, kinds: list[str]
) -> None:
    (folder / "lights").mkdir()
    assert [stage.kind for stage in load(folder, sources).stages] == kinds


@pytest.mark.parametrize(
    ("knowledge", "said"),
    [
        ("tables: train.jsonl", "knowledge.tables: knowledge.ontology, which maps them, is missin"),
        ("documents: [., manul]", "knowledge.documents[2]: no such file: "),
        ("python: ./lights", "knowledge.python[1]: no such file: "),
        ("python: 7", "knowledge.python: expected the name of an installed package, or a folder"),
    ],
)
def test_knowledge_that_cannot_be_read_is_refused(folder: Path, knowledge: str, said: str) -> None:
    (line,) = mistakes(folder, f"knowledge: {{{knowledge}}}\n")
    assert line.startswith("1: " + said)


def test_records_are_a_path_or_keys(folder: Path) -> None:
    alone = load(folder, "data: {train: train.jsonl}\n").data.train
    keys = "data: {train: {path: train.jsonl, split: train}}\n"
    assert alone == load(folder, keys).data.train
    assert alone is not None and alone.path == str(folder / "train.jsonl")
    (folder / "train.jsonl").rename(folder / "more.jsonl")
    assert load(folder, "data: {train: ., valid: '*.jsonl'}\n").data.train is not None


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("trian.jsonl", "data.train.path: no such file: {folder}/trian.jsonl; did you mean train"),
        ("hf:maths", "data.train.path: expected hf:owner/name, saw hf:maths"),
        ("7", "data.train: expected a file, a folder, a glob, hf:owner/name or keys such as path"),
        ("{path: train.jsonl, prompt: '{q}'}", "data.train: expected prompt and completion toget"),
        ("{path: train.jsonl, text: '{q}', messages: '{m}'}", "data.train: expected prompt and"),
        ("{path: train.jsonl, text: question}", "data.train.text: no column in it; put"),
        ("{path: train.jsonl, text: {question}}", "data.train.text: expected a template such"),
        ("{path: train.jsonl, config: main}", "data.train: config is said of a data set of the"),
        ("{path: train.jsonl, revision: v1}", "data.train: revision is said of a data set of the"),
        ("{path: train.jsonl, colums: 1}", "data.train.colums: no such key"),
    ],
)
def test_records_that_cannot_be_meant_are_refused(folder: Path, train: str, said: str) -> None:
    (line,) = mistakes(folder, f"data: {{train: {train}}}\n")
    assert line.startswith("1: " + said.replace("{folder}", str(folder)))


def test_name_is_the_file_s_when_it_is_not_called_recipe(folder: Path) -> None:
    path = folder / "night watch.yaml"
    path.write_text(SMALLEST)
    assert load_recipe(path).name == "night-watch"


@pytest.mark.parametrize("number", ["1e-5", "1E-5", "0.00001", "1.0e-05", "+.1e-4"])
def test_numbers_are_read_as_people_write_them(folder: Path, number: str) -> None:
    recipe = load(folder, f"{SMALLEST}stages: [{{kind: cpt, learning_rate: {number}}}]\n")
    assert recipe.stages[0].learning_rate == pytest.approx(1e-5)


def test_whole_numbers_serve_as_numbers_and_empty_sections_as_defaults(folder: Path) -> None:
    recipe = load(folder, f"{SMALLEST}data: {{unknown: 2}}\nadapter:\n")
    assert recipe.data.unknown == 2.0
    assert recipe.adapter.rank == 16


def test_without_general_records_nothing_is_mixed_in(folder: Path) -> None:
    recipe = load(folder, f"{SMALLEST}data: {{general: none}}\n")
    assert [stage.general for stage in recipe.stages] == [0.0, 0.0]


def test_a_folder_beside_the_recipe_is_the_model(folder: Path) -> None:
    (folder / "weights").mkdir()
    text = f"{SMALLEST}model: {{path: %s}}\n"
    assert load(folder, text % "weights").model.path == str(folder / "weights")
    assert load(folder, text % "google/gemma-2-9b-it").model.path == "google/gemma-2-9b-it"
    assert mistakes(folder, text % "./wieghts") == [
        f"2: model.path: no such folder: {folder / 'wieghts'}"
    ]


@pytest.mark.parametrize(
    "text",
    [
        SMALLEST,
        "data: {train: train.jsonl, general: none}\n",
        "data: {train: {path: hf:a/b, text: '{q}'}, valid: train.jsonl}\n",
        SMALLEST + "name: '1e5'\nstages: [{kind: sft, learning_rate: 1e-5, patience: 3}]\n",
        SMALLEST + "name: 'no'\nadapter: {targets: [q_proj, v_proj], layers: 2}\n",
        SMALLEST + "adapter: {dora: true, targets: '.*[qv]_proj', rank_pattern: {'1\\..*': 4}}\n",
        SMALLEST + "require: {recall: 0.9, bleed: 0, at: low}\ndata: {decline: 'né: #1'}\n",
    ],
)
def test_written_out_it_loads_as_the_same_recipe(folder: Path, tmp_path: Path, text: str) -> None:
    recipe = load(folder, text)
    elsewhere = tmp_path / "resolved.yaml"
    elsewhere.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(elsewhere) == recipe


def test_all_mistakes_are_told_at_once_with_their_lines(folder: Path) -> None:
    text = """\
seed: abc
rank: 8
knowledge:
  facts: fact.jsonl
adapter:
  rnak: 4
  rank: abc
  rank: 3
  layers: yes
stages:
  - kind: ctp
    epochs: 0
  - general: 2
exam: 7
require: {recal: 0.9, retention: 95}
output: 5
"""
    assert mistakes(folder, text) == [
        "1: seed: expected a whole number from 0 to 4294967295, saw 'abc'",
        "2: rank: no such key; did you mean adapter.rank?",
        f"4: knowledge.facts: no such file: {folder / 'fact.jsonl'}; did you mean facts.jsonl?",
        "6: adapter.rnak: no such key; did you mean rank?",
        "7: adapter.rank: expected a whole number of at least 1, saw 'abc'",
        "8: adapter.rank: written twice, first in line 7",
        "9: adapter.layers: expected all or a whole number of at least 1, saw 'yes'",
        "11: stages[1].kind: expected cpt or sft, saw 'ctp'; did you mean cpt?",
        "12: stages[1].epochs: expected a whole number of at least 1, saw 0",
        "13: stages[2].general: expected a number from 0 to 0.95, saw 2",
        "13: stages[2].kind: missing; expected cpt or sft",
        "14: exam: expected keys such as max_new_tokens and batch_size, saw 7",
        "15: require.recal: no such key; did you mean recall?",
        "15: require.retention: expected a number from 0 to 1, saw 95",
        "16: output: expected a folder, saw 5",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the file is empty; expected at least knowledge.facts or data.train"),
        ("# only a comment\n", "1: the file is empty; expected at least"),
        ("- a\n", "1: expected keys such as knowledge: and stages:, saw a list"),
        ("hello\n", "1: expected keys such as knowledge: and stages:, saw a single value"),
        ("seed: 1\n", "1: nothing to learn from; expected knowledge.facts or data.train"),
        ("a: [1\nb: 2\n", "2: broken YAML: expected ',' or ']', but got ':'"),
        ("seed: 1\n\tb: 2\n", "2: broken YAML: found character '\\t'"),
        ("a: *b\n", "1: broken YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "2: broken YAML: but found another document"),
        ("seed: 1\n\0", "2: broken YAML: unacceptable character"),
        ("x: &a [*a]\n", "1: an alias that contains itself"),
        (SMALLEST + "? [a, b]\n: 3\n", "2: a key must be a single word"),
        (SMALLEST + "adapter: {rank: true}\n", "2: adapter.rank: expected a whole number"),
        (SMALLEST + "adapter: {rank: 2.5}\n", "2: adapter.rank: expected a whole number"),
        (SMALLEST + "adapter: {alpha: .inf}\n", "2: adapter.alpha: expected a number above 0"),
        (SMALLEST + "adapter: {targets: []}\n", "2: adapter.targets: expected all-linear or a"),
        (SMALLEST + "adapter: {targets: q_proj}\n", "2: adapter.targets: expected all-linear or a"),
        (SMALLEST + "adapter: {targets: '(q'}\n", "2: adapter.targets: no regular expression: (q"),
        (SMALLEST + "adapter: {dora: maybe}\n", "2: adapter.dora: expected true or false"),
        (
            SMALLEST + "adapter: {rank_pattern: {q_proj: 0}}\n",
            "2: adapter.rank_pattern: expected keys with whole numbers of at least 1",
        ),
        (SMALLEST + "stages: []\n", "2: stages: expected a list of sections, saw an empty list"),
        (SMALLEST + "name: ../x\n", "2: name: expected letters, digits, '-', '_' and '.'"),
        (SMALLEST + "data: {general: buildin}\n", "2: data.general: no such file: "),
        (SMALLEST + "data: {valid: train.jsonl}\n", "2: data.valid: there is no data.train"),
        (
            SMALLEST + "track: [wandbb]\n",
            "2: track[1]: expected a list, some of tensorboard, wandb",
        ),
        ("knowledge: {facts: .}\n", "1: knowledge.facts: expected a file, but "),
        ("data: {train: train.jsonl}\nrequire: {recall: 1}\n", "2: require.recall: not measured"),
        ("data: {train: train.jsonl}\nrequire: {format: 1}\n", "2: require.format: not measured"),
        (
            SMALLEST + "data: {general: none}\nstages:\n- kind: sft\n  general: 0.5\n",
            "5: stages[1].general: no records to mix in, since data.general is none",
        ),
    ],
)
def test_each_bad_recipe_is_told_in_plain_words(folder: Path, text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in mistakes(folder, text))


def test_what_is_not_a_recipe_file_is_named_with_what_to_do(folder: Path) -> None:
    for path, words in [
        (folder / "none.yaml", "no recipe at"),
        (folder, "is a folder"),
        (folder / "facts.jsonl", "is data, not a recipe"),
    ]:
        with pytest.raises(RecipeError, match=words) as refused:
            load_recipe(path)
        assert refused.value.fix
    (folder / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(folder / "latin.yaml")


def test_kinds_are_named_or_counted(folder: Path) -> None:
    known = "knowledge: {facts: facts.jsonl, ontology: ontology.yaml}\n"
    listed = load(folder, known + "data: {kinds: [inverse, yes_no]}\nexam: {kinds: [inverse]}\n")
    assert listed.data.kinds == {"inverse": 3, "yes_no": 3}
    assert listed.exam.kinds == ("inverse",)
    counted = load(folder, known + "data: {kinds: {inverse: 5}, tellings: 10}\n")
    assert (counted.data.kinds, counted.data.tellings) == ({"inverse": 5}, 10)
    (folder / "again.yaml").write_text(to_yaml(listed))
    assert load_recipe(folder / "again.yaml") == listed


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ("data: {kinds: [inverted]}", "data.kinds"),
        ("data: {kinds: {inverse: 0}}", "whole numbers of at least 1, saw 0"),
        ("data: {kinds: [[inverse]]}", "data.kinds"),
        ("exam: {kinds: [across]}", "exam.kinds"),
    ],
)
def test_other_kinds_are_refused(folder: Path, kinds: str, said: str) -> None:
    known = "knowledge: {facts: facts.jsonl, ontology: ontology.yaml}\n"
    (found,) = mistakes(folder, known + kinds + "\n")
    assert said in found


def test_kinds_need_an_ontology(folder: Path) -> None:
    text = SMALLEST + "data: {kinds: [inverse]}\nexam: {kinds: [inverse]}\n"
    assert mistakes(folder, text) == [
        "2: data.kinds: knowledge.ontology is missing",
        "3: exam.kinds: knowledge.ontology is missing",
    ]


def test_what_is_required_of_a_kind_must_be_examined(folder: Path) -> None:
    known = "knowledge: {facts: facts.jsonl, ontology: ontology.yaml}\n"
    required = "require: {recall: 0.9, kinds: {inverse: 0.5}}\n"
    recipe = load(folder, known + required + "exam: {kinds: [inverse]}\n")
    assert recipe.require.measures() == {"recall": 0.9, "inverse": 0.5}
    assert mistakes(folder, known + required) == [
        "2: require.kinds.inverse: not examined; name it in exam.kinds, too"
    ]
