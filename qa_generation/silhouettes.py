"""How many pixels every instance covers when it is drawn alone, inside the frame and on the three times larger canvas.

The counts equal those of casting all 9 W H canvas rays against each instance alone, at a small part of the price:
every projected triangle is cut into row spans, once shrunk and once grown by ``MARGIN_PX``. Pixels in a shrunk span are
surely covered, pixels in no grown span surely are not, and the few between, along edges, are settled by casting their
rays. Work follows the number of spans, not of pixels, and no canvas is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from qa_generation.pixel_spans import (
    count_per_group,
    crop,
    outside,
    pack,
    pixels_between,
    runs_of,
    unpack_pixels,
)
from qa_generation.raycast import NEAR_M

# how far from an edge a pixel centre must lie to be decided without a ray; float32 casting errs by less than a tenth
MARGIN_PX = 0.01
_SPANS_PER_BATCH = 1 << 17  # bounds the memory of one batch of triangles to some tens of megabytes

# (columns, (x, y) frame pixels) -> whether each pixel's ray meets its column alone
Settle = Callable[[Int64[np.ndarray, " pixels"], Int64[np.ndarray, "pixels 2"]], Bool[np.ndarray, " pixels"]]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Projected triangles; the first axis of ``x`` and ``y`` is the corner, which keeps numpy on long rows."""

    x: Float64[np.ndarray, "3 triangles"]
    y: Float64[np.ndarray, "3 triangles"]
    columns: Int64[np.ndarray, " triangles"]


def silhouette_counts(
    points: Float64[np.ndarray, "points 3"],
    triangles: Int64[np.ndarray, "3 triangles"],
    columns: Int64[np.ndarray, " triangles"],
    column_count: int,
    intrinsics: Float64[np.ndarray, "3 3"],
    winners: Int32[np.ndarray, "height width"],
    settle: Settle,
) -> tuple[Int64[np.ndarray, " columns"], Int64[np.ndarray, " columns"]]:
    """#A and #A+ of every instance in one view; the pixels an instance wins always belong to its #A.

    Args:
        points: vertices in camera axes, metres.
        triangles: their three vertices.
        columns: instance (table column) of every triangle.
        intrinsics: pinhole matrix of the frame's pixel grid.
        winners: column that wins each pixel of the frame in the full scene, -1 for none.
        settle: casts rays; called once with all pixels in doubt, sorted by column.
    """
    height, width = winners.shape
    canvas_width, canvas_height = 3 * width, 3 * height
    won = runs_of(winners)
    sure = [pack(won.value * canvas_height + won.row + height, won.start + width, won.end + width)]
    doubtful = [np.empty(0, dtype=np.int64)]
    to_canvas = np.array([[1.0, 0, width], [0, 1.0, height], [0, 0, 1.0]]) @ intrinsics
    drawn = _project(points, triangles, columns, to_canvas)
    for batch, owner, rows in _row_batches(drawn, canvas_width, canvas_height):
        outer, inner = _triangle_spans(drawn.x[:, batch], drawn.y[:, batch], owner, rows, canvas_width)
        lines = drawn.columns[batch][owner] * canvas_height + rows
        sure.append(pack(lines, *inner))
        doubtful += [pixels_between(lines, outer[0], inner[0]), pixels_between(lines, inner[1], outer[1])]
    spans = np.sort(np.concatenate(sure))
    canvas_pixels = count_per_group(spans, canvas_height, column_count)
    in_frame = crop(spans, canvas_height, (height, 2 * height), (width, 2 * width))
    frame_pixels = count_per_group(in_frame, canvas_height, column_count)

    line, x = unpack_pixels(outside(np.unique(np.concatenate(doubtful)), spans))
    column, y = np.divmod(line, canvas_height)
    x, y = x - width, y - height
    hit = settle(column, np.stack([x, y], axis=-1))
    hit_in_frame = hit & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    canvas_pixels += np.bincount(column[hit], minlength=column_count)
    frame_pixels += np.bincount(column[hit_in_frame], minlength=column_count)
    return frame_pixels, canvas_pixels


def _project(
    points: Float64[np.ndarray, "points 3"],
    triangles: Int64[np.ndarray, "3 triangles"],
    columns: Int64[np.ndarray, " triangles"],
    to_canvas: Float64[np.ndarray, "3 3"],
) -> _Drawn:
    """The parts of the triangles beyond the near plane on the canvas, pixels."""
    front = points[:, 2] > NEAR_M
    projected = np.where(front[:, None], points, [0.0, 0.0, 1.0]) @ to_canvas.T
    x, y = projected[:, 0] / projected[:, 2], projected[:, 1] / projected[:, 2]
    count = front[triangles].sum(axis=0)
    whole = slice(None) if front.all() else np.flatnonzero(count == 3)
    cut = np.flatnonzero((count > 0) & (count < 3))
    xs, ys, kept = [x[triangles[:, whole]]], [y[triangles[:, whole]]], [columns[whole]]
    if len(cut):
        corners, owner = _clip_near(points[triangles[:, cut].T])
        flat = corners @ to_canvas.T
        xs.append((flat[..., 0] / flat[..., 2]).T)
        ys.append((flat[..., 1] / flat[..., 2]).T)
        kept.append(columns[cut][owner])
    return _Drawn(np.concatenate(xs, axis=1), np.concatenate(ys, axis=1), np.concatenate(kept))


