"""Tokenised examples on disk: an Arrow file, mapped into memory when it is read.

It carries the key of all that it was made from. One that is missing, damaged or of another key is
written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lorecraft.data.batches import Example
from lorecraft.data.encode import Encoded
from lorecraft.disk import replacing

ROWS = 1024
"""Examples in a record batch of the file; only the last one has fewer."""
# Weights are as good as always 0 or 1 in long runs, so a run's length and its weight are kept.
_SCHEMA = pa.schema(
    [
        ("record", pa.string()),
        ("tokens", pa.list_(pa.int32())),
        ("runs", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
        ("answers", pa.list_(pa.int32())),
        ("whole", pa.int32()),
        ("piece", pa.int32()),
    ]
)


class Examples(Sequence[Example]):
    """The examples of a file, read when they are asked for.

    Attributes:
        lengths: int32 [N], tokens of each example.
        records: how many they were made of.
        cut: how many of those are cut, split: how many are split into several examples.
        longest: tokens of the longest record, before any cut or split.
    """

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._records = [batch.column("record") for batch in batches]
        self._tokens = [_Lists(batch.column("tokens")) for batch in batches]
        self._runs = [_Lists(batch.column("runs")) for batch in batches]
        self._weights = [_Lists(batch.column("weights")) for batch in batches]
        self._answers = [_Lists(batch.column("answers")) for batch in batches]
        self.lengths = _joined([tokens.lengths for tokens in self._tokens])
        whole = _joined([batch.column("whole").to_numpy() for batch in batches])
        piece = _joined([batch.column("piece").to_numpy() for batch in batches])
        self.records = int(np.count_nonzero(piece < 2))
        self.cut = int(np.count_nonzero((piece == 0) & (whole > self.lengths)))
        self.split = int(np.count_nonzero(piece == 1))
        self.longest = int(whole.max(initial=0))

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        batch, row = divmod(index % len(self), ROWS)
        return Example(
            tokens=self._tokens[batch][row],
            weight=np.repeat(self._weights[batch][row], self._runs[batch][row]),
            record=self._records[batch][row].as_py(),
            answers=tuple(self._answers[batch][row].tolist()),
        )


def _joined(parts: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate([np.zeros(0, np.int32), *parts])


class _Lists:
    """A column of lists, as NumPy sees it."""

    def __init__(self, column: pa.ListArray) -> None:
        self._values: NDArray[Any] = column.values.to_numpy()
        self._offsets: NDArray[np.int32] = column.offsets.to_numpy()

    @property
    def lengths(self) -> NDArray[np.int32]:
        return np.diff(self._offsets)

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def cached(path: Path, key: str, encode: Callable[[], Iterable[Encoded]]) -> Examples:
    """The examples in ``path``, which are encoded and written first unless they are those of
    ``key``.

    Raises what ``encode`` raises; then there is no file.
    """
    found = _read(path, key)
    if found is None:
        _write(path, key, encode())
        found = _read(path, key)
        assert found is not None
    return found


def _read(path: Path, key: str) -> Examples | None:
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        if (file.schema.metadata or {}).get(b"key") != key.encode():
            return None
        batches = [file.get_batch(index) for index in range(file.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)
    except (OSError, pa.ArrowException):
        return None
    return Examples(batches)


def _write(path: Path, key: str, encoded: Iterable[Encoded]) -> None:
    path.unlink(missing_ok=True)  # of another key; there may be no room for both
    with (
        replacing(path) as partial,
        partial.open("wb") as file,
        pa.ipc.new_file(file, _SCHEMA.with_metadata({"key": key})) as writer,
    ):
        for rows in _in_rows(encoded):
            writer.write_batch(_batch(rows))


def _in_rows(encoded: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    rows: list[Encoded] = []
    for row in encoded:
        rows.append(row)
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _batch(rows: list[Encoded]) -> pa.RecordBatch:
    examples = [row.example for row in rows]
    starts = [_run_starts(example.weight) for example in examples]
    return pa.record_batch(
        [
            pa.array([example.record for example in examples], pa.string()),
            _lists([example.tokens for example in examples]),
            _lists(
                [
                    np.diff(start, append=len(example.weight)).astype(np.int32)
                    for example, start in zip(examples, starts, strict=True)
                ]
            ),
            _lists(
                [example.weight[start] for example, start in zip(examples, starts, strict=True)]
            ),
            _lists([np.array(example.answers, np.int32) for example in examples]),
            pa.array([row.whole for row in rows], pa.int32()),
            pa.array([row.piece for row in rows], pa.int32()),
        ],
        schema=_SCHEMA,
    )


def _run_starts(weight: NDArray[np.float32]) -> NDArray[np.int64]:
    """Where another weight begins."""
    return np.flatnonzero(np.r_[True, weight[1:] != weight[:-1]])


def _lists(arrays: Sequence[NDArray[Any]]) -> pa.ListArray:
    offsets = np.cumsum([0, *map(len, arrays)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(arrays))
