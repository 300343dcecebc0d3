"""Spans of pixels against Python sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qa_generation.pixel_spans import (
    BITS,
    count_per_group,
    crop,
    outside,
    pack,
    pixels_between,
    runs_of,
    unpack_pixels,
)

ROWS, GROUPS, WIDTH = 4, 3, 20
spans = st.lists(
    st.tuples(st.integers(0, ROWS * GROUPS - 1), st.integers(0, WIDTH), st.integers(0, WIDTH)), max_size=30
)


def packed(items: list[tuple[int, int, int]]) -> np.ndarray:
    lines, start, end = np.array(items, dtype=np.int64).reshape(-1, 3).T
    return np.sort(pack(lines, start, end))


def pixel_set(items: list[tuple[int, int, int]]) -> set[tuple[int, int]]:
    return {(line, x) for line, start, end in items for x in range(start, end)}


@given(spans)
def test_counts_are_those_of_sets(items: list[tuple[int, int, int]]) -> None:
    expected = [0] * GROUPS
    for line, _ in pixel_set(items):
        expected[line // ROWS] += 1
    assert count_per_group(packed(items), ROWS, GROUPS).tolist() == expected


@given(spans, st.integers(0, ROWS), st.integers(0, ROWS), st.integers(0, WIDTH), st.integers(0, WIDTH))
def test_crop_keeps_what_is_in_the_window(
    items: list[tuple[int, int, int]], r0: int, r1: int, c0: int, c1: int
) -> None:
    expected = [0] * GROUPS
    for line, x in pixel_set(items):
        expected[line // ROWS] += r0 <= line % ROWS < r1 and c0 <= x < c1
    window = crop(packed(items), ROWS, (r0, r1), (c0, c1))
    assert (np.diff(window >> BITS) >= 0).all()
    assert count_per_group(window, ROWS, GROUPS).tolist() == expected


@given(spans, spans)
def test_outside_is_set_difference(first: list[tuple[int, int, int]], second: list[tuple[int, int, int]]) -> None:
    lines, start, end = np.array(first, dtype=np.int64).reshape(-1, 3).T
    pixels = np.unique(pixels_between(lines, start, end))
    left = zip(*(part.tolist() for part in unpack_pixels(outside(pixels, packed(second)))), strict=True)
    assert set(left) == pixel_set(first) - pixel_set(second)


@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_runs_paint_the_picture_again(width: int, height: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-1, 2), min_size=width * height, max_size=width * height))
    picture = np.array(values, dtype=np.int32).reshape(height, width)
    runs = runs_of(picture)
    painted = np.full_like(picture, -1)
    for value, row, start, end in zip(runs.value, runs.row, runs.start, runs.end, strict=True):
        assert (painted[row, start:end] == -1).all()
        painted[row, start:end] = value
    np.testing.assert_array_equal(painted, picture)
