"""Outlines enclose their mask, and measured lines run between the places that geometry on paper gives."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qa_generation.browser.measured_lines import clipped, drawn, measured_segment
from qa_generation.browser.outlines import TOLERANCE_PX, border_loops, outline_path
from tests.qa_generation.factories import Part, level_camera, make_scene
from tests.qa_generation.question_set import record


def area(corners: np.ndarray) -> float:
    x, y = corners.T
    return 0.5 * float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


def corners_of(path: str) -> list[np.ndarray]:
    loops = re.findall(r"M([^Z]*)Z", path)
    return [np.array([[float(n) for n in point.split()] for point in loop.split("L")]) for loop in loops]


@settings(max_examples=200, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_borders_are_closed_and_go_along_pixel_edges(mask: np.ndarray):
    padded = np.pad(mask, 1)
    edges = int((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())
    loops = border_loops(mask)
    for loop in loops:
        steps = np.abs(np.roll(loop, -1, axis=0) - loop)
        assert (steps.sum(axis=1) == 1).all() and abs(area(loop)) >= 4
    assert sum(len(loop) for loop in loops) <= edges


def test_a_ring_has_an_outer_and_an_inner_border():
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:18, 3:27] = True
    mask[6:14, 9:21] = False
    loops = border_loops(mask)
    assert sorted(area(loop) for loop in loops) == [-96.0, 384.0]  # the mask lies to the right, so the hole turns back
    assert sum(area(loop) for loop in loops) == mask.sum()


@pytest.mark.parametrize("radius", [6.0, 20.0, 45.5])
def test_a_disc_keeps_its_shape_with_few_corners(radius: float):
    rows, columns = np.mgrid[:100, :100]
    mask = (rows - 50) ** 2 + (columns - 50) ** 2 <= radius**2
    (corners,) = corners_of(outline_path(mask))
    assert len(corners) < 45
    # percent are pixels here; a corner lies at the middle of a pixel's edge, half a pixel outside at most
    distance = np.hypot(*(corners - 50.5).T)
    assert np.abs(distance - radius).max() < 1 + TOLERANCE_PX
    assert abs(area(corners) / mask.sum() - 1) < 4 * TOLERANCE_PX / radius


def test_dots_and_nothing_have_no_outline():
    mask = np.zeros((8, 8), dtype=bool)
    assert outline_path(mask) == ""
    mask[3, 3] = True
    assert outline_path(mask) == ""


# a 1 m cube before the camera, and another to its right, 2 m apart
SCENE = make_scene(
    [Part("chair", (4.0, 0.0, 0.5), (1.0, 1.0, 1.0)), Part("table", (4.0, -3.0, 0.5), (1.0, 1.0, 3.0))],
    [level_camera((0.0, 0.0, 0.5), (1.0, 0.0, 0.0)), level_camera((4.0, 6.0, 0.5), (0.0, -1.0, 0.0))],
    size=(160, 120),
    fov_deg=90.0,
)
FRONT, SIDE = SCENE.views


def numeric(kind: str, **changes: object):
    values = {"question_type": kind, "frames": (FRONT.view_id, SIDE.view_id), "query_frame": FRONT.view_id}
    return record(**{**values, "target_ids": (1,), "reference_ids": (), "options": (), **changes})


def test_a_camera_distance_runs_from_the_camera_to_the_nearest_face():
    segment = measured_segment(numeric("obj_distance_occ_na"), SCENE)
    np.testing.assert_allclose(segment, [[0, 0, 0.5], [3.5, 0, 0.5]], atol=1e-6)
    # from its own camera the line is a point in the middle of the picture
    line = drawn(segment, FRONT)
    np.testing.assert_allclose(line["at"], [50, 50, 50, 50], atol=0.35)
    assert line["ends"] == [False, True]
    # from 6 m to the left, looking at the cube's side: it enters on the right, 4 m away at depth 6 m, 45 deg at most
    line = drawn(segment, SIDE)
    np.testing.assert_allclose(line["at"], [50 + 50 * 4 / 6, 50, 50 + 50 * 0.5 / 6, 50], atol=0.35)
    assert line["ends"] == [True, True]


def test_an_object_distance_runs_between_the_facing_sides():
    segment = measured_segment(numeric("obj_obj_distance_occ_na", reference_ids=(2,)), SCENE)
    assert np.linalg.norm(segment[1] - segment[0]) == pytest.approx(2.0, abs=1e-5)
    np.testing.assert_allclose(segment[:, 1], [-0.5, -2.5], atol=1e-5)


def test_the_longest_side_is_an_edge_of_the_box():
    segment = measured_segment(numeric("obj_size_occ_na", target_ids=(2,)), SCENE)
    np.testing.assert_allclose(np.abs(segment[1] - segment[0]), [0, 0, 3], atol=1e-9)


def test_other_questions_measure_nothing():
    assert measured_segment(record(target_ids=(1,)), SCENE) is None
    assert measured_segment(numeric("obj_size_occ_na", target_ids=(77,)), SCENE) is None


def test_what_is_behind_the_camera_is_not_drawn():
    assert drawn(np.array([[-1.0, 0, 0], [-2.0, 0, 0]]), FRONT) is None


@pytest.mark.parametrize(
    ("ends", "part"),
    [
        ([[10, 10], [90, 90]], (0.0, 1.0)),
        ([[-50, 50], [150, 50]], (0.25, 0.75)),
        ([[50, 50], [50, 150]], (0.0, 0.5)),
        ([[-10, 0], [-10, 100]], None),
        ([[250, 0], [0, 250]], None),
    ],
)
def test_lines_are_cut_at_the_border(ends: list[list[float]], part: tuple[float, float] | None):
    found = clipped(np.array(ends, dtype=float))
    assert found == part if part is None else found == pytest.approx(part)
