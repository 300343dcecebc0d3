"""What compiled loops say of a view against plain formulas: every place by its own ray, every sample by numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation import compiled, silhouettes
from qa_generation.blocks import Blocks, z_order
from qa_generation.occluders import DOUBTFUL, settle
from qa_generation.ranks import ranked
from qa_generation.raycast import NEAR_M, Region
from qa_generation.scene import Instance, Mesh, OrientedBox, Scene
from qa_generation.scene_surface import SceneSurface
from qa_generation.sight import Sight
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visible_points import visible_points
from tests.qa_generation.factories import furnished_room, look_at, pinhole

SIZE = (64, 48)


def soup(seed: int, spread_m: float, count: int = 400) -> SceneSurface:
    """Random triangles around the origin, some of which any camera near it cuts with its near plane."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(count, 1, 3)) * 1.5 + rng.normal(size=(count, 3, 3)) * spread_m
    triangles = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    mesh = Mesh(corners.reshape(-1, 3).astype(np.float32), triangles, (np.arange(count) % 4).astype(np.int32))
    box = OrientedBox(np.zeros(3), np.eye(3), np.ones(3))
    return SceneSurface.of_scene(
        Scene("soup", "test", (), {i: Instance(i, "soup", box) for i in (1, 2, 3)}, lambda: mesh)
    )


