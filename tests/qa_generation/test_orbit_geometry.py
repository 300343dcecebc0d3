"""Lens, turn and hull against closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from qa_generation.orbit.capture import Mask
from qa_generation.orbit.hull import carve
from qa_generation.orbit.lens import Lens
from qa_generation.orbit.turn import largest_gap, nearest_to_lines, turn_of, up_of
from tests.qa_generation.orbit_factories import RADIUS, ball_capture, look_at, place

UP = np.array([0.0, 0.0, 1.0])


def poses_at(places: list[tuple[float, float]], distance: float = 1.5) -> np.ndarray:
    return np.stack([look_at(place(a, e, distance), np.zeros(3), UP) for a, e in places])


@settings(max_examples=60, deadline=None)
@given(
    k1=st.floats(-0.2, 0.2),
    k2=st.floats(-0.05, 0.05),
    p=st.floats(-0.005, 0.005),
    x=st.floats(0, 639),
    y=st.floats(0, 479),
)
def test_directions_undo_the_projection(k1: float, k2: float, p: float, x: float, y: float) -> None:
    lens = Lens(np.array([[600.0, 0, 319.5], [0, 610.0, 239.5], [0, 0, 1.0]]), (640, 480), (k1, k2, p, -p))
    pixel = np.array([x, y])
    back, inside = lens.project(3.7 * lens.directions(pixel))
    assert inside and np.abs(back - pixel).max() < 1e-4


def test_distortion_is_that_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    lens = Lens(np.array([[500.0, 0, 300], [0, 510.0, 200], [0, 0, 1.0]]), (600, 400), (0.1, -0.03, 0.002, -0.001))
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 1], [0.4, 0.3, 2], (50, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens.intrinsics, np.array(lens.distortion))
    assert np.allclose(lens.project(points)[0], expected[:, 0], atol=1e-9)


def test_what_is_far_outside_or_behind_is_not_in_the_picture() -> None:
    lens = Lens(np.array([[110.0, 0, 50], [0, 110.0, 50], [0, 0, 1.0]]), (100, 100), (-0.3, 0.0, 0.0, 0.0))
    # at this radius the polynomial has come back to the middle of the picture
    folded = np.array([[np.sqrt(1 / 0.3), 0.0, 1.0], [0.0, 0.0, -1.0]])
    assert lens.covers_picture and not lens.project(folded)[1].any()
    too_wide = Lens(np.array([[70.0, 0, 50], [0, 70.0, 50], [0, 0, 1.0]]), (100, 100), (-0.5, 0.0, 0.0, 0.0))
    assert not too_wide.covers_picture


def test_azimuth_grows_counter_clockwise_and_elevation_upwards() -> None:
    turn = turn_of(poses_at([(10, 0), (50, 20), (130, 40), (300, 10)]))
    assert turn.up_is_known and np.allclose(turn.up, UP, atol=1e-9) and np.allclose(turn.center, 0, atol=1e-9)
    assert np.allclose((turn.azimuth_deg - turn.azimuth_deg[0]) % 360, [0, 40, 120, 290])
    assert np.allclose(turn.elevation_deg, [0, 20, 40, 10], atol=1e-6)
    assert np.allclose(turn.azimuth_step_deg()[0], [0, 40, 120, -70])
    assert turn.coverage_deg == pytest.approx(360 - 170)


def test_up_of_a_half_turn_from_above_does_not_lean() -> None:
    poses = poses_at([(a, 35) for a in range(0, 181, 15)])
    up, known = up_of(poses[:, :3, :3])
    assert known and np.degrees(np.arccos(up @ UP)) < 1e-3
    mean_up = -poses[:, 1, :3].mean(axis=0)
    # what the mean of the image-up directions would say
    assert np.degrees(np.arccos(mean_up @ UP / np.linalg.norm(mean_up))) > 15


def test_up_of_pictures_turned_by_a_quarter_is_not_known() -> None:
    poses = poses_at([(a, 20) for a in range(0, 360, 30)])
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert not up_of(quarter @ poses[:, :3, :3])[1]
    assert not up_of(poses_at([(0, 20), (2, 20), (4, 20), (6, 20)])[:, :3, :3])[1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100))
def test_angles_do_not_depend_on_the_worlds_axes_and_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    poses = poses_at([(a + rng.uniform(-5, 5), rng.uniform(0, 50)) for a in range(0, 240, 30)])
    rotation, shift = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    moved = poses.copy()
    moved[:, :3, :3] = poses[:, :3, :3] @ rotation.T
    moved[:, :3, 3] = scale * poses[:, :3, 3] - moved[:, :3, :3] @ shift
    here, there = turn_of(poses), turn_of(moved)
    assert np.allclose(here.azimuth_step_deg(), there.azimuth_step_deg(), atol=1e-6)
    assert np.allclose(here.elevation_deg, there.elevation_deg, atol=1e-6)
    assert np.allclose(here.angle_deg(), there.angle_deg(), atol=1e-5)
    assert np.allclose(there.distance / here.distance, scale) and here.coverage_deg == pytest.approx(there.coverage_deg)


def test_parallel_axes_have_no_centre() -> None:
    with pytest.raises(ValueError, match="nearly parallel"):
        nearest_to_lines(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.tile([0.0, 0, 1], (3, 1)))


def test_object_behind_a_camera_is_refused() -> None:
    poses = poses_at([(0, 0), (60, 0), (120, 0), (180, 0)])
    with pytest.raises(ValueError, match="in front"):
        turn_of(poses, np.array([10.0, 0, 0]))


def test_gap_and_full_turn() -> None:
    assert largest_gap(np.array([10.0])) == 360
    assert largest_gap(np.array([350.0, 10.0, 180.0])) == 170
    assert turn_of(poses_at([(a, 10) for a in range(0, 360, 30)])).is_full
    assert not turn_of(poses_at([(a, 10) for a in range(0, 300, 30)])).is_full


def test_hull_of_a_ball() -> None:
    capture = ball_capture([place(a, e) for e in (-30, 5, 40) for a in range(0, 360, 36)])
    hull = carve(capture)
    radius, true = np.linalg.norm(hull.points, axis=1), RADIUS / 1.5  # the cameras' distance is the unit
    assert abs(radius.mean() / true - 1) < 0.05 and radius.std() < 0.05 * true
    assert hull.area.sum() == pytest.approx(4 * np.pi * true**2, rel=0.1)
    assert ((hull.normals * hull.points).sum(axis=1) / radius).mean() > 0.98
    assert hull.silhouette_iou.min() > 0.9 and hull.hidden_share.max() < 0.02 and hull.inside_frame.all()


def test_overlap_of_views_of_a_ball_falls_with_the_angle() -> None:
    azimuths = np.arange(0, 360, 20)
    hull = carve(ball_capture([place(a, 10) for a in azimuths]))
    part = hull.shown_part[:, 0]
    assert part[0] == pytest.approx(1) and (np.diff(part[:10]) < 0.01).all() and part[9] < 0.1
    # far cameras a quarter turn apart share, per unit of what one of them shows, 1 - 1 / sqrt(2) of a ball; the other
    # half-circles of 20 degrees between them and nearer cameras see less
    far = carve(ball_capture([place(a, 0, 4.0) for a in np.arange(0, 360, 30)], lens=_tele()))
    assert far.shown_part[3, 0] == pytest.approx(1 - 1 / np.sqrt(2), abs=0.06)
    assert np.allclose(hull.overlap, hull.overlap.T) and (hull.overlap <= 1 + 1e-9).all()


def _tele() -> Lens:
    return Lens(np.array([[400.0, 0, 63.5], [0, 400.0, 47.5], [0, 0, 1.0]]), (128, 96))


def test_masks_and_poses_that_contradict_each_other() -> None:
    capture = ball_capture([place(a, 10) for a in range(0, 360, 30)])
    corner = np.zeros((96, 128), dtype=bool)
    corner[:8, :8] = True
    object.__setattr__(capture, "masks", tuple(Mask.of(corner) for _ in capture.masks))
    with pytest.raises(ValueError, match="contradict"):
        carve(capture)


def test_mask_knows_its_box_and_edges() -> None:
    pixels = np.zeros((20, 30), dtype=bool)
    pixels[4:10, 0:7] = True
    mask = Mask.of(pixels)
    assert (mask.box, mask.area, mask.edge_pixels, mask.border_gap) == ((0, 4, 7, 10), 42, 6, 0)
    assert (mask.pixels() == pixels).all()
    with pytest.raises(ValueError, match="empty"):
        Mask.of(np.zeros((4, 4), dtype=bool))
