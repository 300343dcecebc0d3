"""Cameras as a ``transforms.json`` of nerfstudio, with the point cloud beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from geometry_encoders.exports.originals import ExportedPictures
from geometry_encoders.reconstruction.result import Reconstruction

PIXEL_CENTRE = 0.5  # nerfstudio puts the corner of the first pixel at 0, we its centre
OPENGL_FROM_OPENCV_AXES = np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z backwards


def write_transforms(
    result: Reconstruction, path: Path, pictures: ExportedPictures | None = None, ply_file: str | None = None
) -> None:
    """``transforms.json``: cameras in OpenGL axes, the world as it is in the reconstruction (so the PLY fits).

    Args:
        path: of the file; ``pictures.files`` and ``ply_file`` are relative to its folder.
        pictures: the files that the cameras belong to; by default the pictures as the network saw them.
        ply_file: point cloud that training may start from.

    Raises:
        InputError: a reconstruction without cameras.
    """
    content = transforms(result, pictures or ExportedPictures.as_seen(result), ply_file)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def transforms(result: Reconstruction, pictures: ExportedPictures, ply_file: str | None = None) -> dict[str, Any]:
    """The content of ``transforms.json``; intrinsics stand once when all views share them, else per frame."""
    cameras = [_camera(matrix, size) for matrix, size in zip(pictures.intrinsics(result), pictures.sizes, strict=True)]
    shared = all(camera == cameras[0] for camera in cameras)
    assert result.camera_to_world is not None
    frames = [
        {
            "file_path": file,
            "transform_matrix": (pose @ OPENGL_FROM_OPENCV_AXES).tolist(),
            **({} if shared else camera),
        }
        for file, pose, camera in zip(pictures.files, result.camera_to_world, cameras, strict=True)
    ]
    content: dict[str, Any] = {"camera_model": "OPENCV", **(cameras[0] if shared else {}), "frames": frames}
    return content | ({"ply_file_path": ply_file} if ply_file else {})


def _camera(intrinsics: Float64[ndarray, "3 3"], size: tuple[int, int]) -> dict[str, Any]:
    names = {
        "w": size[0],
        "h": size[1],
        "fl_x": float(intrinsics[0, 0]),
        "fl_y": float(intrinsics[1, 1]),
        "cx": float(intrinsics[0, 2]) + PIXEL_CENTRE,
        "cy": float(intrinsics[1, 2]) + PIXEL_CENTRE,
    }
    return names | {"k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0}
