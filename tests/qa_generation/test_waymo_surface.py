"""Range images become surface where they tell of one, plates where they do not, and nothing inside boxes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qa_generation.raycast import RayCaster
from qa_generation.readers.waymo_boxes import AnnotatedBox, inside_any
from qa_generation.readers.waymo_lidar import Laser, Scan
from qa_generation.readers.waymo_motion import may_show, shows_motion, split_motion
from qa_generation.readers.waymo_surface import Surface, scan_surface
from qa_generation.scene import Blob, OrientedBox, View

ROWS, COLUMNS = 40, 720
HEIGHT_M = 2.0


def scan_of(ranges_m: np.ndarray, *more: np.ndarray) -> Scan:
    """A laser two metres above the origin, beams 1 to -19 degrees, columns half a degree apart."""
    pose = np.eye(4)
    pose[2, 3] = HEIGHT_M
    inclination = np.radians(1.0 - 0.5 * np.arange(ROWS))
    azimuth = (2 * (COLUMNS - np.arange(COLUMNS) - 0.5) / COLUMNS - 1) * np.pi
    images = tuple(image.astype(np.float32) for image in (ranges_m, *more))
    return Scan(Laser("FRONT", pose, None, (0.0, 0.0)), images, inclination, azimuth, None)


def beams() -> np.ndarray:
    scan = scan_of(np.zeros((ROWS, COLUMNS)))
    rows, columns = np.indices((ROWS, COLUMNS)).reshape(2, -1)
    return (scan.points(rows, columns, np.ones(rows.size)) - [0, 0, HEIGHT_M]).reshape(ROWS, COLUMNS, 3)


def road_and_wall(wall_m: float = 12.0, road_m: float = 70.0) -> np.ndarray:
    """Ranges to the plane z = 0 and to a wall across x = ``wall_m`` from y = -3 to 3, 0 where neither is hit."""
    directions = beams()
    road = np.where(directions[..., 2] < 0, HEIGHT_M / np.maximum(-directions[..., 2], 1e-9), np.inf)
    wall = np.where(directions[..., 0] > 0, wall_m / np.maximum(directions[..., 0], 1e-9), np.inf)
    wall = np.where(np.abs(wall * directions[..., 1]) <= 3.0, wall, np.inf)
    nearest = np.minimum(road, wall)
    return np.where(nearest <= road_m, nearest, 0.0)


def seen(surface: Surface, eye: tuple[float, float, float], to: np.ndarray) -> np.ndarray:
    """Share of the way to each point at which something is hit, infinity where nothing is."""
    caster = RayCaster(surface.vertices.astype(np.float32), surface.triangles.astype(np.int32))
    rays = np.concatenate([np.broadcast_to(eye, to.shape), to - np.array(eye)], axis=1)
    return caster.nearest(rays.astype(np.float32)).distance


def test_a_wall_and_the_road_are_whole() -> None:
    surface = scan_surface([scan_of(road_and_wall())], np.eye(4), [])
    generator = np.random.default_rng(0)
    wall = np.stack([np.full(500, 12.0), generator.uniform(-2.9, 2.9, 500), generator.uniform(0.1, 2.1, 500)], axis=1)
    np.testing.assert_allclose(seen(surface, (1.5, 0.0, 1.9), wall), 1.0, atol=0.01)
    # the road behind the car as far as the beams are dense, and far ahead where they graze it
    road = np.stack([generator.uniform(-55, -7, 500), generator.uniform(-2, 2, 500), np.zeros(500)], axis=1)
    assert np.isfinite(seen(surface, (0.0, 0.0, 2.0), road)).mean() > 0.99


def test_nothing_shows_between_an_edge_and_what_is_behind_it() -> None:
    """Two walls that overlap as seen from the laser: from there no ray passes between them."""
    near, far = road_and_wall(6.0), road_and_wall(60.0)
    directions = beams()
    both = np.where((directions[..., 1] > 0) & (near > 0), near, 25.0 * np.ones_like(far))
    surface = scan_surface([scan_of(both)], np.eye(4), [])
    generator = np.random.default_rng(1)
    azimuth, up = generator.uniform(-0.3, 0.3, 3000), generator.uniform(-0.2, -0.01, 3000)
    targets = 100 * np.stack([np.cos(azimuth), np.sin(azimuth), up], axis=1) + [0, 0, HEIGHT_M]
    assert np.isfinite(seen(surface, (0.0, 0.0, HEIGHT_M), targets)).all()


def test_surfaces_apart_are_not_joined() -> None:
    """Beside the laser one looks between a post and the wall behind it."""
    ranges = road_and_wall(20.0)
    post = (np.abs(np.degrees(np.arctan2(beams()[..., 1], beams()[..., 0]))) < 0.5) & (np.arange(ROWS)[:, None] < 8)
    ranges[post] = 10.0
    surface = scan_surface([scan_of(ranges)], np.eye(4), [])
    beside = np.array([[15.0, 3.0, 1.9], [15.0, 3.0, 1.5]])  # the line from here crosses the gap at x = 15, y = 0
    assert not (seen(surface, (15.0, -3.0, 1.9), beside) < 1).any()
    # the post itself is two pixels wide and stops what comes from the front
    assert (seen(surface, (0.0, 0.0, 1.9), np.array([[15.0, 0.0, 1.85]])) < 0.7).all()


def test_what_lies_in_a_box_is_left_out() -> None:
    ranges = road_and_wall(12.0)
    box = OrientedBox(np.array([12.0, 0.0, 1.0]), np.eye(3), np.array([0.5, 2.0, 2.4]))
    surface = scan_surface([scan_of(ranges)], np.eye(4), [box])
    inside = np.array([[12.0, y, z] for y in (-0.8, 0.0, 0.8) for z in (0.4, 1.0, 1.8)])
    assert not (seen(surface, (1.5, 0.0, 1.9), inside) <= 1.05).any()
    beside = np.array([[12.0, y, 1.0] for y in (-2.0, 2.0)])
    np.testing.assert_allclose(seen(surface, (1.5, 0.0, 1.9), beside), 1.0, atol=0.01)


def test_the_car_itself_hides_nothing() -> None:
    ranges = road_and_wall()
    ranges[:, COLUMNS // 2 - 20 : COLUMNS // 2 + 20] = 1.2
    assert len(scan_surface([scan_of(ranges)], np.eye(4), []).vertices)
    ahead = np.array([[12.0, 0.0, 1.0]])
    surface = scan_surface([scan_of(ranges)], np.eye(4), [])
    assert not (seen(surface, (0.0, 0.0, 2.0), ahead) < 1).any()


def test_second_returns_are_plates_of_their_pixel() -> None:
    empty, second = np.zeros((ROWS, COLUMNS)), np.zeros((ROWS, COLUMNS))
    second[4, COLUMNS // 2] = 20.0
    surface = scan_surface([scan_of(empty, second)], np.eye(4), [])
    assert len(surface.triangles) == 2
    sides = np.ptp(surface.vertices, axis=0)
    # half a degree at 20 m, as wide as high
    assert sides[1] == pytest.approx(20 * math.radians(0.5), rel=0.02)
    assert sides[2] == pytest.approx(20 * math.radians(0.5), rel=0.02)


def test_points_inside_boxes_are_those_of_a_plain_search() -> None:
    generator = np.random.default_rng(2)
    points = generator.uniform(-20, 20, size=(4000, 3))
    boxes = []
    for turn in generator.uniform(0, math.tau, 12):
        axes = np.array([[math.cos(turn), math.sin(turn), 0], [-math.sin(turn), math.cos(turn), 0], [0, 0, 1.0]])
        boxes.append(OrientedBox(generator.uniform(-18, 18, 3), axes, generator.uniform(0.5, 9, 3)))
    local = [np.abs((points - box.center) @ box.axes.T) <= box.extents / 2 + 0.1 for box in boxes]
    expected = np.any([one.all(axis=1) for one in local], axis=0)
    np.testing.assert_array_equal(inside_any(points, boxes, 0.1), expected)
    assert 50 < expected.sum() < 3000


def _moment(shift_m: float, names: str) -> list[AnnotatedBox]:
    places = {"a": 10.0, "b": 20.0 + shift_m, "c": 30.0}
    size = np.array([4.0, 2.0, 1.5])
    return [AnnotatedBox(n, "Vehicle", OrientedBox(np.array([places[n], 0, 0]), np.eye(3), size)) for n in names]


def test_what_moves_or_is_seen_too_seldom_is_no_instance() -> None:
    moments = {0: _moment(0.0, "ab"), 1: _moment(0.15, "ab"), 2: _moment(0.3, "abc"), 3: _moment(0.45, "ab")}
    motion = split_motion(moments, middle=2)
    assert set(motion.still) == {"a"} and set(motion.moving) == {"b", "c"}
    assert list(motion.moving["b"]) == [0, 1, 2, 3]
    view = _view_along_x()
    assert shows_motion(view, 0, motion)
    assert not shows_motion(view, 0, split_motion({0: _moment(0.0, "ac"), 1: _moment(0.0, "ac")}, 0))


@pytest.mark.parametrize(
    ("center", "shown"),
    [
        ((10.0, 0.0, 0.0), True),
        ((-10.0, 0.0, 0.0), False),  # behind
        ((10.0, 5.0, 0.0), True),  # 45 degrees is the border
        ((10.0, 11.0, 0.0), True),  # half of it is inside
        ((10.0, 13.0, 0.0), False),
        ((10.0, -13.0, 0.0), False),
        ((10.0, 0.0, 13.0), False),
    ],
)
def test_boxes_that_a_view_may_show(center: tuple[float, float, float], shown: bool) -> None:
    box = OrientedBox(np.array(center), np.eye(3), np.full(3, 2.0))
    assert may_show(_view_along_x(), box) == shown


def _view_along_x() -> View:
    """A camera at the origin that looks along x, 90 degrees wide and high."""
    to_camera = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[50.0, 0, 49.5], [0, 50, 49.5], [0, 0, 1]])
    return View("view", Blob(Path(__file__)), intrinsics, to_camera, (100, 100))
