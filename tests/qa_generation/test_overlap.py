"""Shared surface of two views: closed forms, Python sets, and what counts as seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qa_generation.errors import SceneError
from qa_generation.overlap import overlap_percent, sample_instances, sample_triangles
from qa_generation.raycast import RayCaster, pixel_rays
from qa_generation.scene_surface import SceneSurface
from qa_generation.sight import Sight
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visible_points import ANY, NOTHING, VOXELS, seen, visible_points
from tests.qa_generation.factories import Part, furnished_room, level_camera, make_scene

LENS = np.array([[100.0, 0.0, 79.5], [0.0, 100.0, 59.5], [0.0, 0.0, 1.0]])
PLATE = Part("plate", (2.005, 0.0, 0.0), (0.01, 12.0, 8.0))  # its front is 2 m ahead; a view shows 3.2 x 2.4 m of it


def plate_overlap(shift_m: float, scale: float = 1.0, voxel_m: float = 0.02) -> float:
    cameras = [level_camera((0, 0, 0), (1, 0, 0)), level_camera((0, shift_m, 0), (1, 0, 0))]
    lens = np.diag([scale, scale, 1.0]) @ LENS
    lens[:2, 2] += (scale - 1.0) / 2.0
    size = (int(160 * scale), int(120 * scale))
    table = annotate(make_scene([PLATE], cameras, size=size, intrinsics=lens), VisibilityConfig(voxel_m=voxel_m))
    assert table.overlap[0, 1] == table.overlap[1, 0]
    return float(table.overlap[0, 1])


@pytest.mark.parametrize("shift_m", [0.0, 0.4, 1.6, 2.8, 3.3])
def test_two_views_of_a_plane(shift_m: float) -> None:
    shared = max(3.2 - shift_m, 0.0)
    # one voxel more or less at each border of 160
    assert plate_overlap(shift_m) == pytest.approx(100.0 * shared / (6.4 - shared), abs=1.0)


def test_overlap_does_not_depend_on_the_resolution_of_the_view() -> None:
    coarse, fine = plate_overlap(1.6, scale=0.25), plate_overlap(1.6, scale=2.0)
    assert coarse == pytest.approx(fine, abs=1.0)


def test_outdoor_voxels_give_the_same_overlap_up_to_their_size() -> None:
    assert plate_overlap(1.6, voxel_m=0.2) == pytest.approx(100.0 / 3.0, abs=5.0)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(0, 70))))
def test_percent_is_that_of_python_sets(seen: np.ndarray) -> None:
    percent = overlap_percent(np.packbits(seen, axis=1))
    sets = [set(np.flatnonzero(row).tolist()) for row in seen]
    for i, first in enumerate(sets):
        for j, second in enumerate(sets):
            union = first | second
            expected = 100.0 * len(first & second) / len(union) if union else 0.0
            assert percent[i, j] == (100.0 if i == j else expected)


def test_room_overlap_is_that_of_sets_built_point_by_point() -> None:
    scene = furnished_room(views=4, size=(80, 60))
    table, config, mesh = annotate(scene), VisibilityConfig(), scene.mesh
    own = mesh.triangle_instances > 0
    samples = sample_instances(
        mesh.vertices[mesh.triangles[own]], mesh.triangle_instances[own].astype(np.int64) - 1, config.voxel_m
    )
    points = samples.points.T.astype(np.float64)
    caster, sets = RayCaster.of_mesh(mesh), []
    for row, view in enumerate(scene.views):
        camera = points @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = (camera / camera[:, 2:]) @ view.intrinsics[:2].T
        inside = (camera[:, 2] > 0.1) & (pixels >= -0.5).all(axis=1) & (pixels < [79.5, 59.5]).all(axis=1)
        inside &= table.visible_pixels[row, samples.columns] > 0
        # a ray to each of them, whatever the pixels around say
        depth_m, _ = caster.first_hits(pixel_rays(view.intrinsics, view.world_to_camera, pixels[inside]))
        z = camera[inside, 2]
        seen = points[inside][(depth_m == 0) | (z <= depth_m + np.maximum(0.05, 0.02 * z))]
        sets.append(set(map(tuple, np.floor(seen / config.voxel_m).astype(int).tolist())))
    expected = [[100.0 * len(a & b) / len(a | b) for b in sets] for a in sets]
    # small things between four pixel centres are looked past
    np.testing.assert_allclose(table.overlap, expected, atol=0.2)
    assert 0 < table.overlap[0, 1] < 100


def sight_of(*parts: Part, size: tuple[int, int] = (160, 120)) -> Sight:
    """What a camera at the origin that looks along +z sees of them."""
    scene = make_scene(list(parts), [level_camera((0, 0, 0), (1, 0, 0))])
    return Sight.of(SceneSurface.of_scene(scene), LENS, np.eye(4), size)


def test_point_counts_down_to_the_tolerance_behind_what_hides_it() -> None:
    wall = Part("wall", (2.0, 0.0, 2.005), (4.0, 4.0, 0.01))  # 2 m ahead, right of the middle
    far = Part("wall", (-30.0, 0.0, 10.005), (59.8, 30.0, 0.01))  # 10 m ahead, left of it
    candidates = np.array(
        [
            [0.1, 0.0, 1.0],  # before the surface
            [0.1, 0.0, 2.049],  # within 5 cm behind it
            [0.1, 0.0, 2.051],  # beyond
            [-1.0, 0.0, 10.19],  # 2 % of the depth is more than 5 cm
            [-1.0, 0.0, 10.22],
            [5.0, 0.0, 1.0],  # out of the frame
            [0.001, 0.0, 0.09],  # nearer than the near plane
            [0.1, 0.0, -1.0],  # behind the camera
        ]
    )
    assert np.flatnonzero(visible_points(candidates.T, sight_of(wall, far), 0.05, 0.02)).tolist() == [0, 1, 3]


def test_point_beside_an_edge_is_settled_by_a_ray() -> None:
    # the board's right edge lies between two pixel centres; points 1 m behind it, a hair on either side of the edge
    edge = (100.25 - 79.5) / 100.0 * 2.0
    board = Part("board", (edge - 1.0, 0.0, 2.005), (2.0, 2.0, 0.01))
    candidates = np.array([[1.5 * (edge + shift), 0.0, 3.0] for shift in (-0.004, -0.001, 0.001, 0.004)])
    assert visible_points(candidates.T, sight_of(board), 0.05, 0.02).tolist() == [False, False, True, True]


def test_points_of_a_grazing_floor_are_all_seen() -> None:
    # 20 cm below the camera: a pixel spans up to 40 cm of it
    floor = Part("floor", (0.0, 0.25, 4.0), (2.0, 0.1, 4.0))
    z = np.linspace(2.05, 5.9, 400)
    candidates = np.stack([np.zeros_like(z), np.full_like(z, 0.2), z])
    assert visible_points(candidates, sight_of(floor), 0.05, 0.02).all()


def test_instance_without_a_pixel_in_the_view_shares_nothing() -> None:
    # the note lies 2 cm behind a board, within the tolerance, but not one pixel of it is seen
    parts = [Part("board", (0, 0, 2.005), (3.0, 3.0, 0.01)), Part("note", (0, 0, 2.03), (0.5, 0.5, 0.001))]
    sight = sight_of(*parts)
    samples = sample_instances(sight.surface.instance_corners, sight.surface.instance_columns, 0.02)
    assert set(sight.triangle[sight.triangle >= 0].tolist()) <= set(range(12))  # the board's twelve

    def voxels_of(*asked: int) -> tuple[np.ndarray, list[bool]]:
        voxels, columns = seen(samples, np.array(asked, dtype=np.int8), sight, 0.05, 0.02)
        return voxels, columns.tolist()

    board, together = voxels_of(VOXELS, NOTHING)[0], voxels_of(VOXELS, VOXELS)[0]
    assert 0 < board.sum() < together.sum() and (together | ~board).all()
    voxels, shown = voxels_of(VOXELS, ANY)
    assert (voxels == board).all() and shown == [False, True]
    assert voxels_of(NOTHING, NOTHING)[0].sum() == 0


corner = st.tuples(*[st.floats(-2.0, 2.0, width=32)] * 3)


@given(st.tuples(corner, corner, corner), st.sampled_from([0.05, 0.2]))
@settings(deadline=None, max_examples=40)
def test_samples_lie_on_the_triangle_and_cover_it(triangle: tuple, spacing_m: float) -> None:
    corners = np.array([triangle], dtype=np.float64)
    points, owner = sample_triangles(corners, spacing_m)
    assert len(points) >= 1 and (owner == 0).all()
    a, b, c = corners[0]
    to_a, to_b, to_c = a - points, b - points, c - points
    pieces = [np.linalg.norm(np.cross(p, q), axis=1) for p, q in ((to_a, to_b), (to_b, to_c), (to_c, to_a))]
    # inside, the three triangles to the corners add up to the whole one; outside they are more
    np.testing.assert_allclose(sum(pieces), np.linalg.norm(np.cross(b - a, c - a)), atol=1e-6)
    rng = np.random.default_rng(0)
    share = rng.dirichlet([1, 1, 1], size=50)
    nearest = np.linalg.norm((share @ corners[0])[:, None] - points[None], axis=-1).min(axis=1)
    assert nearest.max() <= 1.12 * spacing_m


def test_samples_are_as_dense_on_large_triangles_as_on_small_ones() -> None:
    large = np.array([[[0.0, 0, 0], [4, 0, 0], [0, 4, 0]]])
    side = np.arange(8) * 0.5
    x, y = (grid.ravel() for grid in np.meshgrid(side, side))
    square = np.stack([x, y, np.zeros_like(x)], axis=-1)
    small = np.stack([square, square + np.array([0.5, 0, 0]), square + np.array([0, 0.5, 0])], axis=1)
    per_area = [len(sample_triangles(t, 0.02)[0]) / (8.0 if len(t) == 1 else 64 * 0.125) for t in (large, small)]
    assert per_area[0] == pytest.approx(1 / 0.02**2, rel=0.02) and per_area[1] == pytest.approx(per_area[0], rel=0.1)


def test_surface_that_cannot_be_in_metres_is_refused() -> None:
    huge = np.array([[[0.0, 0, 0], [4000, 0, 0], [0, 4000, 0]]])
    with pytest.raises(SceneError, match="metres"):
        sample_triangles(huge, 0.02)
    apart = np.array([[[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]], [[9e9, 9e9, 9e9]] * 3])
    with pytest.raises(SceneError, match="too far"):
        sample_instances(apart, np.array([0, 1]), 0.02)
