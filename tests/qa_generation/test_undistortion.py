"""Undistortion against the lens formulas worked out here, and lenses that cannot be one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.undistortion import Undistortion, plan_undistortion

pytest.importorskip("cv2")
SIZE = (96, 64)
K = np.array([[60.0, 0, 47.0], [0, 61.0, 32.5], [0, 0, 1]])
small = st.floats(-0.04, 0.04)


def stored_pixel(point: np.ndarray, coefficients: tuple[float, ...], lens: str) -> np.ndarray:
    """Where the lens images a point, from the published formulas."""
    x, y = point[0] / point[2], point[1] / point[2]
    square = x * x + y * y
    if lens == "fisheye":
        radius = np.sqrt(square)
        theta = np.arctan(radius)
        bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(coefficients)))
        x, y = (x * bent / radius, y * bent / radius) if radius > 0 else (x, y)
    else:
        k1, k2, p1, p2 = coefficients
        radial = 1 + k1 * square + k2 * square**2
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
        )
    return K[:2, :2] @ [x, y] + K[:2, 2]


@settings(max_examples=60, deadline=None)
@given(coefficients=st.tuples(small, small, small, small), pixel=st.tuples(st.integers(0, 95), st.integers(0, 63)))
@pytest.mark.parametrize("lens", ["opencv", "fisheye"])
def test_every_pinhole_pixel_comes_from_where_the_lens_puts_its_ray(
    lens: str, coefficients: tuple[float, ...], pixel: tuple[int, int]
) -> None:
    plan = plan_undistortion(K, coefficients, lens, SIZE, "here")  # type: ignore[arg-type]
    ray = np.linalg.inv(plan.intrinsics) @ [*pixel, 1.0]
    found = plan.columns[pixel[1], pixel[0]], plan.rows[pixel[1], pixel[0]]
    np.testing.assert_allclose(found, stored_pixel(ray, coefficients, lens), atol=1e-3)
    np.testing.assert_array_equal(plan.intrinsics[:2, 2], [47.5, 31.5])
    assert plan.outside < 0.1


@pytest.fixture(scope="module")
def fisheye() -> Undistortion:
    return plan_undistortion(K, (0.05, -0.01, 0.002, -0.001), "fisheye", SIZE, "here")


def test_picture_and_depth_move_alike(fisheye: Undistortion) -> None:
    """A picture whose colours are its own coordinates tells where every pixel came from, and so does depth."""
    columns, rows = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    stored = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(stored).save(encoded, "PNG")
    picture = np.asarray(Image.open(io.BytesIO(fisheye.picture(encoded.getvalue(), "here"))), dtype=np.float64)
    inner = (slice(4, -4), slice(4, -4))
    assert np.median(np.abs(picture[..., 0] - fisheye.columns)[inner]) < 1.5  # JPEG
    assert np.median(np.abs(picture[..., 1] - fisheye.rows)[inner]) < 1.5
    depth = fisheye.depth(columns.astype(np.float32) + 1)
    assert np.abs(depth - 1 - fisheye.columns)[inner].max() <= 0.5 + 1e-3
    half = fisheye.depth(columns[::2, ::2].astype(np.float32) + 1)
    assert half.shape == SIZE[::-1]
    assert np.abs(half - 1 - fisheye.columns)[inner].max() <= 1.5 + 1e-3


def test_what_the_picture_does_not_cover_is_missing() -> None:
    columns = np.array([[-2.0, -0.4, 1.0, 3.4, 3.6]], dtype=np.float32)
    plan = Undistortion(np.eye(3), (4, 1), columns, np.zeros((1, 5), np.float32))
    assert plan.depth(np.array([[1, 2, 3, 4]], np.float32)).tolist() == [[0, 1, 2, 4, 0]]
    assert plan.outside == pytest.approx(2 / 5)


@pytest.mark.parametrize("coefficients", [(-40.0, 0, 0, 0), (float("nan"), 0, 0, 0), (1e300, 0, 0, 0)])
@pytest.mark.parametrize("lens", ["opencv", "fisheye"])
def test_coefficients_of_no_lens_are_refused(lens: str, coefficients: tuple[float, ...]) -> None:
    with pytest.raises(SceneError, match=r"here: distortion .* cannot be undone"):
        plan_undistortion(K, coefficients, lens, SIZE, "here")  # type: ignore[arg-type]


def test_picture_of_another_size_is_refused(fisheye: Undistortion) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (10, 10)).save(encoded, "PNG")
    with pytest.raises(SceneError, match=r"a\.jpg: picture is 10x10, expected 96x64"):
        fisheye.picture(encoded.getvalue(), "a.jpg")
