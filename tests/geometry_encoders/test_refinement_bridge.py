"""From pointmaps of a box room to completed geometry and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.result import Reconstruction
from geometry_encoders.retrieval.bridge import complete_room, completed_views, room_frame
from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
from geometry_encoders.retrieval.scale import GridScale

HALF = np.array([1.1, 0.9, 1.3])  # metres
SCALE = GridScale(0.1, 8, "points", target_mean=0.25, target_std=0.1)
SIZE = (48, 64)


def view(yaw_deg: float, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pose, intrinsics, points) of a camera in the box; y points down."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", yaw_deg, degrees=True).as_matrix()
    pose[:3, 3] = position
    intrinsics = np.array([[32.0, 0, 32], [0, 32, 24], [0, 0, 1]])
    columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(intrinsics).T @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        steps = np.where(rays == 0, np.inf, (np.where(rays > 0, HALF, -HALF) - position) / np.where(rays == 0, 1, rays))
    return pose, intrinsics, position + steps.min(-1, keepdims=True) * rays


def box_room(tilt: np.ndarray | None = None) -> Reconstruction:
    """Eight views around; ``tilt`` turns the whole frame."""
    turn = np.eye(3) if tilt is None else tilt
    poses, intrinsics, points = zip(*(view(yaw, np.array([0.1, 0.05, -0.1])) for yaw in range(0, 360, 45)), strict=True)
    world = np.eye(4)
    world[:3, :3] = turn
    return Reconstruction(
        names=tuple(f"view{number}" for number in range(len(poses))),
        images=tuple(np.zeros((*SIZE, 3), np.uint8) for _ in poses),
        pointmaps=tuple((p @ turn.T).astype(np.float32) for p in points),
        confidence=tuple(np.full(SIZE, 2.0, np.float32) for _ in poses),
        camera_to_world=np.stack([world @ pose for pose in poses]),
        intrinsics=np.stack(intrinsics),
        metric=True,
    )


def distances_of_occupancy(inputs: Tensor) -> Tensor:
    """A database that knows everything: the true distance to the occupied cells."""
    fields = [distance_transform_edt(grid.numpy() == 0)[::2, ::2, ::2] * SCALE.input_voxel for grid in inputs]
    return torch.from_numpy(np.stack(fields)).float().clamp(max=SCALE.truncation)[:, None]


@pytest.fixture(scope="module")
def model() -> RetrievalFuseModel:
    return RetrievalFuseModel(RetrievalFuseConfig(fusion="nearest", scale=vars(SCALE))).eval()


def distance_to_box(points: np.ndarray) -> np.ndarray:
    """How far points are from the walls, metres."""
    outside = np.abs(points) - HALF
    return np.where((outside <= 0).all(-1), -outside.max(-1), np.linalg.norm(np.maximum(outside, 0), axis=-1))


@pytest.mark.parametrize("tilt_deg", [(0, 0, 0), (20, -35, 160)])
def test_there_and_back(model: RetrievalFuseModel, tilt_deg: tuple[int, int, int]) -> None:
    """The completed surface lies on the walls; views that lost half of their points get them back within a voxel."""
    tilt = Rotation.from_euler("xyz", tilt_deg, degrees=True).as_matrix()
    room = box_room(tilt)
    spoilt = [np.array(c) for c in room.confidence]
    for number, confidence in enumerate(spoilt):  # neighbours still see what this view does not
        confidence[:, : SIZE[1] // 2] = 0 if number % 2 else confidence[:, : SIZE[1] // 2]
    partial = replace(room, confidence=tuple(spoilt))
    frame = room_frame(partial, SCALE)
    completed = complete_room(partial, frame, model, distances_of_occupancy)
    assert len(completed.mesh.triangles) > 1000
    assert np.median(distance_to_box(completed.mesh.vertices @ tilt)) < SCALE.voxel
    back = completed_views(partial, completed)
    lost = [after[before == 0] for before, after in zip(partial.confidence, back.confidence, strict=True)]
    filled = np.concatenate(lost) > 0
    assert filled.mean() > 0.95
    errors = []
    for number, before in enumerate(partial.confidence):
        hole = (before == 0) & (back.confidence[number] > 0)
        errors.append(np.linalg.norm(back.pointmaps[number][hole] - room.pointmaps[number][hole], axis=-1))
        assert np.array_equal(back.pointmaps[number][before > 0], partial.pointmaps[number][before > 0])
    assert np.median(np.concatenate(errors)) < SCALE.voxel


def test_frame_is_level_and_along_the_walls() -> None:
    """Whatever the frame of the first camera, the room stands upright and square in its grid."""
    room = box_room(Rotation.from_euler("xyz", (20, -35, 160), degrees=True).as_matrix())
    frame = room_frame(room, SCALE)
    placed = frame.to_room(room.point_cloud().points.astype(np.float64))
    extent = np.ptp(placed, axis=0)
    np.testing.assert_allclose(np.sort(extent[[0, 2]]), 2 * HALF[[0, 2]], atol=0.05)
    assert extent[1] == pytest.approx(2 * HALF[1], abs=0.05)
    np.testing.assert_allclose(frame.to_world(placed), room.point_cloud().points, atol=1e-5)
    voxels = frame.lattice.to_voxels(placed)
    assert voxels.min() == pytest.approx(8, abs=0.5)


def test_units() -> None:
    """A reconstruction without metres needs their number, and then lands in the same grid."""
    room = box_room()
    half = replace(
        room,
        pointmaps=tuple(p / 2 for p in room.pointmaps),
        camera_to_world=np.concatenate(
            [
                np.concatenate([room.camera_to_world[:, :3, :3], room.camera_to_world[:, :3, 3:] / 2], 2),
                room.camera_to_world[:, 3:],
            ],
            1,  # type: ignore[index]
        ),
        metric=False,
    )
    with pytest.raises(InputError, match="metres_per_unit"):
        room_frame(half, SCALE)
    assert room_frame(half, SCALE, metres_per_unit=2.0).lattice.shape == room_frame(room, SCALE).lattice.shape


def test_bad_input(model: RetrievalFuseModel) -> None:
    room = box_room()
    with pytest.raises(InputError, match="no points surer than 5"):
        room_frame(room, SCALE, min_confidence=5)
    with pytest.raises(InputError, match="upward"):
        room_frame(replace(room, camera_to_world=None), SCALE)
    with pytest.raises(InputError, match="expected a direction"):
        room_frame(room, SCALE, up=np.zeros(3))
    completed = complete_room(room, room_frame(room, SCALE), model, distances_of_occupancy)
    with pytest.raises(InputError, match="no cameras"):
        completed_views(replace(room, camera_to_world=None), completed)
