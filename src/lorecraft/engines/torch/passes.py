"""A token batch -> forward passes: trees of rows, like ones together, no pass too large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import TokenBatch, flatten
from lorecraft.engines.pairs import segment_of
from lorecraft.engines.torch.forward import Row

TOKENS = 2**14
"""Tokens of one forward pass; a larger batch takes several."""
LOGITS = 2**28
"""Elements of one pass's logits (512 MiB in bf16)."""


@dataclass(frozen=True)
class Scored:
    """A row with the tokens that it has to predict.

    Attributes:
        inputs: the row, without the tokens after which nothing is predicted.
        targets: int64 [N], the tokens to predict.
        weight: float32 [N].
        places: int64 [N], where the targets stand in the batch.
    """

    inputs: Row
    targets: NDArray[np.int64]
    weight: NDArray[np.float32]
    places: NDArray[np.int64]


Tree = list[Scored]
"""Rows under one adapter that are computed in one pass, a tree or several. The first is a root;
``parent`` is an index in the list."""


def whole(batch: TokenBatch) -> list[Tree]:
    """Every weighted segment with its ancestors' tokens before it, for a model that cannot share
    them."""
    trees = []
    for segment, tokens, weight in flatten(batch):
        at = np.flatnonzero(weight)
        row = Row(tokens[: at[-1]], at - 1, int(batch.adapter[segment]))
        offset = int(batch.starts[segment + 1]) - len(tokens)
        trees.append([Scored(row, tokens[at].astype(np.int64), weight[at], offset + at)])
    return trees


def shared(batch: TokenBatch) -> list[Tree]:
    """Every segment that has descendants under an adapter once for all of them. What has one
    continuation only is one row with it."""
    forest = _Forest(batch)
    at = np.searchsorted(batch.starts, np.flatnonzero(batch.weight), side="right") - 1
    for segment in np.unique(at):
        forest.add(int(segment))
    return forest.trees()


def together(trees: Sequence[Tree], batch: TokenBatch, groups: NDArray[np.integer]) -> list[Tree]:
    """The trees, those that hold segments of one group as one."""
    holder = {
        int(segment): index
        for index, tree in enumerate(trees)
        for row in tree
        for segment in np.unique(segment_of(batch, row.places))
    }
    merged = {index: list(tree) for index, tree in enumerate(trees)}
    for group in groups.tolist():
        first, *others = sorted({holder[segment] for segment in group if segment in holder})
        for other in others:
            before = len(merged[first])
            merged[first] += [_moved(row, before) for row in merged.pop(other)]
            holder = {s: first if index == other else index for s, index in holder.items()}
    return list(merged.values())


def _moved(row: Scored, places: int) -> Scored:
    """A row in a list in which so many stand before those of its own."""
    parent = row.inputs.parent
    if parent < 0:
        return row
    return replace(row, inputs=replace(row.inputs, parent=parent + places))


def passes(trees: Sequence[Tree], vocabulary: int) -> Iterator[list[Scored]]:
    """The rows of all trees, cut between trees to what one pass may hold: by adapter, roots first,
    siblings as neighbours, and by length. A ``parent`` is an index in its pass.

    Args:
        vocabulary: elements of the logits of one token; 0 where they are never held whole.
    """
    held: list[Tree] = []
    tokens = logits = 0
    for tree in sorted(trees, key=lambda tree: (tree[0].inputs.slot, len(tree[0].inputs.tokens))):
        more_tokens = sum(len(row.inputs.tokens) for row in tree)
        more_logits = sum(len(row.targets) for row in tree) * vocabulary
        if held and (tokens + more_tokens > TOKENS or logits + more_logits > LOGITS):
            yield _in_order(held)
            held, tokens, logits = [], 0, 0
        held.append(tree)
        tokens, logits = tokens + more_tokens, logits + more_logits
    if held:
        yield _in_order(held)


