"""NRGBD, the synthetic rooms of Neural RGB-D Surface Reconstruction (Azinović et al., CVPR 2022)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from benchmarks.reconstruction.datasets.files import (
    check_root,
    check_same_size,
    read_depth_png,
    read_picture,
    resize_to,
)
from benchmarks.reconstruction.frames import Capture, PosedFrame, listed
from geometry_encoders.reconstruction.cropping import CameraImage
from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import check_pose

SIZE = (640, 480)
FOCAL_PX = 554.2562584220408
INTRINSICS = np.array([[FOCAL_PX, 0, 320], [0, FOCAL_PX, 240], [0, 0, 1]], dtype=np.float64)
_POSES = "poses.txt"
_OPENGL_TO_OPENCV = np.array([1.0, -1.0, -1.0, 1.0])


def captures(root: Path, nan_pose_as_identity: bool = True) -> list[Capture]:
    """Every scene folder that holds a ``poses.txt``.

    Layout: ``SCENE/images/img0.png``, ``SCENE/depth/depth0.png`` (millimetres) and ``SCENE/poses.txt``, four lines per
    frame, camera to world in metres with OpenGL axes.

    Args:
        root: folder of the scenes.
        nan_pose_as_identity: take a frame without pose (NaN) as standing at the origin, as the published numbers do;
            otherwise such frames are left out.

    Raises:
        InputError: no such folder or no scene in it.
    """
    check_root(root, "the folder with the scenes of NRGBD")
    scenes = sorted(path.parent for path in root.glob(f"*/{_POSES}"))
    if not scenes:
        raise InputError(f"{root}: no scene with a {_POSES}, expected folders such as kitchen/{_POSES}")
    return [listed(scene.name, partial(_capture, scene, nan_pose_as_identity)) for scene in scenes]


def _capture(scene: Path, nan_pose_as_identity: bool) -> Capture:
    _check_focal(scene / "focal.txt")
    poses = _read_poses(scene / _POSES)
    numbers = sorted(
        int(found.group(1))
        for path in (scene / "images").glob("img*.png")
        if (found := re.fullmatch(r"img(\d+)\.png", path.name))
    )
    if not numbers:
        raise SceneError(f"{scene / 'images'}: no pictures, expected files such as img0.png")
    if numbers != list(range(len(poses))):
        pictures = f"{len(numbers)} pictures up to img{numbers[-1]}.png"
        raise SceneError(f"{scene}: {len(poses)} poses and {pictures}, expected one picture per pose, counted from 0")
    names = [str(number) for number in numbers]
    if not nan_pose_as_identity:
        names = [name for name in names if np.isfinite(poses[int(name)]).all()]
    return Capture(scene.name, tuple(names), partial(_read, scene, poses))


def _check_focal(path: Path) -> None:
    """The published folders tell the focal length; another one means another camera than the protocol's."""
    if not path.is_file():
        return
    try:
        focal = float(path.read_text(encoding="utf-8").split()[0])
    except (ValueError, IndexError, UnicodeDecodeError):
        raise SceneError(f"{path}: not a number, expected the focal length in pixels") from None
    if abs(focal - FOCAL_PX) > 0.01:
        raise SceneError(f"{path}: focal length {focal:g}, expected {FOCAL_PX:g} pixels, the one of the protocol")


def _read_poses(path: Path) -> Float64[np.ndarray, "frames 4 4"]:
    try:
        values = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: not a table of numbers ({error}), expected four lines of four per pose") from None
    if values.size == 0 or values.shape[1] != 4 or len(values) % 4:
        raise SceneError(f"{path}: {values.shape[0]} lines of {values.shape[1]}, expected four lines of four per pose")
    return values.reshape(-1, 4, 4)


def _read(scene: Path, poses: Float64[np.ndarray, "frames 4 4"], name: str) -> PosedFrame:
    depth_path = scene / "depth" / f"depth{name}.png"
    depth = read_depth_png(depth_path)
    check_same_size(depth, SIZE, depth_path, "that the intrinsics of NRGBD belong to")
    image = resize_to(read_picture(scene / "images" / f"img{name}.png"), SIZE)
    pose = poses[int(name)] * _OPENGL_TO_OPENCV
    if not np.isfinite(pose).all():
        pose = np.eye(4)
    pose = check_pose(pose, f"{scene / _POSES}: pose {name}")
    return PosedFrame(name, CameraImage(image, depth, INTRINSICS.astype(np.float32)), pose)