def sights(seed: int, spread_m: float) -> list[Sight]:
    """Three cameras of different lenses, one with skew and one very wide, in the same soup."""
    rng, surface = np.random.default_rng(seed), soup(seed, spread_m)
    lenses = [pinhole(SIZE, 60.0), pinhole(SIZE, 75.0), pinhole(SIZE, 130.0)]
    lenses[1][0, 1], lenses[1][0, 2] = 3.0, 29.3
    poses = [look_at(tuple(rng.normal(size=3)), tuple(rng.normal(size=3))) for _ in lenses]
    return [Sight.of(surface, lens, pose, SIZE) for lens, pose in zip(lenses, poses, strict=True)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread_m", [0.02, 0.3, 1.5])
def test_places_are_hidden_as_their_rays_tell(seed: int, spread_m: float) -> None:
    rng = np.random.default_rng(100 + seed)
    for sight in sights(seed, spread_m):
        places = rng.uniform([-0.5, -0.5], np.array(SIZE) - 0.5, (3000, 2))
        # to the very rim of the frame, and on pixel centres and borders
        places[:200, 0], places[200:400, 1] = SIZE[0] - 0.5 - 1e-9, SIZE[1] - 0.5 - 1e-9
        places[400:600] = np.floor(2.0 * places[400:600] + 1.0) / 2.0 - 0.5
        depth_m, _ = sight.surface.caster.first_hits(sight.rays.through(places))
        least_m = rng.uniform(0.0, 5.0, len(places))
        # half of them a little before or behind what is there, down to where rounding decides
        close = rng.random(len(places)) < 0.5
        least_m[close] = depth_m[close] * (1.0 + rng.choice([-1e-2, -1e-5, -1e-8, 0.0, 1e-8, 1e-5, 1e-2], close.sum()))
        expected = (depth_m > 0) & (depth_m < least_m)
        np.testing.assert_array_equal(sight.hides(places, least_m), expected)
        assert 0 < expected.sum() < len(places)


def test_few_places_need_a_ray() -> None:
    room = furnished_room(views=3, size=SIZE)
    surface, rng = SceneSurface.of_scene(room), np.random.default_rng(0)
    for view in room.views:
        sight = Sight.of(surface, view.intrinsics, view.world_to_camera, SIZE)
        places, least_m = rng.uniform(0, np.array(SIZE) - 1.0, (5000, 2)), rng.uniform(0.2, 6.0, 5000)
        blocks = sight.blocks
        found = settle(surface, blocks, sight.placed(blocks), view.intrinsics, SIZE, places, least_m)
        assert (found == DOUBTFUL).mean() < 0.05


def seen_by_formula(points: np.ndarray, sight: Sight, tolerance_m: float, tolerance_ratio: float) -> np.ndarray:
    """The definition of a visible point (specs 4.3) with numpy: the four pixels around it where they agree, its ray
    where they do not."""
    x, y, z = sight.intrinsics @ (sight.world_to_camera[:3, :3] @ points + sight.world_to_camera[:3, 3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.stack([x / z, y / z], axis=1)
    inside = np.flatnonzero((z > NEAR_M) & (places >= -0.5).all(axis=1) & (places < np.array(SIZE) - 0.5).all(axis=1))
    places, least_m = places[inside], z[inside] - np.maximum(tolerance_m, tolerance_ratio * z[inside])
    depth_m = np.where(sight.depth_m > 0, sight.depth_m, np.inf)
    low = np.floor(places).astype(int)
    around = np.stack(
        [
            depth_m[np.clip(low[:, 1] + down, 0, SIZE[1] - 1), np.clip(low[:, 0] + right, 0, SIZE[0] - 1)]
            for down in (0, 1)
            for right in (0, 1)
        ]
    )
    own_m = sight.surface.caster.first_hits(sight.rays.through(places))[0]
    own = (own_m == 0) | (least_m <= own_m)
    seen = np.zeros(points.shape[1], dtype=bool)
    seen[inside] = np.where(least_m <= around.min(axis=0), True, np.where(least_m <= around.max(axis=0), own, False))
    return seen


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread_m", [0.05, 0.5])
def test_visible_points_are_those_of_the_formula(seed: int, spread_m: float) -> None:
    rng = np.random.default_rng(200 + seed)
    points = (rng.normal(size=(3, 20_000)) * 1.5).astype(np.float32)
    for sight in sights(seed, spread_m):
        found = visible_points(points, sight, 0.05, 0.02)
        np.testing.assert_array_equal(found, seen_by_formula(points, sight, 0.05, 0.02))
        assert found.any()


@pytest.mark.parametrize("seed", range(4))
def test_blocks_left_out_show_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(5000, 3)) * 2.0
    points = points[np.argsort(z_order(points))]
    columns = np.sort(rng.integers(0, 4, len(points)))
    blocks = Blocks.of(columns, points, points, 50)
    assert (np.diff(blocks.first) <= 50).all() and blocks.first[-1] == len(points)
    block_of_point = np.repeat(np.arange(len(blocks.columns)), np.diff(blocks.first))
    np.testing.assert_array_equal(blocks.columns[block_of_point], columns)
    lens, pose = pinhole(SIZE, 70.0), look_at(tuple(rng.normal(size=3)), tuple(rng.normal(size=3)))
    for region in (Region.frame(SIZE), Region.canvas(SIZE)):
        x, y, z = lens @ (pose[:3, :3] @ points.T + pose[:3, 3:])
        u, v = x / z, y / z
        low, high = (region.x0 - 0.5, region.y0 - 0.5), (region.x1 - 0.5, region.y1 - 0.5)
        shown = (z > NEAR_M) & (u >= low[0]) & (u < high[0]) & (v >= low[1]) & (v < high[1])
        touched = blocks.touching(lens, pose, region)
        assert touched[block_of_point[shown]].all()
        assert not touched.all()


def test_near_points_are_near_in_z_order() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    ordered = grid[np.argsort(z_order(grid))]
    assert len(np.unique(z_order(grid))) == len(grid)
    # every eighth, sixty-fourth ... is a cube of its own
    for edge in (2, 4):
        cubes = ordered.reshape(-1, edge**3, 3)
        assert (np.ptp(cubes, axis=1) == edge - 1).all()


@given(st.lists(st.integers(0, 2**62), max_size=40), st.integers(1, 50))
def test_ranks_are_those_of_numpy(keys: list[int], modulus: int) -> None:
    for values in (np.array(keys, dtype=np.int64), np.array(keys, dtype=np.int64) % modulus):
        unique, expected = np.unique(values, return_inverse=True)
        ranks, count = ranked(values)
        assert count == len(unique) and ranks.tolist() == expected.tolist()


def test_a_canvas_drawn_in_bands_gives_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, config = furnished_room(views=3, size=(80, 60)), VisibilityConfig()
    whole = annotate(scene, config)
    monkeypatch.setattr(silhouettes, "_CANVAS_PIXELS", 700)  # three to fifty rows at a time
    bands = annotate(scene, config)
    np.testing.assert_array_equal(bands.frame_pixels, whole.frame_pixels)
    np.testing.assert_array_equal(bands.canvas_pixels, whole.canvas_pixels)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(4)))
def test_views_do_not_influence_each_other(order: list[int]) -> None:
    scene = furnished_room(views=4, size=(40, 30))
    shuffled = Scene("room", "test", tuple(scene.views[k] for k in order), scene.instances, lambda: scene.mesh)
    table, moved = annotate(scene), annotate(shuffled)
    for name in ("visible_pixels", "frame_pixels", "canvas_pixels", "boxes", "centroid_depth", "glimpsed"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(table, name)[order])
    np.testing.assert_array_equal(moved.overlap, table.overlap[np.ix_(order, order)])


def test_without_a_folder_to_keep_machine_code_in_loops_are_compiled_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = compiled.numba.njit

    def no_locator(**options: bool):  # what Numba raises where it finds nothing to write to
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(compiled.numba, "njit", no_locator)

    @compiled.compiled
    def add(a: float, b: float) -> float:
        return a + b

    assert add(0.1, 0.2) == 0.1 + 0.2
