"""The three files that give ScanNet++'s cameras: a COLMAP text model, nerfstudio transforms, and ARKit's json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

Pose = Float64[np.ndarray, "4 4"]


def write_colmap_text(
    folder: Path, model: str, size: tuple[int, int], params: Sequence[float], poses: Mapping[str, Pose]
) -> None:
    """Writes ``cameras.txt``, ``images.txt``, ``points3D.txt``: one camera, world-to-camera ``poses`` by image name.

    As in the dataset no image has 2D points, so every second line of ``images.txt`` is blank. Ids have gaps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = " ".join(repr(float(value)) for value in params)
    lines = ["# Camera list with one line of data per camera:", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    lines += ["# Number of cameras: 1", f"1 {model} {size[0]} {size[1]} {numbers}"]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["# Image list with two lines of data per image:"]
    lines += ["#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "#   POINTS2D[] as (X, Y, POINT3D_ID)"]
    lines += [f"# Number of images: {len(poses)}, mean observations per image: 0"]
    for place, (name, world_to_camera) in enumerate(poses.items()):
        x, y, z, w = Rotation.from_matrix(world_to_camera[:3, :3]).as_quat()
        entries = [w, x, y, z, *world_to_camera[:3, 3]]
        lines += [f"{3 * place + 2} {' '.join(repr(float(entry)) for entry in entries)} 1 {name}", ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    header = "# 3D point list with one line of data per point:\n# Number of points: 0, mean track length: 0\n"
    (folder / "points3D.txt").write_text(header, encoding="utf-8")


def nerfstudio_matrix(world_to_camera: Pose) -> list[list[float]]:
    """``transform_matrix`` as the dataset's toolkit makes it: an OpenGL camera in a world of changed axes."""
    matrix = np.linalg.inv(world_to_camera)
    matrix[0:3, 1:3] *= -1
    matrix = matrix[[1, 0, 2, 3], :]
    matrix[2, :] *= -1
    rows: list[list[float]] = matrix.tolist()
    return rows


def write_transforms(
    path: Path, camera: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], test_frames: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a nerfstudio file of ``camera`` keys (fl_x ... camera_model) and frame entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**camera, "frames": list(frames), "test_frames": list(test_frames), "has_mask": True}
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def arkit_entry(
    number: int, camera_to_world: Pose, intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int]
) -> dict[str, Any]:
    """The entry of a frame in ``pose_intrinsic_imu.json``; ``intrinsics`` of ``size`` are brought to 1920x1440.

    ``pose`` is in ARKit's own world: y up, OpenGL camera, another origin.
    """
    full = np.array(intrinsics)
    full[0], full[1] = full[0] * (1920 / size[0]), full[1] * (1440 / size[1])
    full[0, 2] = (intrinsics[0, 2] + 0.5) * (1920 / size[0]) - 0.5
    full[1, 2] = (intrinsics[1, 2] + 0.5) * (1440 / size[1]) - 0.5
    arkit_world = np.array([[1.0, 0, 0, 0.7], [0, 0, 1, -1.1], [0, -1, 0, 0.4], [0, 0, 0, 1]])
    return {
        "timestamp": 1000.0 + number / 60,
        "pose": (arkit_world @ camera_to_world @ np.diag([1.0, -1, -1, 1])).tolist(),
        "intrinsic": full.tolist(),
        "imu": {"acceleration": [0.0, 0.0, 0.0], "attitude": [0.0, 0.0, 0.0], "rotation_rate": [0.0, 0.0, 0.0]},
        "aligned_pose": camera_to_world.tolist(),
    }
