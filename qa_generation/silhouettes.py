"""How many pixels every instance covers when it is drawn alone, inside the frame and on the three times larger canvas.

The counts equal those of casting all 9 W H canvas rays against each instance alone, at a small part of the price:
every projected triangle is cut into row spans, once shrunk and once grown by ``MARGIN_PX``. Pixels in a shrunk span are
surely covered, pixels in no grown span surely are not, and the few between, along edges, are settled by casting their
rays. Work follows the number of spans, not of pixels, and no canvas is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from qa_generation.raycast import NEAR_M

# how far from an edge a pixel centre must lie to be decided without a ray; float32 casting errs by less than a tenth
MARGIN_PX = 0.01
_SPANS_PER_BATCH = 1 << 17  # bounds the memory of one batch of triangles to some tens of megabytes
_BITS = 16  # a span is one integer, line | start | end, so that sorting needs no index
_MASK = (1 << _BITS) - 1

Settle = Callable[[int, Int64[np.ndarray, "pixels 2"]], Bool[np.ndarray, " pixels"]]


def silhouette_counts(
    corners: Float64[np.ndarray, "triangles 3 3"],
    columns: Int64[np.ndarray, " triangles"],
    column_count: int,
    intrinsics: Float64[np.ndarray, "3 3"],
    winners: Int32[np.ndarray, "height width"],
    settle: Settle,
) -> tuple[Int64[np.ndarray, " columns"], Int64[np.ndarray, " columns"]]:
    """#A and #A+ of every instance in one view; the pixels an instance wins always belong to its #A.

    Args:
        corners: triangle corners in camera axes, metres.
        columns: instance (table column) of every triangle.
        intrinsics: pinhole matrix of the frame's pixel grid.
        winners: column that wins each pixel of the frame in the full scene, -1 for none.
        settle: casts the rays through (x, y) frame pixels against one column alone and tells which hit.
    """
    height, width = winners.shape
    canvas_width, canvas_height = 3 * width, 3 * height
    column, row, start, stop = winner_runs(winners)
    sure = [_keys(column * canvas_height + row + height, start + width, stop + width)]
    doubtful = [np.empty(0, dtype=np.int64)]
    to_canvas = np.array([[1.0, 0, width], [0, 1.0, height], [0, 0, 1.0]]) @ intrinsics
    corners, columns = _clip_near(corners, columns)
    projected = corners @ to_canvas.T
    triangles = projected[..., :2] / projected[..., 2:]
    for batch, owner, rows in _row_batches(triangles, canvas_width, canvas_height):
        outer, inner = _spans(triangles[batch], owner, rows, canvas_width)
        lines = columns[batch][owner] * canvas_height + rows
        sure.append(_keys(lines, *inner))
        doubtful += [_pixels(lines, outer[0], inner[0]), _pixels(lines, inner[1], outer[1])]
    spans = np.sort(np.concatenate(sure))
    canvas_pixels = _covered(spans, column_count, canvas_height)
    frame_pixels = _covered(_crop(spans, width, height), column_count, canvas_height)
    pixels = _outside(np.unique(np.concatenate(doubtful)), spans)
    line, x = pixels >> _BITS, (pixels & _MASK) - width
    column, y = line // canvas_height, line % canvas_height - height
    for chosen in np.unique(column):
        candidates = np.stack([x, y], axis=-1)[column == chosen]
        hit = candidates[settle(int(chosen), candidates)]
        canvas_pixels[chosen] += len(hit)
        frame_pixels[chosen] += np.count_nonzero(((hit >= 0) & (hit < (width, height))).all(axis=1))
    return frame_pixels, canvas_pixels


def winner_runs(
    winners: Int32[np.ndarray, "height width"],
) -> tuple[
    Int64[np.ndarray, " runs"], Int64[np.ndarray, " runs"], Int64[np.ndarray, " runs"], Int64[np.ndarray, " runs"]
]:
    """Column, row, start x and end x (exclusive) of every horizontal run of one winner; pixels without are left out."""
    height, width = winners.shape
    begins = np.ones((height, width), dtype=bool)
    begins[:, 1:] = winners[:, 1:] != winners[:, :-1]
    start = np.flatnonzero(begins)
    length = np.diff(start, append=height * width)
    column = winners.ravel()[start].astype(np.int64)
    kept = column >= 0
    row, x = np.divmod(start[kept], width)
    return column[kept], row, x, x + length[kept]


def _clip_near(
    corners: Float64[np.ndarray, "triangles 3 3"], columns: Int64[np.ndarray, " triangles"]
) -> tuple[Float64[np.ndarray, "clipped 3 3"], Int64[np.ndarray, " clipped"]]:
    """The parts of the triangles beyond the near plane; a cut triangle leaves one triangle or two."""
    behind = corners[..., 2] <= NEAR_M
    count = behind.sum(axis=1)
    whole, one_behind, two_behind = count == 0, count == 1, count == 2
    kept, kept_columns = [corners[whole]], [columns[whole]]
    if one_behind.any():
        a, b, c = _odd_first(corners[one_behind], behind[one_behind])
        on_ab, on_ac = _at_near(a, b), _at_near(a, c)
        kept += [np.stack([on_ab, b, c], axis=1), np.stack([on_ab, c, on_ac], axis=1)]
        kept_columns += [columns[one_behind]] * 2
    if two_behind.any():
        a, b, c = _odd_first(corners[two_behind], ~behind[two_behind])
        kept.append(np.stack([a, _at_near(a, b), _at_near(a, c)], axis=1))
        kept_columns.append(columns[two_behind])
    return np.concatenate(kept), np.concatenate(kept_columns)


def _odd_first(corners: np.ndarray, odd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three corners of each triangle, beginning with the marked one."""
    order = (np.argmax(odd, axis=1)[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(corners, order[..., None], axis=1)
    return turned[:, 0], turned[:, 1], turned[:, 2]


def _at_near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    share = (NEAR_M - a[:, 2:]) / (b[:, 2:] - a[:, 2:])
    return a + share * (b - a)


def _row_batches(
    triangles: Float64[np.ndarray, "triangles 3 2"], canvas_width: int, canvas_height: int
) -> Iterator[tuple[Int64[np.ndarray, " batch"], Int64[np.ndarray, " spans"], Int64[np.ndarray, " spans"]]]:
    """Triangles on the canvas in batches of bounded size, with (triangle in the batch, pixel row) of every span."""
    low, high = triangles.min(axis=1) - MARGIN_PX, triangles.max(axis=1) + MARGIN_PX
    first = np.clip(np.ceil(low[:, 1]), 0, canvas_height).astype(np.int64)
    last = np.clip(np.floor(high[:, 1]), -1, canvas_height - 1).astype(np.int64)
    count = np.maximum(last - first + 1, 0)
    # a triangle between two pixel columns covers no pixel centre either
    count[np.maximum(np.ceil(low[:, 0]), 0) > np.minimum(np.floor(high[:, 0]), canvas_width - 1)] = 0
    drawn = np.flatnonzero(count)
    if not len(drawn):
        return
    total = np.cumsum(count[drawn])
    for batch in np.split(drawn, np.flatnonzero(np.diff(total // _SPANS_PER_BATCH)) + 1):
        owner = np.repeat(np.arange(len(batch)), count[batch])
        before = np.cumsum(count[batch]) - count[batch]
        yield batch, owner, first[batch][owner] + np.arange(len(owner)) - before[owner]


def _spans(
    triangles: Float64[np.ndarray, "batch 3 2"],
    owner: Int64[np.ndarray, " spans"],
    rows: Int64[np.ndarray, " spans"],
    canvas_width: int,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """[start, end) pixels of each row inside the triangle grown by the margin, and inside the one shrunk by it."""
    edge = np.roll(triangles, -1, axis=1) - triangles
    turn = edge[:, :1, 0] * edge[:, 1:2, 1] - edge[:, :1, 1] * edge[:, 1:2, 0]
    scale = np.where(turn >= 0, 1.0, -1.0) / np.maximum(np.hypot(edge[..., 0], edge[..., 1]), 1e-12)
    # signed distance from an edge, positive inside: a x + b y + c
    a, b = -edge[..., 1] * scale, edge[..., 0] * scale
    c = -(a * triangles[..., 0] + b * triangles[..., 1])
    inverse = 1.0 / np.where(np.abs(a) < 1e-12, 1e-12, a)

    outer_low = np.maximum(triangles[..., 0].min(axis=1) - MARGIN_PX, 0.0)[owner]
    outer_high = np.minimum(triangles[..., 0].max(axis=1) + MARGIN_PX, canvas_width - 1.0)[owner]
    inner_low, inner_high = outer_low, outer_high
    for side in range(3):
        slope = inverse[owner, side]
        crossing = -(b[owner, side] * rows + c[owner, side]) * slope
        reach, from_left = MARGIN_PX * np.abs(slope), slope > 0
        outer_low = np.maximum(outer_low, np.where(from_left, crossing - reach, -np.inf))
        inner_low = np.maximum(inner_low, np.where(from_left, crossing + reach, -np.inf))
        outer_high = np.minimum(outer_high, np.where(from_left, np.inf, crossing + reach))
        inner_high = np.minimum(inner_high, np.where(from_left, np.inf, crossing - reach))
    outer_start, outer_end = _pixel_range(outer_low, outer_high, canvas_width)
    inner_start, inner_end = _pixel_range(inner_low, inner_high, canvas_width)
    empty = inner_end <= inner_start
    return (outer_start, outer_end), (np.where(empty, outer_end, inner_start), np.where(empty, outer_end, inner_end))


def _pixel_range(low: np.ndarray, high: np.ndarray, canvas_width: int) -> tuple[np.ndarray, np.ndarray]:
    start = np.ceil(np.clip(low, 0.0, canvas_width)).astype(np.int64)
    end = np.floor(np.clip(high, -1.0, canvas_width - 1.0)).astype(np.int64) + 1
    return start, np.maximum(end, start)


def _keys(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> Int64[np.ndarray, " spans"]:
    """The non-empty spans as integers that sort by line, then start."""
    full = end > start
    return (lines[full] << 2 * _BITS) | (start[full] << _BITS) | end[full]


def _pixels(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> Int64[np.ndarray, " pixels"]:
    """Every pixel of the spans as line | x."""
    full = np.flatnonzero(end > start)
    length = end[full] - start[full]
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat((lines[full] << _BITS) | start[full], length) + offset


def _reach(spans: Int64[np.ndarray, " spans"]) -> Int64[np.ndarray, " spans"]:
    """line | end of the span that reaches farthest among each span and those before it."""
    return np.maximum.accumulate((spans >> 2 * _BITS << _BITS) | (spans & _MASK))


def _covered(
    spans: Int64[np.ndarray, " spans"], column_count: int, canvas_height: int
) -> Int64[np.ndarray, " columns"]:
    """Number of different pixels in the sorted spans of each column."""
    reach = _reach(spans)
    begin = spans >> _BITS
    begin[1:] = np.maximum(begin[1:], reach[:-1])
    fresh = np.maximum(((spans >> 2 * _BITS << _BITS) | (spans & _MASK)) - begin, 0)
    column = (spans >> 2 * _BITS) // canvas_height
    return np.bincount(column, weights=fresh, minlength=column_count).astype(np.int64)


def _crop(spans: Int64[np.ndarray, " spans"], width: int, height: int) -> Int64[np.ndarray, " inside"]:
    """The parts of sorted canvas spans inside the frame, still in canvas coordinates and sorted."""
    lines = spans >> 2 * _BITS
    inside = lines % (3 * height) // height == 1
    start, end = spans[inside] >> _BITS & _MASK, spans[inside] & _MASK
    return _keys(lines[inside], np.maximum(start, width), np.minimum(end, 2 * width))


def _outside(pixels: Int64[np.ndarray, " pixels"], spans: Int64[np.ndarray, " spans"]) -> Int64[np.ndarray, " outside"]:
    """Those sorted pixels that no sorted span holds."""
    if not len(spans):
        return pixels
    before = np.searchsorted(spans >> _BITS, pixels, side="right") - 1
    held = (before >= 0) & (_reach(spans)[before] > pixels)
    return pixels[~held]
