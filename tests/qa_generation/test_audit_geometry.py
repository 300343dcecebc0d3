"""The audit's own geometry: areas, boxes, distances, directions and overlaps of which the values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.audit import place_of
from qa_generation.oracle.measure import ACCURACY_M, longest_along_axes_m, surface_distance_m, upright_sides_m
from qa_generation.oracle.place import Place
from qa_generation.oracle.rules import Rules, kindred
from qa_generation.oracle.sight import Surface
from qa_generation.oracle.spatial import DIRECTIONS, holds, opposite, seat
from qa_generation.oracle.truth import Truth, at_least, either, every
from qa_generation.scene import OrientedBox
from qa_generation.visibility import annotate
from tests.qa_generation.factories import Part, box_mesh, furnished_room, level_camera, make_scene
from tests.qa_generation.rooms import random_room

AHEAD = level_camera((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
FOCAL = 80.0 * math.sqrt(3.0)  # of 160 pixels over 60 degrees


def place(*parts: Part, cameras: tuple = (AHEAD,)) -> Place:
    return place_of(make_scene(parts, cameras))


def box_corners(*parts: Part) -> np.ndarray:
    mesh = box_mesh(parts)
    return mesh.vertices[mesh.triangles].astype(np.float64)


def surface(corners: np.ndarray) -> Surface:
    return Surface(corners.reshape(-1, 3), np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3))


# --- three-valued logic -----------------------------------------------------------------------------------------------


def test_thresholds_within_the_range_are_unsure() -> None:
    assert [at_least(low, low + 2, 5) for low in (5, 4, 3, 2)] == [Truth.YES, Truth.MAYBE, Truth.MAYBE, Truth.NO]


@given(st.lists(st.sampled_from(list(Truth)), max_size=5))
def test_de_morgan(truths: list[Truth]) -> None:
    assert either(truths).negated is every(truth.negated for truth in truths)


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_pixels_of_a_plate_enclose_its_area() -> None:
    there = place(Part("plate", (2.001, 0.2, -0.1), (0.002, 0.52, 0.3)))
    low, mean, high = there.pixels("frame_000000", 1)
    area = 0.52 * 0.3 * (FOCAL / 2.0) ** 2
    assert low < area < high and mean == pytest.approx(area, rel=0.01)


def test_a_hidden_plate_has_no_pixel_and_a_whole_silhouette() -> None:
    there = place(Part("wall", (1.5, 0, 0), (0.1, 3, 3)), Part("plate", (2.001, 0, 0), (0.002, 0.5, 0.5)))
    presence = there.presence("frame_000000", 2)
    assert presence.absent is Truth.YES and presence.visible is Truth.NO
    area = 0.25 * (FOCAL / 2.0) ** 2
    areas = there.silhouette("frame_000000", 2)
    assert areas.in_frame.low <= area <= areas.in_frame.high
    assert areas.on_canvas.value == pytest.approx(area, rel=0.02)


def test_a_plate_half_beyond_the_frame() -> None:
    border = 2.0 / math.sqrt(3.0)
    areas = place(Part("plate", (2.001, border, 0), (0.002, 0.6, 0.4))).silhouette("frame_000000", 1)
    assert areas.in_frame.value / areas.on_canvas.value == pytest.approx(0.5, abs=0.02)


def test_five_percent_of_the_whole_must_be_seen() -> None:
    # 2.5 m wide; 4 % and 8 % of it reach into the frame, both far more than 64 pixels
    border = 2.0 / math.sqrt(3.0)
    shown = []
    for inside in (0.04, 0.08):
        plate = Part("plate", (2.001, border - 2.5 * inside + 1.25, 0), (0.002, 2.5, 1.5))
        shown.append(place(plate).presence("frame_000000", 1))
    assert [presence.visible for presence in shown] == [Truth.NO, Truth.YES]
    assert all(presence.absent is Truth.NO for presence in shown) and "visible from 5%" in shown[0].text


def test_what_stands_before_the_near_plane_is_looked_through() -> None:
    there = place(Part("lens cap", (0.05, 0, 0), (0.01, 0.2, 0.2)), Part("plate", (2.001, 0, 0), (0.002, 0.5, 0.5)))
    assert there.presence("frame_000000", 1).absent is Truth.YES
    assert there.presence("frame_000000", 2).visible is Truth.YES


@pytest.mark.parametrize("seed", [3, 4])
def test_random_rooms_are_seen_as_annotation_sees_them(seed: int) -> None:
    scene = random_room(seed, views=5)
    there, table = place_of(scene), annotate(scene)
    for row, view in enumerate(table.view_ids):
        for column, instance in enumerate(table.instance_ids):
            low, _, high = there.pixels(view, instance)
            assert low - 1 <= table.visible_pixels[row, column] <= high + 1, (view, instance)
            presence = there.presence(view, instance)
            enough = table.visible_pixels[row, column] >= 64 and table.occlusion[row, column] <= 0.95
            for truth, flag in ((presence.visible, enough), (presence.absent, table.absent[row, column])):
                assert truth is Truth.MAYBE or bool(truth) == flag, presence


# --- overlap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift_m", [0.0, 0.4, 1.6, 2.8])
def test_two_views_of_a_plane_share_what_both_frames_cover(shift_m: float) -> None:
    cameras = (AHEAD, level_camera((0.0, shift_m, 0.0), (1.0, 0.0, 0.0)))
    there = place(Part("plate", (2.005, 0.0, 0.0), (0.01, 12.0, 8.0)), cameras=cameras)
    width = 4.0 / math.sqrt(3.0)
    shared = max(width - shift_m, 0.0)
    expected = 100.0 * shared / (2.0 * width - shared)
    assert there.overlap("frame_000000", "frame_000010") == pytest.approx(expected, abs=1.5)


# --- lengths ----------------------------------------------------------------------------------------------------------


@given(
    st.tuples(*[st.floats(-2, 2)] * 3),
    st.tuples(*[st.floats(0.05, 1)] * 3),
    st.tuples(*[st.floats(0.05, 1)] * 3),
)
@settings(max_examples=30, deadline=None)
def test_distance_of_two_boxes(shift: tuple, first: tuple, second: tuple) -> None:
    a, b = box_corners(Part("a", (0, 0, 0), first)), box_corners(Part("b", shift, second))
    gap = np.maximum(np.abs(shift) - (np.array(first) + second) / 2.0, 0.0)
    inside = (np.abs(shift) + np.array(first) / 2 < np.array(second) / 2).all() or (
        np.abs(shift) + np.array(second) / 2 < np.array(first) / 2
    ).all()
    if not inside:  # of nested boxes the surfaces are apart
        found = surface_distance_m(a, surface(b))
        assert np.linalg.norm(gap) - 1e-5 <= found <= np.linalg.norm(gap) + ACCURACY_M + 1e-5


def test_distance_between_crossing_edges() -> None:
    # two thin triangles whose nearest points are in the middle of an edge of each, 7 cm apart
    one = np.array([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]])
    other = np.array([[[0.0, -1.0, 0.07], [0.0, 1.0, 0.07], [0.0, 0.0, 1.0]]])
    assert surface_distance_m(one, surface(other)) == pytest.approx(0.07, abs=ACCURACY_M)


@given(st.floats(0.2, 2), st.floats(0.2, 2), st.floats(0.1, 2), st.floats(0, math.pi))
@settings(max_examples=40, deadline=None)
def test_longest_side_of_a_turned_box(length: float, width: float, height: float, angle: float) -> None:
    turn = np.array([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    box = OrientedBox(np.array([1.0, 2.0, 3.0]), turn, np.array([length, width, height]))
    low, high = upright_sides_m(box.corners)
    assert low == pytest.approx(max(length, width, height)) and high == pytest.approx(low)
    assert longest_along_axes_m(box, box.corners) == pytest.approx(low)


def test_two_rectangles_of_one_area_give_a_range() -> None:
    # a right triangle fits equally well along its legs (1.2 x 1) and along its hypotenuse
    triangle = np.array([[0.0, 0, 0], [1.2, 0, 0.5], [0, 1, 0]])
    low, high = upright_sides_m(triangle)
    assert low == pytest.approx(1.2) and high == pytest.approx(math.hypot(1.2, 1.0))


def test_points_on_one_line_have_a_length() -> None:
    assert upright_sides_m(np.array([[0.0, 0, 0], [3, 4, 0], [1.5, 2, 0]])) == pytest.approx((5.0, 5.0))


# --- directions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("center", "true"),
    [
        ((3.0, 1.0, 0.0), {"to the left of"}),
        ((3.0, -1.0, 0.0), {"to the right of"}),
        ((3.0, 0.0, 1.0), {"higher than"}),
        ((3.0, 0.0, -1.0), {"lower than"}),
        ((2.0, 0.0, 0.0), {"closer to the camera than"}),
        ((4.0, 0.0, 0.0), {"farther from the camera than"}),
        ((4.0, 2.0, -1.0), {"farther from the camera than", "to the left of", "lower than"}),
        ((3.0, 0.54, 0.0), set()),
        ((3.0, 0.56, 0.0), {"to the left of"}),
        ((-3.0, 2.0, 1.0), {"higher than"}),  # behind the camera: neither left, nor closer
    ],
)
def test_directions_from_the_camera_at_the_origin(center: tuple, true: set[str]) -> None:
    there = place(Part("cup", center, (0.4, 0.4, 0.4)), Part("table", (3.0, 0.0, 0.0), (0.4, 0.4, 0.4)))
    first, second = (there.seat("frame_000000", i) for i in (1, 2))
    assert {d for d in DIRECTIONS if holds(first, d, second, 0.15) is Truth.YES} == true
    assert {opposite(d) for d in DIRECTIONS if holds(second, d, first, 0.15) is Truth.YES} == true


def test_a_box_that_does_not_hold_its_surface_decides_nothing() -> None:
    there = place(Part("cup", (3.0, 1.0, 0.0), (0.4, 0.4, 0.4)), Part("table", (3.0, 0.0, 0.0), (0.4, 0.4, 0.4)))
    view, box = there.scene.views[0], there.scene.instances[1].obb
    astray = there.corners(1).reshape(-1, 3) + np.array([0.0, -1.5, 0.0])
    second = there.seat("frame_000000", 2)
    assert holds(seat(view, box, astray), "to the left of", second, 0.15) is Truth.NO


# --- names and grids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("office chair", "chair", True),
        ("Chairs", "office_chair", True),
        ("shelves", "book shelf", True),
        ("chair", "armchair", False),
        ("table lamp", "table", False),
        ("boxes", "box", True),
        ("glass", "glasses", True),
        ("", "", False),
    ],
)
def test_kindred_names(first: str, second: str, same: bool) -> None:
    assert kindred(first, second) == kindred(second, first) == same


def test_the_grid_of_a_large_picture_is_smaller_and_its_least_size_a_share() -> None:
    rules = Rules()
    assert rules.grid((1920, 1440)) == (640, 480) and rules.grid((160, 120)) == (160, 120)
    assert rules.least_pixels((640, 480)) == pytest.approx(153.6) and rules.least_pixels((160, 120)) == 64


def test_streets_have_wider_margins() -> None:
    assert Rules.of("outdoor").margin_m == 0.5 and Rules.of("indoor").margin_m == 0.15


def test_looking_twice_shows_the_same() -> None:
    first, second = (place_of(furnished_room(views=2)).sight("frame_000000") for _ in range(2))
    assert np.array_equal(first.counts, second.counts)
    assert np.array_equal(first.boxes, second.boxes, equal_nan=True)
