"""Rays through pixel centres: depths, regions, the near plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_generation.raycast import RayCaster, Region, pixel_rays, scale_intrinsics, view_rays
from tests.qa_generation.factories import Part, box_mesh, look_at, pinhole

AHEAD = look_at((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
SIZE = (40, 30)


def caster(*parts: Part) -> RayCaster:
    return RayCaster.of_mesh(box_mesh(parts))


def test_depth_is_along_z_not_along_the_ray() -> None:
    wall = caster(Part("", (3.5, 0, 0), (1.0, 20.0, 20.0)))
    depth_m, triangle = wall.first_hits(view_rays(pinhole(SIZE, 90.0), AHEAD, Region.frame(SIZE)))
    assert depth_m.shape == triangle.shape == (30, 40)
    np.testing.assert_allclose(depth_m, 3.0, atol=1e-5)


def test_no_hit_is_depth_zero_and_triangle_minus_one() -> None:
    depth_m, triangle = caster(Part("", (-3, 0, 0), (1, 1, 1))).first_hits(
        view_rays(pinhole(SIZE, 90.0), AHEAD, Region.frame(SIZE))
    )
    assert (depth_m == 0).all() and (triangle == -1).all()


def test_near_surface_is_looked_through() -> None:
    both = caster(Part("", (0.05, 0, 0), (0.02, 9, 9)), Part("", (3.5, 0, 0), (1.0, 20, 20)))
    rays = view_rays(pinhole(SIZE, 60.0), AHEAD, Region.frame(SIZE))
    depth_m, triangle = both.first_hits(rays)
    np.testing.assert_allclose(depth_m, 3.0, atol=1e-5)
    assert (triangle >= 12).all()
    near_only = caster(Part("", (0.05, 0, 0), (0.02, 9, 9)))
    assert not near_only.hits(rays).any()
    assert (near_only.first_hits(rays)[0] == 0).all()
    assert near_only.hits(rays, near_m=0.0).all()


def test_pixel_rays_are_bit_equal_to_those_of_the_region() -> None:
    lens, pose = pinhole(SIZE, 70.0), look_at((1.0, -2.0, 1.5), (0.3, 0.2, 0.1))
    region = Region.canvas(SIZE)
    rays = view_rays(lens, pose, region)
    pixels = np.array([[-40, -30], [0, 0], [79, 59], [13, -7]])
    picked = rays[pixels[:, 1] - region.y0, pixels[:, 0] - region.x0]
    np.testing.assert_array_equal(pixel_rays(lens, pose, pixels), picked)


def test_rounded_rotation_still_gives_rays_that_project_to_their_pixel() -> None:
    pose = np.round(look_at((1.0, -2.0, 1.5), (0.3, 0.2, 0.1)), 4)  # as read from a text file
    lens = pinhole(SIZE, 70.0)
    ray = pixel_rays(lens, pose, np.array([[31, 7]]))[0].astype(np.float64)
    projected = lens @ (pose[:3, :3] @ (ray[:3] + 5.0 * ray[3:]) + pose[:3, 3])
    np.testing.assert_allclose(projected / projected[2], [31, 7, 1], atol=1e-4)
    assert projected[2] == pytest.approx(5.0, abs=1e-5)


@given(st.integers(1, 9), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_scaled_intrinsics_keep_points_at_the_same_share_of_the_picture(factor: int, x: float, y: float) -> None:
    lens, small = pinhole((90, 90), 60.0), (90 // factor, 90 // factor)
    before = lens @ (x, y, 3.0)
    after = scale_intrinsics(lens, (90, 90), small) @ (x, y, 3.0)
    share_before, share_after = (before[:2] / before[2] + 0.5) / 90, (after[:2] / after[2] + 0.5) / small[0]
    np.testing.assert_allclose(share_after, share_before, atol=1e-12)
