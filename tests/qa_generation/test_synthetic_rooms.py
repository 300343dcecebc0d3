"""Plans and furniture: rooms are closed, things stand in them without running into each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import open3d as o3d
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_generation.synthetic.build import scene_rng
from qa_generation.synthetic.catalogue import BUILDERS, OPENINGS
from qa_generation.synthetic.furnish import furnish
from qa_generation.synthetic.layout import Room, draw_room
from qa_generation.synthetic.loose import scatter
from qa_generation.synthetic.placement import Arrangement, Block, Placed, block_rows, overlapping
from qa_generation.synthetic.shell import build_shell
from qa_generation.synthetic.style import draw_style

SEEDS = range(12)
IN_WALLS = {"door", "window"}


def furnished(index: int) -> Arrangement:
    rng = scene_rng(7, index)
    style = draw_style(rng)
    arrangement = furnish(draw_room(rng), style, rng)
    scatter(arrangement, style, rng, 16)
    return arrangement


@pytest.fixture(scope="module")
def arrangements() -> list[Arrangement]:
    return [furnished(index) for index in SEEDS]


def test_floor_area_of_an_l_shape() -> None:
    room = Room(4.0, 3.0, 2.5, cuts=((0.0, 0.0, 1.5, 1.0),))
    assert room.area == pytest.approx(4 * 3 - 1.5 * 1)
    points = np.array([[0.5, 0.5], [2.0, 0.5], [0.5, 2.0], [3.95, 1.0], [-0.1, 2.0]])
    assert room.contains(points).tolist() == [False, True, True, True, False]
    assert room.contains(points, margin=0.1).tolist() == [False, True, True, False, False]


@given(st.integers(0, 2**32 - 1))
def test_walls_go_once_around_the_floor(seed: int) -> None:
    room = draw_room(np.random.default_rng(seed))
    # Green's theorem: walls with the room to their left enclose its area, and come back to where they began
    turn = sum(w.length * w.direction for w in room.walls)
    np.testing.assert_allclose(turn, 0, atol=1e-9)
    ends = [(w.start, w.point(w.length)) for w in room.walls]
    area = sum(a[0] * b[1] - a[1] * b[0] for a, b in ends) / 2
    assert area == pytest.approx(room.area)
    for wall in room.walls:
        middle = wall.point(wall.length / 2, 0.05)
        assert room.contains(middle[None]).all()
        for before, after in zip(wall.openings, wall.openings[1:], strict=False):
            assert before.along[1] < after.along[0]
        for opening in wall.openings:
            assert 0 < opening.along[0] < opening.along[1] < wall.length
            assert 0 <= opening.z[0] < opening.z[1] < room.height
    assert any(o.kind == "door" for w in room.walls for o in w.openings)


def test_boxes_that_touch_do_not_overlap_and_turned_ones_do() -> None:
    one = Block((0, 0), (1, 1), 0.0, (0, 1))
    others = [
        Block((2, 0), (1, 1), 0.0, (0, 1)),  # side by side
        Block((1.9, 0), (1, 1), 0.0, (0, 1)),  # ten centimetres inside
        Block((0, 0), (1, 1), 0.0, (1, 2)),  # on top
        Block((0, 0), (1, 1), 0.0, (0.9, 2)),  # on top but sunk in
        Block((2.3, 0), (1, 1), np.pi / 4, (0, 1)),  # its corner reaches 1.414 to the left
        Block((2.5, 0), (1, 1), np.pi / 4, (0, 1)),
        Block((1.95, 1.95), (1, 1), np.pi / 4, (0, 1)),  # near the corner, but along the diagonal it stays clear
    ]
    expected = [False, True, False, True, True, False, False]
    assert overlapping(one, block_rows(others)).tolist() == expected


@given(
    st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 2, *[st.floats(0.1, 1)] * 2, st.floats(-3, 3)), min_size=2, max_size=2)
)
def test_overlap_is_symmetric_and_agrees_with_sampling(numbers: list[tuple[float, ...]]) -> None:
    a, b = (Block((x, y), (w, d), yaw, (0, 1)) for x, y, w, d, yaw in numbers)
    hit = bool(overlapping(a, block_rows([b]))[0])
    assert hit == bool(overlapping(b, block_rows([a]))[0])
    grid = np.stack(np.meshgrid(*[np.linspace(-0.97, 0.97, 25)] * 2), axis=-1).reshape(-1, 2) * a.half
    c, s = np.cos(a.yaw), np.sin(a.yaw)
    world = grid @ np.array([[c, s], [-s, c]]) + a.center
    c, s = np.cos(b.yaw), np.sin(b.yaw)
    local = (world - b.center) @ np.array([[c, -s], [s, c]])
    if (np.abs(local) < np.array(b.half) - 0.01).all(axis=1).any():
        assert hit


def test_nothing_runs_into_anything(arrangements: list[Arrangement]) -> None:
    for arrangement in arrangements:
        blocks = block_rows([p.block for p in arrangement.placed])
        for index, placed in enumerate(arrangement.placed):
            hits = overlapping(placed.block, blocks, tolerance=0.003)
            hits[index] = False
            related = {placed.parent} | {k for k, p in enumerate(arrangement.placed) if p.parent == index}
            unrelated = set(np.flatnonzero(hits).tolist()) - related
            assert not unrelated, (
                f"{placed.item.category} in {[arrangement.placed[k].item.category for k in unrelated]}"
            )


def test_small_things_do_not_cut_what_they_stand_on(arrangements: list[Arrangement]) -> None:
    checked = 0
    for arrangement in arrangements:
        for placed in arrangement.placed:
            if placed.parent >= 0:
                checked += 1
                parent = arrangement.placed[placed.parent]
                assert not edges_crossing(placed, parent), f"{placed.item.category} in {parent.item.category}"
    assert checked > 30


def edges_crossing(one: Placed, other: Placed) -> int:
    """How many triangle edges of one thing pierce the surface of the other."""
    caster = o3d.t.geometry.RaycastingScene(nthreads=1)
    target = other.surface
    caster.add_triangles(target.vertices.astype(np.float32), target.triangles.astype(np.uint32))
    surface = one.surface
    a = surface.vertices[surface.triangles]
    b = np.roll(a, 1, axis=1)
    rays = np.concatenate([a, b - a], axis=-1).reshape(-1, 6).astype(np.float32)
    return int(caster.test_occlusions(o3d.core.Tensor(rays), 0.001, 0.999, nthreads=1).numpy().sum())


def test_everything_stands_in_the_room_and_on_something(arrangements: list[Arrangement]) -> None:
    for arrangement in arrangements:
        for placed in arrangement.placed:
            low, high = placed.surface.bounds
            assert low[2] >= 0
            assert high[2] <= arrangement.room.height
            if placed.item.category not in IN_WALLS:
                assert arrangement.room.contains(placed.surface.vertices[:, :2]).all(), placed.item.category
            if placed.parent >= 0:
                parent = arrangement.placed[placed.parent]
                levels = [parent.position[2] + s.z for s in parent.item.supports]
                assert min(abs(low[2] - level) for level in levels) < 0.002


def test_doors_can_be_reached(arrangements: list[Arrangement]) -> None:
    for arrangement in arrangements:
        for wall in arrangement.room.walls:
            for opening in (o for o in wall.openings if o.kind == "door"):
                middle = wall.point(sum(opening.along) / 2, 0.4)
                step = Block((middle[0], middle[1]), (0.3, 0.25), wall.yaw, (0.1, 1.9))
                others = [p for p in arrangement.placed if p.item.category != "door" and p.parent < 0]
                assert not overlapping(step, block_rows([p.block for p in others])).any()


def test_rooms_are_rich_and_countable() -> None:
    rooms = [Counter(p.item.category for p in furnished(index).placed) for index in range(24)]
    seen = Counter(category for room in rooms for category in room)
    assert len(seen) >= 30
    assert {"chair", "table", "bed", "sofa", "books", "plant", "window", "door"} <= set(seen)
    assert not {"wall", "floor", "ceiling"} & set(seen)
    counts = Counter(min(n, 6) for room in rooms for n in room.values())
    assert all(counts[n] >= 3 for n in (1, 2, 3, 4))
    assert 20 <= np.median([sum(room.values()) for room in rooms]) <= 80


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_every_builder_varies_and_is_well_formed(name: str) -> None:
    rng = np.random.default_rng(3)
    items = [BUILDERS[name](rng, draw_style(rng)) for _ in range(4)]
    assert len({tuple(item.size.round(4)) for item in items}) == 4
    for item in items:
        surface = item.surface
        low, high = surface.bounds
        np.testing.assert_allclose(low[:2], -high[:2], atol=1e-9)
        assert low[2] == pytest.approx(0)
        assert (item.size > 0.005).all() and (item.size < 2.6).all()
        assert surface.colors.min() >= 0 and surface.colors.max() <= 1
        assert surface.triangles.max() < len(surface.vertices)
        np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-6)
        for support in item.supports:
            assert low[0] <= support.x[0] < support.x[1] <= high[0]
            assert low[1] <= support.y[0] < support.y[1] <= high[1]
            assert 0 < support.z <= high[2] + 0.01


def test_categories_are_at_least_two_dozen() -> None:
    assert len({*BUILDERS, *OPENINGS}) >= 24


def test_the_shell_is_closed() -> None:
    """Rays from the middle of the room in every direction meet a wall, a window or a door."""
    for index in range(6):
        rng = scene_rng(1, index)
        style, room = draw_style(rng), draw_room(rng)
        shell = build_shell(room, style, rng)
        caster = o3d.t.geometry.RaycastingScene(nthreads=1)
        caster.add_triangles(shell.vertices.astype(np.float32), shell.triangles.astype(np.uint32))
        x0, y0, x1, y1 = max(room.rectangles, key=lambda r: (r[2] - r[0]) * (r[3] - r[1]))
        ways = np.random.default_rng(0).normal(size=(3000, 3))
        rays = np.concatenate([np.tile([(x0 + x1) / 2, (y0 + y1) / 2, 1.3], (3000, 1)), ways], axis=1)
        distance = caster.cast_rays(o3d.core.Tensor(rays.astype(np.float32)), nthreads=1)["t_hit"].numpy()
        assert np.isfinite(distance).all()
