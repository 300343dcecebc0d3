"""Similarity registration, perspective-n-point and reciprocal matches on cases with known answers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.matching import reciprocal_matches
from geometry_encoders.reconstruction.pnp import solve_pnp
from geometry_encoders.reconstruction.registration import Similarity, fit_similarity, fit_similarity_robust


def random_similarity(generator: np.random.Generator) -> Similarity:
    rotation = Rotation.random(random_state=int(generator.integers(2**31))).as_matrix()
    return Similarity(float(generator.uniform(0.1, 10)), rotation, generator.normal(size=3))


def assert_same(found: Similarity, expected: Similarity, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found.matrix(), expected.matrix(), atol=tolerance * max(1, expected.scale))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(3, 40))
def test_exact_similarities_are_found(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    expected, points = random_similarity(generator), generator.normal(size=(count, 3))
    found = fit_similarity(points, expected.apply(points), generator.uniform(0.1, 1, count))
    assert_same(found, expected, 1e-7)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert_same(found.after(found.inverse()), Similarity(1.0, np.eye(3), np.zeros(3)))


def test_a_mirrored_cloud_gets_a_rotation_not_a_reflection() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    found = fit_similarity(points, points * (1, 1, -1))
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_points_in_a_plane() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    expected = Similarity(2.0, Rotation.from_euler("y", 90, degrees=True).as_matrix(), np.array([1.0, 2, 3]))
    assert_same(fit_similarity(points, expected.apply(points)), expected)


def test_points_of_weight_zero_play_no_part() -> None:
    points = np.random.default_rng(1).normal(size=(10, 3))
    target = 3 * points + (1, 0, 0)
    target[4], points[7] = 1e6, np.nan
    weights = np.ones(10)
    weights[[4, 7]] = 0
    assert_same(fit_similarity(points, target, weights), Similarity(3.0, np.eye(3), np.array([1.0, 0, 0])))


def test_weights_of_all_zero_count_every_point_alike() -> None:
    generator = np.random.default_rng(2)
    source, target = generator.normal(size=(2, 12, 3))
    assert_same(fit_similarity(source, target, np.zeros(12)), fit_similarity(source, target))


@pytest.mark.parametrize(
    ("source", "target", "weights", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), None, "2 points"),
        (np.zeros((4, 3)), np.zeros((5, 3)), None, "shapes"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), None, "NaN"),
        (np.ones((4, 3)), np.zeros((4, 3)), None, "all in one place"),
        (np.eye(3), np.eye(3), [1, -1, 1], "negative"),
        (np.eye(3), np.eye(3), [1, 1], "one per point"),
    ],
)
def test_bad_input(source: np.ndarray, target: np.ndarray, weights: list[float] | None, message: str) -> None:
    for fit in (fit_similarity, fit_similarity_robust):
        with pytest.raises(InputError, match=message):
            fit(source, target, None if weights is None else np.array(weights))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 0.4))
def test_robust_fit_bears_outliers(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    expected, points = random_similarity(generator), generator.normal(size=(200, 3))
    target = expected.apply(points) + 1e-4 * expected.scale * generator.normal(size=(200, 3))
    wrong = np.arange(200) < int(share * 200)
    target[wrong] = expected.scale * 20 * generator.normal(size=(wrong.sum(), 3))
    found = fit_similarity_robust(points, target)
    assert_same(found.similarity, expected, 1e-3)
    assert not (found.inliers & wrong).any()
    assert found.inliers.sum() > 0.8 * (~wrong).sum()


def test_robust_fit_with_a_threshold_bears_more_outliers_than_half() -> None:
    generator = np.random.default_rng(5)
    expected, points = random_similarity(generator), generator.normal(size=(300, 3))
    target = expected.apply(points)
    target[:200] = generator.uniform(-50, 50, (200, 3))
    found = fit_similarity_robust(points, target, threshold=1e-3, hypotheses=500)
    assert_same(found.similarity, expected, 1e-6)
    assert found.inliers.tolist() == [False] * 200 + [True] * 100


def test_robust_fit_is_repeatable_and_fails_on_a_line() -> None:
    generator = np.random.default_rng(3)
    source, target = generator.normal(size=(2, 60, 3))
    first, second = fit_similarity_robust(source, target, seed=4), fit_similarity_robust(source, target, seed=4)
    assert first.similarity.matrix().tobytes() == second.similarity.matrix().tobytes()
    line = np.linspace(0, 1, 10)[:, None] * np.ones(3)
    with pytest.raises(InputError, match="one line"):
        fit_similarity_robust(line, line)


def test_poses_stay_rigid_when_a_scene_is_scaled() -> None:
    generator = np.random.default_rng(6)
    similarity, pose = random_similarity(generator), np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.random(random_state=1).as_matrix(), (1, 2, 3)
    moved = similarity.apply_to_poses(pose)
    np.testing.assert_allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-12)
    point = generator.normal(size=3)  # what the camera sees is scaled, nothing else
    before = np.linalg.inv(pose) @ [*point, 1]
    after = np.linalg.inv(moved) @ [*similarity.apply(point), 1]
    np.testing.assert_allclose(after[:3], similarity.scale * before[:3], atol=1e-9)


def seen_points(focal: float, outliers: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, pixels of a 64 x 48 picture, and the camera's pose."""
    generator = np.random.default_rng(7)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix()
    world_to_camera[:3, 3] = (0.3, -0.2, 0.5)
    pixels = generator.uniform((0, 0), (64, 48), (100, 2))
    depth = generator.uniform(1, 4, (100, 1))
    camera = np.concatenate([(pixels - (32, 24)) / focal * depth, depth], axis=1)
    points = (camera - world_to_camera[:3, 3]) @ world_to_camera[:3, :3]
    pixels[:outliers] = generator.uniform((0, 0), (64, 48), (outliers, 2))
    return points, pixels, world_to_camera


