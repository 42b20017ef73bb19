"""Every engine, held against a float64 NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, TokenBatch, flatten, pack
from lorecraft.engines.base import BASE, Request
from lorecraft.engines.pairs import summed
from lorecraft.errors import AdapterError, ModelError
from lorecraft.recipe import PreferenceSection
from lorecraft.training.preference import Preference

from .conftest import METHODS, VOCABULARY

NO_ADAPTER = ({}, None)


def examples(count: int, seed: int) -> list[Example]:
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        length = int(random.integers(4, 11))
        weight = random.choice([0.0, 0.5, 1.0], length).astype(np.float32)
        weight[0], weight[-1] = 0, 1
        tokens = random.integers(0, VOCABULARY, length).astype(np.int32)
        made.append(Example(tokens, weight, str(index)))
    return made


def forest(slots: list[int]) -> TokenBatch:
    """A prompt with two answers, an answer to an answer, and segments of their own; then, under the
    last slot, answers of one token, weights that cancel out, and a segment of nothing."""
    parts = examples(6, 7)
    ones = [Example(np.int32([token]), np.float32([1]), "") for token in (3, 9)]
    cancelled = Example(np.int32([5, 6, 7]), np.float32([0, 1, -1]), "")
    plain = pack([*parts, *ones, cancelled], 0)
    weight = plain.weight.copy()
    weight[plain.segment(0)] = 0
    weight[plain.starts[1]] = 1  # the first token after a parent can be predicted
    return TokenBatch(
        tokens=plain.tokens,
        starts=np.append(plain.starts, plain.starts[-1]),
        parent=np.array([-1, 0, 0, 1, -1, -1, 0, 0, -1, 4], np.int32),
        adapter=np.array([*slots, *[slots[-1]] * 4], np.int32),
        weight=weight,
    )


def train(engine, slot, steps):
    losses = []
    for step in steps:
        loss = engine.accumulate(pack(examples(4, step), slot))
        engine.update(1e-2)
        losses.append(loss.total / loss.weight)
    return losses


def attached(case, engine, methods) -> dict:
    """Two adapters: slot -> tensors and spec, as the reference takes them."""
    known = {BASE: NO_ADAPTER}
    for seed, method in enumerate(methods, 1):
        slot, tensors, spec = case.attach(engine, seed, method)
        known[slot] = tensors, spec
    return known


@pytest.mark.parametrize(
    "methods", [("lora", "rslora"), ("dora", "lora"), ("patterns", "all of them")], ids=" ".join
)
def test_scores_a_forest_under_several_adapters_at_once(case, methods):
    engine = case.open()
    known = attached(case, engine, methods)
    batch = forest([0, 1, 0, 1, BASE, 1])
    expected = np.zeros(len(batch.tokens))
    for segment, tokens, weight in flatten(batch):
        log = case.log_probabilities(tokens, *known[int(batch.adapter[segment])])
        at = np.flatnonzero(weight)
        expected[batch.starts[segment + 1] - len(tokens) + at] = log[at - 1, tokens[at]]
    assert np.abs(engine.score(batch) - expected).max() < 2e-4
    assert (engine.score(batch)[batch.weight == 0] == 0).all()


def reference_gradient(case, batch, slot, tensors, spec, frozen) -> tuple[float, dict]:
    """Loss sum and its gradient by central differences; ``frozen`` are other slots' tensors and
    specs."""

    def loss(trial) -> float:
        total, known = 0.0, {slot: (trial, spec, tensors)} | frozen
        for segment, tokens, weight in flatten(batch):
            log = case.log_probabilities(tokens, *known[int(batch.adapter[segment])])
            at = np.flatnonzero(weight)
            total -= float(weight[at].astype(float) @ log[at - 1, tokens[at]])
        return total

    trial = {name: array.astype(float) for name, array in tensors.items()}
    return loss(trial), central_differences(loss, trial)


def central_differences(loss, trial) -> dict:
    gradient = {name: np.zeros(array.shape) for name, array in trial.items()}
    for name, array in trial.items():
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + 1e-5
            above = loss(trial)
            array[index] = kept - 1e-5
            gradient[name][index] = (above - loss(trial)) / 2e-5
            array[index] = kept
    return gradient


@pytest.mark.parametrize("shape", ["rows", "forest"])
@pytest.mark.parametrize("method", METHODS)
def test_loss_gradient_and_updates_are_the_reference(case, method, shape):
    engine = case.open()
    other, *frozen = case.attach(engine, 1)
    known = {other: tuple(frozen), BASE: NO_ADAPTER}
    slot, tensors, spec = case.attach(engine, 2, method, trainable=True)
    first = {name: np.zeros(array.shape) for name, array in tensors.items()}
    second = {name: np.zeros(array.shape) for name, array in tensors.items()}
    for step, max_norm in ((1, 0.0), (2, 0.05)):
        batch = pack(examples(2, step), slot)
        if shape == "forest":  # the slot's segments among others that learn nothing
            batch = forest([slot, slot, other, slot, BASE, slot])
        total, gradient = reference_gradient(case, batch, slot, tensors, spec, known)
        seen = engine.accumulate(batch)
        assert seen.total == pytest.approx(total, rel=1e-5)
        assert seen.weight == pytest.approx(float(batch.weight.sum()))
        own = [batch.weight[batch.segment(s)].sum() for s in np.flatnonzero(batch.adapter == slot)]
        mean = {name: array / float(sum(own)) for name, array in gradient.items()}
        norm = np.sqrt(sum((g * g).sum() for g in mean.values()))
        update = engine.update(1e-2, max_norm=max_norm, weight_decay=0.1)
        assert update.applied
        assert update.gradient_norm == pytest.approx(norm, rel=1e-4)
        for name, tensor in tensors.items():
            g = mean[name] * (max_norm / norm if 0 < max_norm < norm else 1)
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g * g
            move = (first[name] / (1 - 0.9**step)) / (
                np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8
            )
            tensors[name] = tensor - 1e-2 * (move + 0.1 * tensor)
    for name, array in engine.adapter(slot).items():
        assert np.abs(array - tensors[name]).max() < 2e-4, name


def reference_pair(sums, reference, lengths, loss, beta, smoothing=0.0, sft=0.0, average=False):
    """The losses as their papers have them, by plain logarithms and exponentials."""
    if average or loss == "ipo":
        sums, reference = sums / lengths, reference / lengths
    h = (sums[0] - reference[0]) - (sums[1] - reference[1])
    total = 0.0
    for share, way in ((1 - smoothing, h), (smoothing, -h)):
        total += (
            share
            * {
                "sigmoid": -np.log(1 / (1 + np.exp(-beta * way))),
                "ipo": (way - 1 / (2 * beta)) ** 2,
                "hinge": max(0.0, 1 - beta * way),
            }[loss]
        )
    return total - sft * (sums[0] if average or loss == "ipo" else sums[0] / lengths[0])


PREFERENCES = {
    "sigmoid": {"loss": "sigmoid", "beta": 0.3},
    "ipo": {"loss": "ipo", "beta": 0.5},
    "hinge": {"loss": "hinge", "beta": 0.4},
    "smoothing": {"loss": "sigmoid", "beta": 0.3, "label_smoothing": 0.2},
    "smoothed hinge": {"loss": "hinge", "beta": 0.2, "label_smoothing": 0.3},
    "sft": {"loss": "sigmoid", "beta": 0.2, "sft": 0.7},
    "average": {"loss": "sigmoid", "beta": 2.0, "average": True},
    "all of them": {
        "loss": "ipo", "beta": 0.9, "label_smoothing": 0.1, "sft": 0.3, "average": True,
    },
}  # fmt: skip


def families(slot) -> TokenBatch:
    """Three prompts with two answers each, of one token and of several."""
    random, lengths = np.random.default_rng(11), [4, 3, 5, 2, 1, 3, 6, 4, 4]
    parent = np.int32([-1, 0, 0, -1, 3, 3, -1, 6, 6])
    starts = np.cumsum([0, *lengths]).astype(np.int32)
    return TokenBatch(
        tokens=random.integers(0, VOCABULARY, starts[-1]).astype(np.int32),
        starts=starts,
        parent=parent,
        adapter=np.full(len(parent), slot, np.int32),
        weight=np.repeat((parent >= 0).astype(np.float32), lengths),
    )


@pytest.mark.parametrize("settings", PREFERENCES.values(), ids=PREFERENCES)
def test_losses_of_pairs_and_their_gradients_are_the_reference(case, settings):
    engine = case.open()
    slot, tensors, spec = case.attach(engine, 2, trainable=True)
    batch = families(slot)
    pairs = np.flatnonzero(batch.parent >= 0).reshape(-1, 2)
    random = np.random.default_rng(3)
    reference = -random.uniform(2, 20, pairs.shape)
    lengths = np.diff(batch.starts)[pairs].astype(float)
    rows = [(segment, tokens) for segment, tokens, _ in flatten(batch)]

    def sums(trial) -> np.ndarray:
        found = {}
        for segment, tokens in rows:
            log = case.log_probabilities(tokens, trial, spec, tensors)
            at = np.arange(len(tokens) - len(batch.tokens[batch.segment(segment)]), len(tokens))
            found[segment] = log[at - 1, tokens[at]].sum()
        return np.array([[found[segment] for segment in pair] for pair in pairs.tolist()])

    def loss(trial) -> float:
        known = {**settings, "smoothing": settings.get("label_smoothing", 0.0)}
        known.pop("label_smoothing", None)
        each = zip(sums(trial), reference, lengths, strict=True)
        return sum(reference_pair(*one, **known) for one in each)

    trial = {name: array.astype(float) for name, array in tensors.items()}
    gradient = central_differences(loss, trial)
    objective = Preference(PreferenceSection(**settings), batch, reference)
    seen = engine.accumulate(batch, objective)
    assert seen.total == pytest.approx(loss(trial), rel=1e-5)
    assert seen.weight == len(pairs)
    np.testing.assert_allclose(seen.sums, sums(trial), rtol=1e-5)
    np.testing.assert_allclose(summed(batch, engine.score(batch))[pairs], seen.sums, rtol=1e-5)
    norm = np.sqrt(sum((g * g).sum() for g in gradient.values())) / len(pairs)
    assert engine.update(1e-2, max_norm=0.0).gradient_norm == pytest.approx(norm, rel=1e-3)
    for name, array in engine.adapter(slot).items():  # AdamW's first step is the gradient's sign
        steady = np.abs(gradient[name]) > 1e-3 * norm
        moved = (array - tensors[name])[steady]
        np.testing.assert_allclose(moved, -1e-2 * np.sign(gradient[name][steady]), atol=2e-4)


def test_pairs_cut_apart_weigh_like_one_batch(case):
    norms = []
    for cuts in (1, 3):
        engine = case.open()
        slot, _, _ = case.attach(engine, 2, trainable=True)
        whole = families(slot)
        for part in np.split(np.arange(9), cuts):
            first, last = int(whole.starts[part[0]]), int(whole.starts[part[-1] + 1])
            batch = TokenBatch(
                tokens=whole.tokens[first:last],
                starts=whole.starts[part[0] : part[-1] + 2] - first,
                parent=np.where(whole.parent[part] < 0, -1, whole.parent[part] - part[0]),
                adapter=whole.adapter[part],
                weight=whole.weight[first:last],
            )
            reference = np.full((len(part) // 3, 2), -9.0)
            settings = PreferenceSection(sft=0.5)
            engine.accumulate(batch, Preference(settings, batch, reference))
        norms.append(engine.update(1e-2).gradient_norm)
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_pair_is_under_the_trainable_adapter(case):
    engine = case.open()
    other, _, _ = case.attach(engine, 1)
    case.attach(engine, 2, trainable=True)
    batch = families(other)
    with pytest.raises(ValueError, match="trainable"):
        engine.accumulate(batch, Preference(PreferenceSection(), batch, np.zeros((3, 2))))


def test_accumulated_batches_weigh_like_one(case):
    together, apart = case.open(), case.open()
    parts = examples(5, 3)
    results = []
    for engine, cuts in ((together, [parts]), (apart, [parts[:1], parts[1:]])):
        slot, _, _ = case.attach(engine, 2, trainable=True)
        for cut in cuts:
            engine.accumulate(pack(cut, slot))
        results.append(engine.update(1e-2).gradient_norm)
    assert results[0] == pytest.approx(results[1], rel=1e-4)


@pytest.mark.parametrize("methods", [("lora", "rslora"), ("dora", "patterns")], ids=" ".join)
def test_generates_greedily_under_several_adapters(case, methods):
    engine = case.open()
    known = attached(case, engine, methods)
    random = np.random.default_rng(5)
    requests = [
        Request(
            random.integers(0, VOCABULARY, int(random.integers(1, 9))).tolist(),
            adapter=int(random.integers(-1, 2)),
            max_new_tokens=int(random.integers(1, 12)),
            stop=frozenset(range(8)),
        )
        for _ in range(9)
    ]
    seen: dict[int, list[int]] = {index: [] for index in range(len(requests))}
    for index, token in engine.generate(requests):
        seen[index].append(token)
    for index, request in enumerate(requests):
        expected: list[int] = []
        while len(expected) < request.max_new_tokens and (not expected or expected[-1] >= 8):
            text = np.array([*request.tokens, *expected])
            expected.append(int(case.logits(text, *known[request.adapter])[-1].argmax()))
        assert seen[index] == expected


def answers(engine, requests, cancelled=()):
    said = [[] for _ in requests]
    for index, token in engine.generate(requests, cancelled):
        said[index].append(token)
    return said


def reference_draw(logits, request, uniform):
    """top_k, then top_p of what is left, then min_p, each as a set of tokens."""
    probability = np.exp((logits - logits.max()) / request.temperature)
    order = np.argsort(-probability, kind="stable")
    if request.top_k:
        probability[order[request.top_k :]] = 0
    before = np.cumsum(probability[order]) - probability[order]
    probability[order[before >= request.top_p * probability.sum()]] = 0
    probability[probability < request.min_p * probability.max()] = 0
    cumulative = np.cumsum(probability[order])
    return int(order[(cumulative <= uniform * cumulative[-1]).sum()])


def test_draws_what_the_settings_leave(case):
    engine = case.open()
    slot, tensors, scale = case.attach(engine, 1)
    settings = [
        {"top_k": 3},
        {"top_p": 0.6},
        {"min_p": 0.3},
        {"top_k": 9, "top_p": 0.8, "min_p": 0.05},
        {"top_k": 1},
        {"top_k": VOCABULARY + 9, "top_p": 0.99, "min_p": 1e-9},
        {},
    ]
    requests = [
        Request([seed, 5], slot, 6, temperature=1.5, seed=seed, **each)
        for seed, each in enumerate(settings)
    ]
    for request, said in zip(requests, answers(engine, requests), strict=True):
        random = np.random.default_rng(request.seed)
        expected: list[int] = []
        while len(expected) < request.max_new_tokens:
            text = np.array([*request.tokens, *expected])
            logits = case.logits(text, tensors, scale)[-1]
            expected.append(reference_draw(logits, request, random.random()))
        assert said == expected, request


def test_a_request_draws_the_same_tokens_alone_and_in_company(case):
    engine = case.open()
    requests = [
        Request([index, 3], max_new_tokens=8, temperature=0.8, top_p=0.9, seed=index)
        for index in range(4)
    ]
    assert answers(engine, requests)[2] == answers(engine, requests[2:3])[0]
    other = Request([2, 3], BASE, 8, temperature=0.8)
    assert answers(engine, [other]) != answers(engine, requests[2:3])


def test_samples_of_one_prompt_are_as_many_answers(case):
    engine = case.open()
    slot, _, _ = case.attach(engine, 1)
    requests = [
        Request([4, 9, 2], [slot, BASE][seed % 2], 3 + seed, temperature=2.0, seed=seed)
        for seed in range(6)
    ]
    alone = [answers(engine, [request])[0] for request in requests]
    assert answers(engine, requests) == alone
    assert len({tuple(said[:3]) for said in alone}) > 1


def test_what_is_banned_is_never_completed(case):
    engine = case.open()
    free = Request([4, 9], max_new_tokens=10)
    first, second, third, *_ = answers(engine, [free])[0]
    banned = ((9, first), (second,), (third, 1, 2), (first,) * 30)
    request = Request([4, 9], max_new_tokens=10, banned=banned)
    expected: list[int] = []
    while len(expected) < 10:
        text = [4, 9, *expected]
        logits = case.logits(np.array(text), {}, 1.0)[-1]
        never = [last for *before, last in banned if not before or text[-len(before) :] == before]
        logits[never] = -np.inf
        expected.append(int(logits.argmax()))
    unhindered, seen = answers(engine, [free, request])
    assert seen == expected
    assert seen[0] != first
    assert unhindered[:3] == [first, second, third]
    drawn = Request([4, 9], max_new_tokens=10, temperature=9.0, banned=((7,), (8,)))
    assert not {7, 8} & set(answers(engine, [drawn])[0])


def test_a_cancelled_request_says_no_more(case):
    engine = case.open()
    requests = [Request([n, 5], max_new_tokens=6) for n in range(4)]
    whole = answers(engine, requests)
    cancelled = {3}
    said: list[list[int]] = [[] for _ in requests]
    for index, token in engine.generate(requests, cancelled):
        said[index].append(token)
        if len(said[1]) == 2:
            cancelled.add(1)
    assert said == [whole[0], whole[1][:2], whole[2], []]


def test_answers_that_nobody_waits_for_are_left(case):
    engine = case.open()
    requests = [Request([n, 5], max_new_tokens=6) for n in range(4)]
    whole = answers(engine, requests)
    stream = engine.generate(requests)
    next(stream)
    stream.close()
    assert answers(engine, requests) == whole
    assert answers(engine, []) == []


@pytest.mark.parametrize("method", ["lora", "all of them"])
def test_resumes_with_the_same_bits(case, method):
    spec = AdapterSpec(2, alpha=4.0, dropout=0.3, targets=case.targets, **METHODS[method])
    straight, resumed = case.open(), case.open()
    slot = straight.attach(spec, trainable=True, seed=1)
    train(straight, slot, range(3))
    state = straight.state()
    train(straight, slot, range(3, 6))
    resumed.attach(spec, trainable=True, seed=9)
    train(resumed, slot, [8])
    resumed.restore(state)
    train(resumed, slot, range(3, 6))
    for name, array in straight.adapter(slot).items():
        assert np.array_equal(array, resumed.adapter(slot)[name]), name


def test_a_step_that_is_not_finite_changes_nothing(case):
    engine = case.open()
    slot, _, _ = case.attach(engine, 1, trainable=True)
    train(engine, slot, [0])
    before, state = engine.adapter(slot), engine.state()
    batch = pack(examples(2, 1), slot)
    batch.weight[-1] = np.inf
    with np.errstate(all="ignore"):
        engine.accumulate(batch)
        assert not engine.update(1e-2).applied
    after = engine.adapter(slot)
    assert all(np.array_equal(after[name], array) for name, array in before.items())
    assert int(engine.state()["step"][0]) == int(state["step"][0])
    engine.accumulate(pack(examples(2, 1), slot))
    assert engine.update(1e-2).applied


def test_learns_a_few_examples_by_heart(case):
    engine = case.open()
    slot = engine.attach(AdapterSpec(rank=16, alpha=32.0), trainable=True)
    batch = pack(examples(3, 4), slot)
    before = engine.score(batch)
    losses = []
    for _ in range(120):
        loss = engine.accumulate(batch)
        engine.update(2e-2)
        losses.append(loss.total / loss.weight)
    assert losses[-1] < 0.1 * losses[0]
    base = pack(examples(3, 4), BASE)
    assert np.allclose(engine.score(base), before, atol=1e-4)


def test_a_fresh_dora_adapter_changes_nothing_but_the_rounding(case):
    engine = case.open()
    slot, batch = engine.attach(AdapterSpec(rank=4, dora=True)), examples(2, 0)
    seen = engine.score(pack(batch, slot))
    np.testing.assert_allclose(seen, engine.score(pack(batch, BASE)), atol=1e-4)


def test_a_fresh_adapter_changes_nothing_and_follows_its_seed(case):
    engine = case.open()
    first, second, third = (engine.attach(AdapterSpec(rank=4), seed=seed) for seed in (1, 1, 2))
    batch = examples(2, 0)
    assert np.array_equal(engine.score(pack(batch, first)), engine.score(pack(batch, BASE)))
    same = [engine.adapter(slot) for slot in (first, second, third)]
    assert all(np.array_equal(same[0][name], same[1][name]) for name in same[0])
    assert any(not np.array_equal(same[0][name], same[2][name]) for name in same[0])


def test_the_last_layers_alone_can_be_adapted(case):
    engine = case.open()
    names = engine.adapter(engine.attach(AdapterSpec(rank=2, layers=1)))
    assert names
    assert all(name.startswith("base_model.model.model.layers.1.") for name in names)


def test_targets_may_be_a_regular_expression_for_whole_paths(case):
    engine = case.open()
    spec = AdapterSpec(rank=2, targets=r"model\.layers\.1\..*_proj", rank_pattern={"down_proj": 5})
    tensors = engine.adapter(engine.attach(spec))
    assert all(name.startswith("base_model.model.model.layers.1.") for name in tensors)
    ranks = {name: len(array) for name, array in tensors.items() if "lora_A" in name}
    assert {rank for name, rank in ranks.items() if "down_proj" in name} == {5}
    assert {rank for name, rank in ranks.items() if "down_proj" not in name} == {2}


def test_what_a_target_could_have_been_is_told(case):
    with pytest.raises(AdapterError) as found:
        case.open().attach(AdapterSpec(targets=("no_such_proj",)))
    assert "down_proj" in str(found.value) and "model.layers.0." in str(found.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (AdapterSpec(rank=0), "rank 0"),
        (AdapterSpec(layers=3), "layers 3"),
        (AdapterSpec(layers=0), "layers 0"),
        (AdapterSpec(targets=("no_such_proj",)), "no_such_proj"),
        (AdapterSpec(targets=("lm_head",)), "lm_head"),
        (AdapterSpec(targets=()), "no targets"),
        (AdapterSpec(targets="down_proj"), "'down_proj' matches no linear module"),
        (AdapterSpec(targets=r".*\.(up|down"), "no regular expression"),
        (AdapterSpec(rank_pattern={"down_proj": 0}), "rank 0"),
        (AdapterSpec(rank_pattern={"down": 2}), "rank_pattern: 'down' matches no adapted module"),
        (AdapterSpec(alpha_pattern={"lm_head": 2.0}), "alpha_pattern: 'lm_head'"),
        (AdapterSpec(alpha_pattern={"(": 2.0}), "no regular expression"),
    ],
)
def test_refuses_an_adapter_that_cannot_be(case, spec, says):
    with pytest.raises(AdapterError, match=says):
        case.open().attach(spec)


def test_refuses_weights_that_do_not_fit(case):
    engine = case.open()
    tensors = engine.adapter(engine.attach(AdapterSpec(rank=2)))
    name = next(iter(tensors))
    with pytest.raises(AdapterError, match="shape"):
        engine.attach(AdapterSpec(rank=2), tensors | {name: tensors[name][:1]})
    with pytest.raises(AdapterError, match="no place"):
        engine.attach(AdapterSpec(rank=2), tensors | {"other": tensors[name]})
    with pytest.raises(AdapterError, match="lacks"):
        engine.attach(AdapterSpec(rank=2), {name: tensors[name]})


def test_the_latest_trainable_adapter_is_the_one_that_trains(case):
    engine = case.open()
    old, _, _ = case.attach(engine, 1, trainable=True)
    train(engine, old, [0])
    new = engine.attach(AdapterSpec(rank=2), trainable=True)
    kept = engine.adapter(old)
    train(engine, new, [1])
    assert all(np.array_equal(kept[name], array) for name, array in engine.adapter(old).items())
    with pytest.raises(ValueError, match="trainable"):
        engine.accumulate(pack(examples(1, 0), old))


def test_a_detached_adapter_is_gone_and_the_others_stay(case):
    engine = case.open()
    first, _, _ = case.attach(engine, 1)
    second, _, _ = case.attach(engine, 2, trainable=True)
    before = engine.score(pack(examples(1, 0), first))
    engine.detach(second)
    assert np.array_equal(engine.score(pack(examples(1, 0), first)), before)
    with pytest.raises(AdapterError, match=f"slot {second}"):
        engine.score(pack(examples(1, 0), second))
    with pytest.raises(ValueError, match=r"trainable|attach"):
        engine.accumulate(pack(examples(1, 0), first))
    assert case.attach(engine, 2)[0] not in (first, second)


def test_refuses_what_it_cannot_do(case, tmp_path):
    engine = case.open()
    with pytest.raises(AdapterError, match="slot 4"):
        engine.score(pack(examples(1, 0), 4))
    with pytest.raises(ValueError, match="base"):
        engine.adapter(BASE)
    with pytest.raises(ModelError):
        case.open().open(tmp_path)
