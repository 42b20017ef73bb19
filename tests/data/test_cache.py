"""The cache gives back what was encoded, and is never stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lorecraft.data.batches import Example
from lorecraft.data.cache import ROWS, Examples, cached
from lorecraft.data.encode import Encoded
from lorecraft.data.order import epoch_batches
from lorecraft.errors import DataError


def examples(count: int, seed: int = 0) -> list[Example]:
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        length = int(draw.integers(1, 40))
        weight = draw.choice(np.array([0, 0, 1, 0.5], np.float32), length)
        tokens = draw.integers(0, 300_000, length, dtype=np.int32)
        weight = np.sort(weight) if number % 2 else weight
        answers = (length // 3, length // 2) if number % 4 == 0 else ()
        made.append(Example(tokens, weight, f"r{number}", answers))
    return made


def written(path: Path, made: list[Example], key: str = "key") -> Examples:
    return cached(
        path,
        key,
        lambda: (Encoded(e, len(e.tokens) + (i % 3 == 0)) for i, e in enumerate(made)),
    )


def never() -> Iterator[Encoded]:
    raise AssertionError("it was encoded again")


@pytest.mark.parametrize("count", [0, 1, ROWS, 2 * ROWS + 1])
def test_what_is_read_is_what_was_encoded(tmp_path: Path, count: int) -> None:
    made = examples(count)
    read = written(tmp_path / "train.arrow", made)
    assert (len(read), read.cut) == (count, len(range(0, count, 3)))
    assert read.longest == max(
        (len(e.tokens) + (i % 3 == 0) for i, e in enumerate(made)), default=0
    )
    assert read.lengths.tolist() == [len(example.tokens) for example in made]
    for mine, its in zip(read, made, strict=True):
        assert (mine.record, mine.answers) == (its.record, its.answers)
        assert (mine.tokens.dtype, mine.weight.dtype) == (np.int32, np.float32)
        assert mine.tokens.tobytes() == its.tokens.tobytes()
        assert mine.weight.tobytes() == its.weight.tobytes()


def test_pieces_of_a_record_are_counted_as_one(tmp_path: Path) -> None:
    pieces = (0, 1, 2, 3, 0, 1, 2)
    made = examples(len(pieces))
    encoded = [Encoded(e, 99, piece) for e, piece in zip(made, pieces, strict=True)]
    read = cached(tmp_path / "train.arrow", "key", lambda: encoded)
    assert (len(read), read.records, read.cut, read.split) == (7, 4, 2, 2)


def test_examples_can_be_sliced_and_counted_from_the_end(tmp_path: Path) -> None:
    read = written(tmp_path / "train.arrow", examples(10))
    assert [example.record for example in read[8:12]] == ["r8", "r9"]
    assert read[-1].record == "r9"
    with pytest.raises(IndexError):
        read[10]


def test_the_order_of_training_is_that_of_examples_in_memory(tmp_path: Path) -> None:
    made = examples(200)
    read = written(tmp_path / "train.arrow", made)
    in_memory = [len(example.tokens) for example in made]
    assert epoch_batches(read.lengths.tolist(), 8, 1, 0) == epoch_batches(in_memory, 8, 1, 0)


def test_a_file_of_the_same_key_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    written(path, examples(5))
    before = path.stat().st_mtime_ns
    assert len(cached(path, "key", never)) == 5
    assert path.stat().st_mtime_ns == before


def test_a_file_of_another_key_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    written(path, examples(5))
    assert len(written(path, examples(6), "another key")) == 6
    assert len(cached(path, "another key", never)) == 6


@pytest.mark.parametrize("kept", [0, 7, 1000, -1, -100])
def test_a_truncated_file_is_written_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "train.arrow"
    made = examples(ROWS + 5)
    written(path, made)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    assert len(written(path, made)) == len(made)
    assert path.read_bytes() == whole


def test_lists_that_point_nowhere_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "train.arrow"
    made = examples(40)
    lengths = np.cumsum([0, *(len(example.tokens) for example in made)]).astype(np.int32)
    written(path, made)
    whole = path.read_bytes()
    broken = whole.replace(lengths.tobytes(), (lengths * 1000).tobytes())
    assert broken != whole
    path.write_bytes(broken)
    written(path, made)
    assert path.read_bytes() == whole


def test_where_encoding_fails_there_is_no_file(tmp_path: Path) -> None:
    def encode() -> Iterator[Encoded]:
        yield Encoded(examples(1)[0], 1)
        raise DataError("a bad record", "a good one")

    path = tmp_path / "train.arrow"
    written(path, examples(5))
    with pytest.raises(DataError):
        cached(path, "another key", encode)
    assert list(tmp_path.iterdir()) == []
