"""Where the nodes of a graph stand, so that one can read it.

Stress majorisation (E. Gansner, Y. Koren and S. North, "Graph Drawing by Stress Majorization",
2004): things stand as far apart as their way is long. Then boxes that overlap are pushed apart, and
the parts that nothing links are packed side by side. Nothing is drawn by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_SWEEPS = 300
_PUSHES = 400
_STEP = 150.0
"""Distance of neighbours, in the picture's units."""
_GAP = 26.0
_CROWD = 1.0
"""So many clashes of a box, and of more the whole is drawn larger before they are mended."""
_LABEL = 70.0
_BETWEEN = 60.0
_ASPECT = 1.5


def layout(sizes: Points, links: Sequence[tuple[int, int]]) -> Points:
    """The centres [N, 2] of boxes of ``sizes`` [N, 2], all coordinates of the boxes above 0.

    Args:
        links: pairs of boxes that belong together.
    """
    centres = np.zeros((len(sizes), 2))
    parts = _parts(len(sizes), links)
    corners = []
    for part in parts:
        own = {node: index for index, node in enumerate(part)}
        inside = [(own[a], own[b]) for a, b in links if a in own and a != b]
        placed = _apart(_majorised(len(part), inside, sizes[part]), sizes[part], inside)
        low = (placed - sizes[part] / 2).min(0)
        centres[part] = placed - low
        corners.append((placed + sizes[part] / 2).max(0) - low)
    for part, corner in zip(parts, _packed(np.array(corners).reshape(-1, 2)), strict=True):
        centres[part] += corner
    return centres


def _parts(count: int, links: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The connected parts, the largest first."""
    leader = list(range(count))

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for a, b in links:
        leader[find(a)] = find(b)
    parts: dict[int, list[int]] = {}
    for node in range(count):
        parts.setdefault(find(node), []).append(node)
    return sorted(parts.values(), key=lambda part: (-len(part), part[0]))


def _majorised(count: int, links: Sequence[tuple[int, int]], sizes: Points) -> Points:
    """Places in which the sum over pairs of (distance - wanted)^2 / wanted^2 is least."""
    if count == 1:
        return np.zeros((1, 2))
    wanted = _distances(count, links) * (_STEP + sizes.mean() / 2)
    places = _spectral(wanted)
    weight = 1 / (wanted + np.eye(count)) ** 2
    np.fill_diagonal(weight, 0)
    laplacian = np.diag(weight.sum(1)) - weight
    inverse = np.linalg.inv(laplacian + 1 / count)
    for _ in range(_SWEEPS):
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        np.fill_diagonal(apart, 1)
        pull = -weight * wanted / np.maximum(apart, 1e-6)
        np.fill_diagonal(pull, -pull.sum(1))
        moved = inverse @ (pull @ places)
        still = np.abs(moved - places).max() < 0.1
        places = moved
        if still:
            break
    return places * [1.0, 0.85]


def _distances(count: int, links: Sequence[tuple[int, int]]) -> Points:
    """Steps between every two nodes of a connected graph."""
    near = np.zeros((count, count), bool)
    for a, b in links:
        near[a, b] = near[b, a] = True
    steps = np.full((count, count), np.inf)
    np.fill_diagonal(steps, 0)
    reached, number = np.eye(count, dtype=bool), 0
    while not reached.all():
        number += 1
        reached = (reached.astype(np.float32) @ near.astype(np.float32) > 0) | reached
        steps[reached & np.isinf(steps)] = number
    return steps


def _spectral(wanted: Points) -> Points:
    """Classical scaling: the plane in which the distances are most alike; a start."""
    count = len(wanted)
    centre = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centre @ wanted**2 @ centre)
    places = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    places *= np.sign(places[np.abs(places).argmax(0), range(2)] + 1e-12)
    angle = np.arange(count) * 2.399963  # the golden angle: no two in one place
    spread = 0.05 * _STEP * np.sqrt(np.arange(count))[:, None]
    return places + spread * np.stack([np.cos(angle), np.sin(angle)], 1)


def _apart(places: Points, sizes: Points, links: Sequence[tuple[int, int]]) -> Points:
    """Boxes that overlap are pushed apart, along the axis where less is needed; between linked ones
    there is room for what stands at the link."""
    places = places.copy()
    room = (sizes[:, None] + sizes[None]) / 2 + _GAP
    for a, b in links:
        room[[a, b], [b, a], 0] += _LABEL
    while _clashes(places, room).sum() > _CROWD * len(places):
        places *= 1.1
    for _ in range(_PUSHES):
        one, other = np.nonzero(np.triu(_clashes(places, room)))
        if not len(one):
            break
        between = places[one] - places[other]
        over = room[one, other] - np.abs(between)
        push = np.where(between >= 0, over, -over)
        push[over > over.min(1, keepdims=True)] = 0
        moved, times = np.zeros_like(places), np.zeros((len(places), 1))
        for ends, sign in ((one, 0.6), (other, -0.6)):
            np.add.at(moved, ends, sign * push)
            np.add.at(times, ends, 1)
        places += moved / np.maximum(np.sqrt(times), 1)
    return places


def _clashes(places: Points, room: Points) -> NDArray[np.bool_]:
    """Which pairs of boxes are nearer than they should be; each pair stands twice."""
    clash: NDArray[np.bool_] = np.all(np.abs(places[:, None] - places[None]) < room - 0.5, axis=2)
    np.fill_diagonal(clash, False)
    return clash


def _packed(sizes: Points) -> Points:
    """Upper left corners of rectangles, each put where the picture grows least."""
    placed: list[tuple[float, float, float, float]] = []
    for across, down in sizes + _BETWEEN:
        taken = np.array([(0.0, 0.0, 0.0, 0.0), *placed])
        beside, below = taken[:, [2, 1]], taken[:, [0, 3]]
        places = np.concatenate([beside, below, beside * [1, 0], below * [0, 1]])
        ends = places + np.array([across, down])
        free = np.ones(len(places), bool)
        for left, top, right, bottom in placed:
            free &= (
                (ends[:, 0] <= left)
                | (places[:, 0] >= right)
                | (ends[:, 1] <= top)
                | (places[:, 1] >= bottom)
            )
        cost = np.maximum(ends[:, 0], ends[:, 1] * _ASPECT) + 1e-3 * ends.sum(1)
        best = np.where(free, cost, np.inf).argmin()
        placed.append((*places[best].tolist(), *ends[best].tolist()))
    return np.array(placed).reshape(-1, 4)[:, :2]
