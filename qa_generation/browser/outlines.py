"""Outlines of pixel masks as SVG paths, in percent of the picture."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Bool, Float64

TOLERANCE_PX = 0.7
LEAST_PIXELS = 4


def outline_path(mask: Bool[np.ndarray, "height width"]) -> str:
    """The borders of the mask, holes included, as one path of closed lines; empty where there is nothing to draw."""
    height, width = mask.shape
    parts = []
    for loop in border_loops(mask):
        corners = _simplified((loop + np.roll(loop, -1, axis=0)) / 2)
        if len(corners) > 2:
            places = corners * (100 / width, 100 / height)
            parts.append("M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places) + "Z")
    return "".join(parts)


def border_loops(mask: Bool[np.ndarray, "height width"]) -> list[Float64[np.ndarray, "corners 2"]]:
    """Closed lines along pixel edges, (x, y) of every pixel corner passed, the mask on the right-hand side.

    Loops around fewer than ``LEAST_PIXELS`` pixels are left out.
    """
    padded = np.pad(mask, 1)
    here = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    # side of a pixel that borders on the outside: (neighbour, from corner, to corner)
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for neighbour, start, end in sides:
        for y, x in np.argwhere(here & ~neighbour).tolist():
            edges[(x + start[0], y + start[1])].append((x + end[0], y + end[1]))
    loops = []
    while edges:
        first = next(iter(edges))
        loop, at = [], first
        while at in edges:
            loop.append(at)
            following = edges[at].pop()
            if not edges[at]:
                del edges[at]
            at = following
        corners = np.array(loop, dtype=np.float64)
        if abs(_area(corners)) >= LEAST_PIXELS:
            loops.append(corners)
    return loops


def _area(corners: Float64[np.ndarray, "corners 2"]) -> float:
    x, y = corners.T
    return float(0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def _simplified(loop: Float64[np.ndarray, "corners 2"]) -> Float64[np.ndarray, "kept 2"]:
    """Douglas-Peucker on a closed line: no corner that is left out lies further than the tolerance from the result."""
    far = int(np.argmax(((loop - loop[0]) ** 2).sum(axis=1)))
    if far == 0:
        return loop[:1]
    closed = np.concatenate([loop, loop[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far]] = True
    stack = [(0, far), (far, len(closed) - 1)]
    while stack:
        low, high = stack.pop()
        if high - low < 2:
            continue
        start, along = closed[low], closed[high] - closed[low]
        offset = closed[low + 1 : high] - start
        length = float(np.hypot(*along))
        cross = np.abs(along[0] * offset[:, 1] - along[1] * offset[:, 0])
        distance = cross / length if length else np.hypot(*offset.T)
        worst = int(np.argmax(distance))
        if distance[worst] > TOLERANCE_PX:
            middle = low + 1 + worst
            keep[middle] = True
            stack += [(low, middle), (middle, high)]
    return closed[:-1][keep[:-1]]