def _clip_near(
    corners: Float64[np.ndarray, "triangles 3 3"],
) -> tuple[Float64[np.ndarray, "parts 3 3"], Int64[np.ndarray, " parts"]]:
    """The parts of cut triangles beyond the near plane, one or two each, and the triangle each comes from."""
    behind = corners[..., 2] <= NEAR_M
    one, two = np.flatnonzero(behind.sum(axis=1) == 1), np.flatnonzero(behind.sum(axis=1) == 2)
    a, b, c = _odd_first(corners[one], behind[one])
    on_ab, on_ac = _at_near(a, b), _at_near(a, c)
    tip, left, right = _odd_first(corners[two], ~behind[two])
    parts = [
        np.stack([on_ab, b, c], axis=1),
        np.stack([on_ab, c, on_ac], axis=1),
        np.stack([tip, _at_near(tip, left), _at_near(tip, right)], axis=1),
    ]
    return np.concatenate(parts), np.concatenate([one, one, two])


def _odd_first(corners: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three corners of each triangle, beginning with the marked one."""
    order = (np.argmax(odd, axis=1)[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(corners, order[..., None], axis=1)
    return turned[:, 0], turned[:, 1], turned[:, 2]


def _at_near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    share = (NEAR_M - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
    return a + share * (b - a)


def _row_batches(
    drawn: _Drawn, canvas_width: int, canvas_height: int
) -> Iterator[tuple[Int64[np.ndarray, " batch"], Int64[np.ndarray, " spans"], Int64[np.ndarray, " spans"]]]:
    """Triangles on the canvas in batches of bounded size, with (triangle in the batch, pixel row) of every span."""
    first, last = _pixel_range(*_bounds(drawn.y), canvas_height)
    left, right = _pixel_range(*_bounds(drawn.x), canvas_width)
    count = np.where(right > left, last - first, 0)  # between two pixel columns there is no pixel centre either
    seen = np.flatnonzero(count)
    if not len(seen):
        return
    total = np.cumsum(count[seen])
    for batch in np.split(seen, np.flatnonzero(np.diff(total // _SPANS_PER_BATCH)) + 1):
        owner = np.repeat(np.arange(len(batch)), count[batch])
        before = np.cumsum(count[batch]) - count[batch]
        yield batch, owner, (first[batch] - before)[owner] + np.arange(len(owner))


def _triangle_spans(
    x: Float64[np.ndarray, "3 batch"],
    y: Float64[np.ndarray, "3 batch"],
    owner: Int64[np.ndarray, " spans"],
    rows: Int64[np.ndarray, " spans"],
    canvas_width: int,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """[start, end) pixels of each row inside the triangle grown by the margin, and inside the one shrunk by it."""
    edge_x, edge_y = x[[1, 2, 0]] - x, y[[1, 2, 0]] - y
    turn = np.where(edge_x[0] * edge_y[1] >= edge_y[0] * edge_x[1], 1.0, -1.0)
    scale = turn / np.maximum(np.hypot(edge_x, edge_y), 1e-12)
    # distance inside an edge is a x + b y + c; it is 0 at x = at_top + slope y, and the margin there is reach wide
    a, b = -edge_y * scale, edge_x * scale
    inverse = 1.0 / np.where(np.abs(a) < 1e-12, 1e-12, a)
    at_top, slope, reach, is_left = x + b * y * inverse, -b * inverse, MARGIN_PX * np.abs(inverse), inverse > 0

    outer_low, outer_high = (bound[owner] for bound in _bounds(x))
    inner_low, inner_high = outer_low, outer_high
    for side in range(3):
        crossing = at_top[side][owner] + slope[side][owner] * rows
        near, far = crossing - reach[side][owner], crossing + reach[side][owner]
        left = is_left[side][owner]
        outer_low = np.maximum(outer_low, np.where(left, near, -np.inf))
        inner_low = np.maximum(inner_low, np.where(left, far, -np.inf))
        outer_high = np.minimum(outer_high, np.where(left, np.inf, far))
        inner_high = np.minimum(inner_high, np.where(left, np.inf, near))
    outer_start, outer_end = _pixel_range(outer_low, outer_high, canvas_width)
    inner_start, inner_end = _pixel_range(inner_low, inner_high, canvas_width)
    empty = inner_end <= inner_start
    return (outer_start, outer_end), (np.where(empty, outer_end, inner_start), np.where(empty, outer_end, inner_end))


def _bounds(corners: Float64[np.ndarray, "3 triangles"]) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinate of each triangle, grown by the margin."""
    a, b, c = corners
    return np.minimum(np.minimum(a, b), c) - MARGIN_PX, np.maximum(np.maximum(a, b), c) + MARGIN_PX


def _pixel_range(low: np.ndarray, high: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """[start, end) of the pixel centres 0 .. size - 1 between two bounds; end >= start."""
    start = np.ceil(np.clip(low, 0.0, size)).astype(np.int64)
    end = np.floor(np.clip(high, -1.0, size - 1.0)).astype(np.int64) + 1
    return start, np.maximum(end, start)
