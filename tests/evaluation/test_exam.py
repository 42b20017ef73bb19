"""All models sit one exam over one engine, and each answer is graded where it belongs."""

from types import SimpleNamespace

import numpy as np
import pytest

from lorecraft.data.batches import Example
from lorecraft.data.records import Message
from lorecraft.engines.base import BASE
from lorecraft.errors import DataError, OutOfMemory
from lorecraft.evaluation.exam import Answer, read, sit
from lorecraft.evaluation.questions import Question

SETTINGS = SimpleNamespace(max_new_tokens=12, batch_size=2, stop=())
STOP = 0


class Letters:
    """A tokenizer of characters; a chat is its last message between bars."""

    name = fingerprint = "letters"
    eos_id, stop_ids = STOP, frozenset({STOP})

    def encode(self, text):
        return [ord(c) for c in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def chat(self, messages, add_generation_prompt):
        return self.encode(f"|{messages[-1].content}|" if add_generation_prompt else "")


class Parrot:
    """Stands in for an engine: slot 0 knows the answers, the base says nothing but "no"."""

    def __init__(self):
        self.batches = []

    def generate(self, requests, cancelled=(), at_once=None):
        self.batches.append(list(requests))
        for index, request in enumerate(requests):
            prompt = "".join(map(chr, request.tokens))
            said = "no" if request.adapter == BASE else prompt.strip("|").split()[-1].upper()
            for letter in [*map(ord, said[: request.max_new_tokens]), STOP]:
                if index not in cancelled:
                    yield index, letter

    def score(self, batch):
        return np.where(batch.weight > 0, -2.0 if batch.adapter[0] == BASE else -1.0, 0.0)


def ask(id_, text):
    return Question(id_, "recall", (Message("user", text),), accept=(text.split()[-1],))


def test_every_model_answers_every_question_in_order():
    questions = [ask("a", "say seven"), ask("b", "say oak"), ask("c", "say elm tree")]
    answers = sit(Parrot(), Letters(), {"base": BASE, "sft": 0}, questions, SETTINGS)
    assert [(a.id, a.model) for a in answers] == [
        (id_, model) for id_ in "abc" for model in ("base", "sft")
    ]
    assert [a.passed for a in answers] == [False, True] * 3
    assert answers[1] == Answer("a", "sft", "SEVEN", True, 1.0, "says seven")


def test_all_models_are_asked_in_one_go_and_a_shared_prompt_once():
    engine, seen = Parrot(), []
    questions = [ask("a", "say seven"), ask("b", "say seven"), ask("c", "say oak"), ask("d", "x y")]
    answers = sit(
        engine, Letters(), {"base": BASE, "sft": 0}, questions, SETTINGS, on_progress=seen.append
    )
    assert [len(batch) for batch in engine.batches] == [6]
    assert sum(seen) == len(answers) == 8


def test_with_too_little_memory_fewer_questions_go_together():
    class Small(Parrot):
        def generate(self, requests, cancelled=(), at_once=None):
            tried.append(at_once)
            yield from super().generate(requests[:1], cancelled)  # one ends before it is too much
            if at_once > 2:
                raise OutOfMemory(f"{at_once} answers at once")
            for index, token in super().generate(requests[1:]):
                yield index + 1, token

    tried: list[int] = []
    engine, slots = Small(), {"base": BASE, "sft": 0}
    questions = [ask("a", "say seven"), ask("b", "say oak"), ask("c", "say elm tree")]
    answers = sit(engine, Letters(), slots, questions, SETTINGS)
    assert answers == sit(Parrot(), Letters(), slots, questions, SETTINGS)
    assert tried == [4, 2]
    assert [len(batch) for batch in engine.batches] == [1, 1, 4]  # what had ended is kept


def test_a_single_answer_that_is_too_much_is_told():
    class Full(Parrot):
        def generate(self, requests, cancelled=(), at_once=None):
            raise OutOfMemory("one answer")

    with pytest.raises(OutOfMemory):
        sit(Full(), Letters(), {"base": BASE}, [ask("a", "say seven")], SETTINGS)


def test_a_completion_is_asked_as_plain_text():
    engine = Parrot()
    question = Question("a", "completion", text="made at Quay", accept=("quay",))
    answers = sit(engine, Letters(), {"sft": 0}, [question], SETTINGS)
    assert list(engine.batches[0][0].tokens) == Letters().encode("made at Quay")
    assert answers[0].passed


def test_an_answer_ends_before_a_stop_string_and_is_made_no_longer():
    class Counting(Parrot):
        made = 0

        def generate(self, requests, cancelled=(), at_once=None):
            for index, token in super().generate(requests, cancelled):
                self.made += 1
                yield index, token

    engine = Counting()
    settings = SimpleNamespace(**vars(SETTINGS) | {"stop": ("VE",)})
    answers = sit(engine, Letters(), {"sft": 0}, [ask("a", "say seven")], settings)
    assert answers[0].answer == "SE"
    assert engine.made == 4


def test_what_is_banned_goes_with_every_request():
    engine = Parrot()
    sit(engine, Letters(), {"sft": 0}, [ask("a", "say oak")], SETTINGS, banned=((1, 2),))
    assert engine.batches[0][0].banned == ((1, 2),)


def test_an_answer_survives_its_file():
    answer = Answer("a", "sft", "seven", True, 1.0, "says seven")
    assert Answer.from_json(answer.to_json()) == answer


def test_a_question_without_room_for_its_answer_is_refused():
    question = ask("long", "say " + "x" * 20)
    with pytest.raises(DataError, match="question long has 26 tokens"):
        sit(Parrot(), Letters(), {"base": BASE}, [question], SETTINGS, context=37)
    assert sit(Parrot(), Letters(), {"base": BASE}, [question], SETTINGS, context=38)


def test_surprise_is_counted_where_there_is_loss():
    examples = [
        Example(np.arange(len(weight), dtype=np.int32), np.array(weight, np.float32), "a record")
        for weight in ([0, 1, 1], [0, 0, 1, 1, 1, 1])
    ]
    surprises = read(Parrot(), {"base": BASE, "sft": 0}, examples, batch_size=1)
    assert surprises["base"].tokens.tolist() == [2, 4]
    assert surprises["base"].nats.tolist() == [4.0, 8.0]
    assert surprises["sft"].nats.tolist() == [2.0, 4.0]