def test_pnp_with_known_focal_length_bears_outliers() -> None:
    pytest.importorskip("cv2")
    points, pixels, expected = seen_points(50.0, outliers=20)
    points[20] = np.nan
    pose = solve_pnp(points, pixels, np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]))
    assert pose is not None
    np.testing.assert_allclose(pose.world_to_camera, expected, atol=1e-4)
    np.testing.assert_allclose(pose.camera_to_world @ expected, np.eye(4), atol=1e-4)
    assert pose.inliers[21:].all()
    assert not pose.inliers[20]


@pytest.mark.parametrize("focal", [30.0, 61.5, 150.0])
@pytest.mark.parametrize("outliers", [0, 20])
def test_pnp_finds_the_focal_length(focal: float, outliers: int) -> None:
    pytest.importorskip("cv2")
    points, pixels, expected = seen_points(focal, outliers)
    pose = solve_pnp(points, pixels, size=(64, 48))
    assert pose is not None
    assert pose.focal == pytest.approx(focal, rel=0.01 if outliers else 1e-4)
    np.testing.assert_allclose(pose.world_to_camera, expected, atol=0.02 if outliers else 1e-4)


def test_pnp_without_refinement_takes_one_of_the_focal_lengths_it_tries() -> None:
    pytest.importorskip("cv2")
    tried = np.geomspace(32, 192, 21)
    points, pixels, _ = seen_points(tried[8] * 1.01)
    pose = solve_pnp(points, pixels, size=(64, 48), reprojection_error_px=0.5, refine_focal=False)
    assert pose is not None
    assert pose.focal == pytest.approx(tried[8])


def test_pnp_without_a_pose_or_with_bad_input() -> None:
    pytest.importorskip("cv2")
    matrix = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    assert solve_pnp(np.ones((3, 3)), np.ones((3, 2)), matrix) is None
    assert solve_pnp(np.full((9, 3), np.nan), np.ones((9, 2)), matrix) is None
    with pytest.raises(InputError, match="neither intrinsics nor the size"):
        solve_pnp(np.ones((5, 3)), np.ones((5, 2)))
    with pytest.raises(InputError, match="5 points and 4 pixels"):
        solve_pnp(np.ones((5, 3)), np.ones((4, 2)), matrix)


def test_pnp_without_opencv_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"spatialvlm\[reconstruction\]"):
        solve_pnp(np.ones((5, 3)), np.ones((5, 2)), np.eye(3))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), counts=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_reciprocal_matches_by_brute_force(seed: int, counts: tuple[int, int]) -> None:
    generator = np.random.default_rng(seed)
    first, second = (generator.normal(size=(count, 3)) for count in counts)
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    found = reciprocal_matches(first, second)
    assert found.nearest_in_first.tolist() == distance.argmin(0).tolist()
    back = distance.argmin(1)[distance.argmin(0)]
    assert found.is_match.tolist() == (back == np.arange(counts[1])).tolist()
    swapped = reciprocal_matches(second, first)
    assert {tuple(pair) for pair in found.pairs()} == {tuple(pair[::-1]) for pair in swapped.pairs()}


def test_reciprocal_matches_bad_input() -> None:
    with pytest.raises(InputError, match="shapes"):
        reciprocal_matches(np.zeros((0, 3)), np.zeros((2, 3)))
    with pytest.raises(InputError, match="NaN"):
        reciprocal_matches(np.full((2, 3), np.nan), np.zeros((2, 3)))