def _in_order(trees: Sequence[Tree]) -> list[Scored]:
    if all(len(tree) == 1 for tree in trees):
        return [tree[0] for tree in trees]
    rows: list[Scored] = []
    parents: list[int] = []
    for tree in trees:
        parents += [row.inputs.parent + len(rows) * (row.inputs.parent >= 0) for row in tree]
        rows += tree

    def place(index: int) -> tuple[int, int, int]:
        row = rows[index].inputs
        return row.slot, parents[index], len(row.tokens)

    order = sorted(range(len(rows)), key=place)
    new = {old: index for index, old in enumerate(order)} | {-1: -1}
    return [
        replace(rows[old], inputs=replace(rows[old].inputs, parent=new[parents[old]]))
        for old in order
    ]


@dataclass
class _Node:
    """A segment under an adapter; ``parent`` is a node's index."""

    segment: int
    slot: int
    parent: int
    children: int = 0
    at: list[NDArray[np.int64]] = field(default_factory=list)
    places: list[NDArray[np.int64]] = field(default_factory=list)


class _Forest:
    def __init__(self, batch: TokenBatch) -> None:
        self._batch = batch
        self._nodes: list[_Node] = []
        self._known: dict[tuple[int, int], int] = {}

    def add(self, segment: int) -> None:
        """What its tokens are predicted from: they themselves, the first one its ancestors."""
        batch, slot = self._batch, int(self._batch.adapter[segment])
        own = batch.segment(segment)
        at = np.flatnonzero(batch.weight[own])
        if at[0] == 0:
            above = self._nodes[self._node(int(batch.parent[segment]), slot)]
            length = int(batch.starts[above.segment + 1] - batch.starts[above.segment])
            above.at.append(np.array([length - 1]))
            above.places.append(own.start + at[:1])
            at = at[1:]
        if len(at):
            node = self._nodes[self._node(segment, slot)]
            node.at.append(at - 1)
            node.places.append(own.start + at)

    def _node(self, segment: int, slot: int) -> int:
        """The node of a segment, or of its nearest ancestor that is not empty; -1 if none is."""
        batch = self._batch
        while segment >= 0 and batch.starts[segment] == batch.starts[segment + 1]:
            segment = int(batch.parent[segment])
        if segment < 0:
            return -1
        if (segment, slot) not in self._known:
            parent = self._node(int(batch.parent[segment]), slot)
            if parent >= 0:
                self._nodes[parent].children += 1
            self._known[segment, slot] = len(self._nodes)
            self._nodes.append(_Node(segment, slot, parent))
        return self._known[segment, slot]

    def trees(self) -> list[Tree]:
        chains: list[list[_Node]] = []
        chain_of: list[int] = []
        for node in self._nodes:  # a parent stands before its children
            if node.parent >= 0 and self._nodes[node.parent].children == 1:
                chain_of.append(chain_of[node.parent])
                chains[chain_of[-1]].append(node)
            else:
                chain_of.append(len(chains))
                chains.append([node])
        trees: list[Tree] = []
        at: dict[int, tuple[int, int]] = {}  # tree, and row in it, of a chain
        for index, chain in enumerate(chains):
            parent = chain_of[chain[0].parent] if chain[0].parent >= 0 else -1
            if parent < 0:
                trees.append([])
            tree, row = at[parent] if parent >= 0 else (len(trees) - 1, -1)
            at[index] = tree, len(trees[tree])
            trees[tree].append(self._row(chain, row))
        return trees

    def _row(self, chain: Sequence[_Node], parent: int) -> Scored:
        batch, offset, wanted, places = self._batch, 0, [], []
        for node in chain:
            wanted += [offset + at for at in node.at]
            places += node.places
            offset += int(batch.starts[node.segment + 1] - batch.starts[node.segment])
        tokens = np.concatenate([batch.tokens[batch.segment(node.segment)] for node in chain])
        at = np.concatenate([*wanted, np.zeros(0, np.int64)])
        order = np.argsort(at, kind="stable")
        at, place = at[order], np.concatenate([*places, np.zeros(0, np.int64)])[order]
        if not chain[-1].children:
            tokens = tokens[: at[-1] + 1]
        row = Row(tokens, at, chain[0].slot, parent)
        return Scored(row, batch.tokens[place].astype(np.int64), batch.weight[place], place)
