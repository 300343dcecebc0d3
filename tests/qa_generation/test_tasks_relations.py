"""Directions between objects, worked out on paper for a camera at (0, 0, 1) that looks along +x."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.scene import OrientedBox
from qa_generation.tasks.relations import AXES, PHRASES, phrase, relation_tensor
from tests.qa_generation.factories import Camera, make_scene
from tests.qa_generation.hand_made import AHEAD, part

LR, AB, FB = (AXES.index(axis) for axis in ("lr", "ab", "fb"))


def _signs(*cubes, camera: Camera = AHEAD, margin_m: float = 0.15) -> np.ndarray:
    scene = make_scene(cubes, [camera])
    return relation_tensor(scene.views[0], [i.obb for i in scene.instances.values()], margin_m)


@pytest.mark.parametrize(
    "axis, first, second, sign",
    [
        # world -y is the camera's right
        ("lr", part("a", y=-1.0), part("b", y=0.0), +1),
        ("lr", part("a", y=+1.0), part("b", y=0.0), -1),
        ("ab", part("a", z=2.0), part("b", z=1.0), +1),
        ("ab", part("a", z=0.3), part("b", z=1.0), -1),
        ("fb", part("a", x=5.0), part("b", x=3.0), +1),
        ("fb", part("a", x=2.0), part("b", x=3.0), -1),
    ],
)
def test_the_six_directions(axis: str, first, second, sign: int):
    signs = _signs(first, second)
    assert signs[AXES.index(axis), 0, 1] == sign and signs[AXES.index(axis), 1, 0] == -sign
    others = [i for i, name in enumerate(AXES) if name != axis]
    assert (signs[others] == 0).all(), "along the other axes the cubes overlap"


@pytest.mark.parametrize("gap_m, decided", [(0.149, False), (0.151, True)])
def test_the_margin_decides(gap_m: float, decided: bool):
    # cubes of 0.4 m: the gap between them is the distance of the centres less 0.4
    signs = _signs(part("a", y=-(0.4 + gap_m)), part("b", y=0.0))
    assert bool(signs[LR, 0, 1] == 1) is decided


def test_nothing_is_left_right_or_farther_when_it_is_behind_the_camera():
    signs = _signs(part("a", x=-2.0, y=-2.0), part("b", x=3.0))
    assert signs[LR, 0, 1] == 0 and signs[FB, 0, 1] == 0


def test_left_and_right_are_undecided_when_bearing_and_offset_disagree():
    # a: 1 m to the right at 1 m (45 degrees); b: 2 m to the right at 6 m (18 degrees)
    signs = _signs(part("a", x=1.0, y=-1.0), part("b", x=6.0, y=-2.0))
    assert signs[LR, 0, 1] == 0 and signs[FB, 0, 1] == -1


def test_closer_is_undecided_when_depth_and_distance_disagree():
    # a: depth 2 m but 5 m to the side (5.4 m away); b: depth 3 m straight ahead
    assert _signs(part("a", x=2.0, y=-5.0), part("b", x=3.0))[FB, 0, 1] == 0


def test_higher_is_undecided_when_a_pitched_camera_contradicts_gravity():
    # looking down by 45 degrees, camera "up" is (1, 0, 1) / sqrt 2: far things at equal height look higher
    camera = Camera((0.0, 0.0, 2.0), (1.0, 0.0, 1.0))
    far_but_lower = _signs(part("a", x=5.0, z=0.4), part("b", x=1.5, z=0.6), camera=camera)
    assert far_but_lower[AB, 0, 1] == 0
    far_and_higher = _signs(part("a", x=5.0, z=1.4), part("b", x=1.5, z=0.6), camera=camera)
    assert far_and_higher[AB, 0, 1] == 1


def test_a_turned_box_counts_with_its_corners():
    # a long thin box turned by 45 degrees reaches 0.71 m to each side
    turned = math.sqrt(0.5) * np.array([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, math.sqrt(2.0)]])
    long_box = OrientedBox(np.array([3.0, 0.0, 1.0]), turned, np.array([2.0, 0.01, 0.2]))
    view = make_scene([part("a")], [AHEAD]).views[0]
    for y, decided in ((-1.0, False), (-1.2, True)):
        cube = OrientedBox(np.array([3.0, y, 1.0]), np.eye(3), np.full(3, 0.4))
        assert bool(relation_tensor(view, [cube, long_box], 0.15)[LR, 0, 1] == 1) is decided


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 8))
def test_relations_are_antisymmetric_and_transitive(seed: int, count: int):
    rng = np.random.default_rng(seed)
    cubes = [part("a", *rng.uniform([-2, -3, 0], [6, 3, 2.5]), side=rng.uniform(0.1, 1.0)) for _ in range(count)]
    signs = _signs(part("a"), *cubes)
    assert (signs == -signs.transpose(0, 2, 1)).all()
    for above in signs == 1:
        chain = (above.astype(int) @ above.astype(int)) > 0
        assert above[chain].all(), "right of something that is right of a third thing"


def test_phrases_come_in_opposite_pairs():
    assert phrase("lr", -1) == "to the left of" and phrase("fb", 1) == "farther from the camera than"
    assert len({text for pair in PHRASES.values() for text in pair}) == 6


def test_no_boxes_no_relations():
    scene = make_scene([part("a")], [AHEAD])
    assert relation_tensor(scene.views[0], [], 0.15).shape == (3, 0, 0)
