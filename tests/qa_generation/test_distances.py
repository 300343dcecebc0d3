"""Distances between surfaces against answers on paper and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.distances import SurfaceDistances, box_gaps, segment_distance
from qa_generation.overlap import sample_triangles
from qa_generation.scene import Scene
from tests.qa_generation.factories import make_scene
from tests.qa_generation.hand_made import AHEAD, part


def _scene(*cubes) -> Scene:
    return make_scene(cubes, [AHEAD])


def test_distance_from_points_is_to_the_nearest_face_edge_or_corner():
    scene = _scene(part("a", x=0.0, y=0.0, z=0.0))  # a cube of 0.4 m around the origin
    points = np.array([[1.2, 0.0, 0.1], [1.2, 1.2, 0.0], [1.2, 1.2, 1.2], [0.0, 0.0, 0.2]])
    found = SurfaceDistances(scene).from_points(1, points)
    np.testing.assert_allclose(found, [1.0, np.sqrt(2), np.sqrt(3), 0.0], atol=1e-6)


@pytest.mark.parametrize(
    "other, expected_m",
    [
        (part("b", x=1.4, y=0.0, z=0.0), 1.0),  # face to face
        (part("b", x=1.4, y=1.4, z=0.0), np.sqrt(2)),  # edge to edge
        (part("b", x=1.4, y=1.4, z=1.4), np.sqrt(3)),  # corner to corner
    ],
)
def test_distance_between_two_cubes(other, expected_m: float):
    distances = SurfaceDistances(_scene(part("a", x=0.0, y=0.0, z=0.0), other))
    assert distances.between(1, 2) == pytest.approx(expected_m, abs=1e-6)
    assert distances.between(2, 1) == distances.between(1, 2)
    np.testing.assert_allclose(box_gaps(distances.bounds([1, 2])), [[0, expected_m], [expected_m, 0]], atol=1e-6)


def test_crossing_edges_are_nearer_than_any_corner():
    first = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    second = np.array([[0.0, -1.0, 0.3], [0.0, 1.0, 0.3]])
    assert segment_distance(first, second) == pytest.approx(0.3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_segment_distance_is_the_least_over_points_of_both(seed: int):
    ends = np.random.default_rng(seed).normal(size=(2, 2, 3))
    share = np.linspace(0.0, 1.0, 201)[:, None]
    a, b = (e[0] + share * (e[1] - e[0]) for e in ends)
    brute = np.linalg.norm(a[:, None] - b[None], axis=-1).min()
    found = float(segment_distance(ends[0], ends[1]))
    assert found <= brute + 1e-12 and brute - found < 0.03


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_distance_between_tilted_tetrahedra_equals_that_of_dense_points(seed: int):
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(2, 4, 3)) * 0.5 + np.array([[[0.0, 0, 0]], [[3.0, 0.5, 0.2]]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]])
    scene = _scene(part("a"), part("b", y=2.0))
    mesh = type(scene.mesh)(
        corners.reshape(-1, 3).astype(np.float32),
        np.concatenate([faces, faces + 4]).astype(np.int32),
        np.repeat([1, 2], 4).astype(np.int32),
    )
    distances = SurfaceDistances(Scene("s", "d", scene.views, scene.instances, lambda: mesh))
    a, b = (sample_triangles(corners[k][faces], 0.03)[0] for k in (0, 1))
    brute = min(np.linalg.norm(point - b, axis=1).min() for point in a)
    found = distances.between(1, 2)
    assert found <= brute + 1e-5 and brute - found < 0.05
