"""Sets of canvas pixels as sorted integers: a span is line | start | end, a pixel line | x.

A line is one canvas row of one instance, so one sorted array holds the silhouettes of all instances of a view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64

BITS = 16  # for x; lines have the other 31, which allows two billion
_MASK = (1 << BITS) - 1

Spans = Int64[np.ndarray, " spans"]
Pixels = Int64[np.ndarray, " pixels"]


@dataclass(frozen=True, eq=False)
class Runs:
    """Horizontal runs of one value in a picture: value, row, first x, end x (exclusive)."""

    value: Int64[np.ndarray, " runs"]
    row: Int64[np.ndarray, " runs"]
    start: Int64[np.ndarray, " runs"]
    end: Int64[np.ndarray, " runs"]


def runs_of(picture: Int32[np.ndarray, "height width"]) -> Runs:
    """All runs of values >= 0, in reading order."""
    height, width = picture.shape
    begins = np.ones((height, width), dtype=bool)
    np.not_equal(picture[:, 1:], picture[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    length = np.diff(start, append=height * width)
    value = picture.ravel()[start].astype(np.int64)
    kept = value >= 0
    row, x = np.divmod(start[kept], width)
    return Runs(value[kept], row, x, x + length[kept])


def pack(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> Spans:
    """The non-empty [start, end) spans, one integer each; sorting them sorts by line, then start."""
    full = end > start
    return (lines[full] << 2 * BITS) | (start[full] << BITS) | end[full]


def unpack_pixels(pixels: Pixels) -> tuple[Int64[np.ndarray, " pixels"], Int64[np.ndarray, " pixels"]]:
    """Line and x of every pixel."""
    return pixels >> BITS, pixels & _MASK


def pixels_between(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> Pixels:
    """Every pixel of the [start, end) spans, span by span."""
    full = np.flatnonzero(end > start)
    length = end[full] - start[full]
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat((lines[full] << BITS) | start[full], length) + offset


def count_per_group(spans: Spans, lines_per_group: int, group_count: int) -> Int64[np.ndarray, " groups"]:
    """Number of different pixels in spans sorted by line and start, for each group of consecutive lines."""
    end = _line_end(spans)
    begin = spans >> BITS
    begin[1:] = np.maximum(begin[1:], np.maximum.accumulate(end)[:-1])  # what an earlier span covered counts once
    group = (spans >> 2 * BITS) // lines_per_group
    return np.bincount(group, weights=np.maximum(end - begin, 0), minlength=group_count).astype(np.int64)


def crop(spans: Spans, rows_per_group: int, rows: tuple[int, int], columns: tuple[int, int]) -> Spans:
    """The parts of sorted spans inside a window, at their old places and still sorted by line and start.

    ``rows`` (within each group) and ``columns`` are [first, end).
    """
    lines = spans >> 2 * BITS
    row = lines % rows_per_group
    inside = (row >= rows[0]) & (row < rows[1])
    start, end = spans[inside] >> BITS & _MASK, spans[inside] & _MASK
    return pack(lines[inside], np.maximum(start, columns[0]), np.minimum(end, columns[1]))


def outside(pixels: Pixels, spans: Spans) -> Pixels:
    """Those pixels that lie in none of the sorted spans."""
    if not len(spans):
        return pixels
    before = np.searchsorted(spans >> BITS, pixels, side="right") - 1
    held: Bool[np.ndarray, " pixels"] = (before >= 0) & (np.maximum.accumulate(_line_end(spans))[before] > pixels)
    return pixels[~held]


def _line_end(spans: Spans) -> Pixels:
    return (spans >> 2 * BITS << BITS) | (spans & _MASK)
