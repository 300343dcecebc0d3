"""How large an instance would look alone, inside the frame and on the canvas three times as wide and high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from qa_generation.oracle.rules import NEAR_M
from qa_generation.oracle.sight import SIGMAS, Lens, Surface


@dataclass(frozen=True)
class Extent:
    """An area in grid pixels with the range in which it surely lies."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Silhouette:
    """Areas of an instance drawn alone, grid pixels."""

    in_frame: Extent
    on_canvas: Extent


def canvas_rectangle(lens: Lens, corners: Float64[np.ndarray, "triangles 3 3"]) -> Float64[np.ndarray, "4"]:
    """[x0, y0, x1, y1] around the projected triangles, cut at the near plane and the canvas; zeros where empty."""
    points = lens.camera(corners.reshape(-1, 3)).reshape(-1, 3, 3)
    kept = [points.reshape(-1, 3)[points.reshape(-1, 3)[:, 2] > NEAR_M]]
    for k in range(3):
        start, end = points[:, k], points[:, (k + 1) % 3]
        crosses = (start[:, 2] > NEAR_M) != (end[:, 2] > NEAR_M)
        start, end = start[crosses], end[crosses]
        share = ((NEAR_M - start[:, 2]) / (end[:, 2] - start[:, 2]))[:, None]
        kept.append(start + share * (end - start))
    front = np.concatenate(kept)
    if not len(front):
        return np.zeros(4)
    places = lens.places(front)
    frame = np.array(lens.grid, dtype=np.float64)
    low, high = np.clip([places.min(axis=0), places.max(axis=0)], -frame, 2 * frame)
    return np.concatenate([low, high])


def silhouette(
    surface: Surface, lens: Lens, rectangle: Float64[np.ndarray, "4"], side: int, rng: np.random.Generator
) -> Silhouette:
    """Areas from ``side`` x ``side`` jittered rays over the rectangle of `canvas_rectangle`."""
    low, size = rectangle[:2], rectangle[2:] - rectangle[:2]
    area = float(size.prod())
    if area <= 0:
        return Silhouette(Extent(0, 0, 0), Extent(0, 0, 0))
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    places = low + (cells + rng.random(cells.shape)) / side * size
    hit = surface.first(lens.rays(places))[1] >= 0
    inside = ((places >= 0) & (places < np.array(lens.grid))).all(axis=1)
    return Silhouette(_extent(hit & inside, area), _extent(hit, area))


def _extent(hit: np.ndarray, area: float) -> Extent:
    share = float(hit.mean())
    # a binomial, which overstates what stratified rays scatter, and two pixels for a rim on the grid
    reach = SIGMAS * float(np.sqrt(share * (1.0 - share) / len(hit))) * area + 2.0
    return Extent(max(0.0, share * area - reach), share * area, share * area + reach)
