"""Crop and resize keep pictures, depth and cameras together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.cropping import CameraImage, crop_and_resize, resize_nearest, squeeze


def slanted_wall(width: int, height: int, focal: float, x: float, y: float) -> CameraImage:
    """A wall z = 2 + 0.1 X + 0.2 Y, exact in every pixel."""
    rows, columns = np.indices((height, width))
    rays_x, rays_y = (columns - x) / focal, (rows - y) / focal
    depth = 2 / (1 - 0.1 * rays_x - 0.2 * rays_y)
    image = np.zeros((height, width, 3), np.uint8)
    return CameraImage(image, depth, np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]]))


def error_of_wall(view: CameraImage) -> float:
    """How far the points of the view are from the wall at most."""
    camera = view.intrinsics
    rows, columns = np.indices(view.depth.shape)
    x = (columns - camera[0, 2]) / camera[0, 0] * view.depth
    y = (rows - camera[1, 2]) / camera[1, 1] * view.depth
    return float(np.abs(view.depth - 2 - 0.1 * x - 0.2 * y).max())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(40, 200), st.integers(40, 200), st.floats(0.4, 0.6), st.floats(0.4, 0.6), st.sampled_from([32, 64, 112])
)
def test_points_stay_on_the_surface(width: int, height: int, x: float, y: float, side: int) -> None:
    view = slanted_wall(width, height, 150.0, x * width, y * height)
    ways: tuple[Callable[[CameraImage, tuple[int, int]], CameraImage], ...] = (crop_and_resize, squeeze)
    for resize in ways:
        result = resize(view, (side, side))
        assert result.image.shape == (side, side, 3) and result.depth.shape == (side, side)
        # nearest neighbours are up to one old pixel away; the wall is at most 2.5 m deep, where a step of one pixel
        # changes its depth by z^2 / 2 * (0.1 + 0.2) / focal length
        assert error_of_wall(result) < 2.5**2 / 2 * 0.3 / 150 * 3


def test_principal_point_ends_in_the_middle() -> None:
    result = crop_and_resize(slanted_wall(160, 120, 150.0, 71.3, 64.2), (64, 64))
    assert np.abs(result.intrinsics[:2, 2] - 32).max() < 1.0
    assert result.intrinsics[0, 0] == result.intrinsics[1, 1]


def test_portrait_pictures_get_the_swapped_resolution() -> None:
    assert crop_and_resize(slanted_wall(60, 90, 80.0, 30.0, 45.0), (64, 48)).size == (48, 64)
    assert crop_and_resize(slanted_wall(90, 60, 80.0, 45.0, 30.0), (64, 48)).size == (64, 48)


def test_square_pictures_without_generator_are_cut_to_landscape() -> None:
    assert crop_and_resize(slanted_wall(80, 80, 80.0, 40.0, 40.0), (64, 48)).size == (64, 48)


def test_nearest_rows_of_one_third() -> None:
    np.testing.assert_array_equal(resize_nearest(np.arange(6)[None], (2, 1)), [[0, 3]])


@pytest.mark.parametrize(
    ("x", "y", "resolution", "aug_crop", "message"),
    [
        (0.0, 30.0, (32, 32), 0, "principal point"),
        (40.0, 30.0, (32, 64), 0, "width >= height"),
        (40.0, 30.0, (32, 32), 8, "aug_crop"),
    ],
)
def test_bad_arguments(x: float, y: float, resolution: tuple[int, int], aug_crop: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        crop_and_resize(slanted_wall(80, 60, 80.0, x, y), resolution, aug_crop=aug_crop)


def test_depth_of_another_size() -> None:
    view = CameraImage(np.zeros((4, 5, 3), np.uint8), np.zeros((4, 6)), np.eye(3))
    for resize in (crop_and_resize, squeeze):
        with pytest.raises(InputError, match="expected one height and width"):
            resize(view, (2, 2))
