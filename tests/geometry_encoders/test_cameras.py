"""Cameras from pointmaps and metric scale, on scenes whose cameras are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction import metric_scale
from geometry_encoders.reconstruction.cameras import estimate_cameras, with_cameras
from geometry_encoders.reconstruction.result import Reconstruction
from tests.geometry_encoders.room_scene import FOCAL, make_scene


def spoilt(result: Reconstruction, share: float) -> Reconstruction:
    """The left part of every view wrong by far, and said to be unsure."""
    pointmaps, confidence = [], []
    for points, sureness in zip(result.pointmaps, result.confidence, strict=True):
        points, sureness = points.copy(), sureness.copy()
        width = round(points.shape[1] * share)
        points[:, :width] = np.random.default_rng(1).uniform(0.5, 9, size=points[:, :width].shape)
        sureness[:, :width] = 1.1
        pointmaps.append(points)
        confidence.append(sureness)
    return replace(result, pointmaps=tuple(pointmaps), confidence=tuple(confidence))


def test_known_cameras_are_found() -> None:
    scene = make_scene()
    found = with_cameras(replace(scene, camera_to_world=None, intrinsics=None))
    np.testing.assert_allclose(found.camera_to_world, scene.camera_to_world, atol=1e-4)
    np.testing.assert_allclose(found.intrinsics, scene.intrinsics, rtol=1e-4)


def test_unsure_pixels_play_no_part_in_poses() -> None:
    scene = make_scene()
    found = estimate_cameras(scene.pointmaps[:1] + spoilt(scene, 0.4).pointmaps[1:], spoilt(scene, 0.4).confidence)
    np.testing.assert_allclose(found.camera_to_world, scene.camera_to_world, atol=1e-4)
    assert (found.inlier_fraction > 0.99).all()


def test_focal_ignores_pixels_without_point() -> None:
    scene = make_scene(views=1)
    points, confidence = scene.pointmaps[0].copy(), scene.confidence[0].copy()
    points[:20], confidence[:20] = np.nan, 0
    found = estimate_cameras([points], [confidence])
    assert found.intrinsics[0, 0, 0] == pytest.approx(FOCAL, rel=1e-4)


def test_a_view_of_another_size_gets_a_focal_of_its_own() -> None:
    wide, high = make_scene(), make_scene(size=(64, 48))
    found = estimate_cameras([wide.pointmaps[0], high.pointmaps[2]])
    assert found.intrinsics[1, :2, 2].tolist() == [24, 32]
    assert found.intrinsics[1, 0, 0] == pytest.approx(FOCAL, rel=0.1)  # from a list of candidates
    np.testing.assert_allclose(found.camera_to_world[1, :3, 3], high.camera_to_world[2, :3, 3], atol=0.3)


@pytest.mark.parametrize("compat", [True, False])
@pytest.mark.parametrize(
    "points", [np.zeros((16, 16, 3)), np.full((16, 16, 3), np.nan), np.full((16, 16, 3), (1.0, 1.0, -2.0))]
)
def test_what_no_camera_sees_is_said_so(points: np.ndarray, compat: bool) -> None:
    with pytest.raises(InputError, match=r"a\.png: no (camera|focal length) explains"):
        estimate_cameras([points.astype(np.float32)], names=["a.png"], compat=compat)


def test_distance_between_two_pixels_gives_the_scale() -> None:
    scene = make_scene()
    a, b = (0, 10, 40), (2, 60, 12)
    length = np.linalg.norm(scene.pointmaps[0][40, 10] - scene.pointmaps[2][12, 60])
    assert metric_scale.scale_from_distance(scene, a, b, 3.0) == pytest.approx(3.0 / length)
    metric = metric_scale.rescale(scene, 3.0 / length)
    assert metric.metric
    assert np.linalg.norm(metric.pointmaps[0][40, 10] - metric.pointmaps[2][12, 60]) == pytest.approx(3.0, rel=1e-5)
    np.testing.assert_allclose(metric.camera_to_world[:, :3, 3], scene.camera_to_world[:, :3, 3] * 3.0 / length)
    np.testing.assert_array_equal(metric.camera_to_world[:, :3, :3], scene.camera_to_world[:, :3, :3])


def known_frame(poses: np.ndarray, scale: float) -> np.ndarray:
    """The poses in another frame, ``scale`` times as large."""
    rotation = Rotation.from_euler("xyz", [20, 130, -70], degrees=True).as_matrix()
    moved = poses.copy()
    moved[:, :3, :3] = rotation @ poses[:, :3, :3]
    moved[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.T + [4, -2, 7]
    return moved


@pytest.mark.parametrize("views", [2, 3, 8])
def test_known_poses_give_scale_and_frame(views: int) -> None:
    scene = make_scene(views=views)
    known = known_frame(scene.camera_to_world, 2.5)
    moved, agree = metric_scale.align_to_poses(scene, known)
    assert agree.all()
    assert moved.metric
    np.testing.assert_allclose(moved.camera_to_world, known, atol=1e-6)
    # the same pixel still projects to itself
    point = moved.pointmaps[1][30, 20] - moved.camera_to_world[1, :3, 3]
    projected = scene.intrinsics[1] @ moved.camera_to_world[1, :3, :3].T @ point
    np.testing.assert_allclose(projected[:2] / projected[2], [20, 30], atol=1e-2)


def test_wrong_positions_are_outvoted() -> None:
    scene = make_scene(views=10)
    known = known_frame(scene.camera_to_world, 2.5)[:, :3, 3]
    known[[2, 5]] += [[3, 0, 1], [0, -4, 2]]
    moved, agree = metric_scale.align_to_positions(scene, known)
    assert np.flatnonzero(~agree).tolist() == [2, 5]
    np.testing.assert_allclose(moved.camera_to_world[agree][:, :3, 3], known[agree], atol=1e-6)
    assert metric_scale.scale_from_positions(scene, known) == pytest.approx(2.5, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "distance", "message"),
    [
        ((0, 1, 1), (0, 1, 1), 1.0, "same point"),
        ((0, 64, 1), (0, 1, 1), 1.0, "outside 0.png, which is 64 x 48"),
        ((3, 1, 1), (0, 1, 1), 1.0, "no view 3"),
        ((0, 1, 1), (1, 1, 1), 0.0, "above 0 metres"),
        ((0, 1, 1), (1, 1, 1), float("nan"), "above 0 metres"),
    ],
)
def test_distances_that_give_no_scale(a: tuple, b: tuple, distance: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        metric_scale.scale_from_distance(make_scene(), a, b, distance)


def test_cameras_that_give_no_scale() -> None:
    scene = make_scene()
    with pytest.raises(InputError, match="no two cameras stand apart"):
        metric_scale.align_to_poses(scene, np.stack([np.eye(4)] * 3))
    with pytest.raises(InputError, match="no camera poses"):
        metric_scale.align_to_poses(replace(scene, camera_to_world=None), scene.camera_to_world)
    with pytest.raises(InputError, match=r"expected finite ones of shape \(3, 3\)"):
        metric_scale.scale_from_positions(scene, np.full((3, 3), np.nan))
