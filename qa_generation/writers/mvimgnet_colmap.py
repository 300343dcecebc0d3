"""The three files of a COLMAP sparse model, binary or text, as COLMAP 3 writes them: little-endian, ids with gaps."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from qa_generation.writers.mvimgnet_turntable import Footage

CAMERA_ID = 1
_MODEL_IDS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def image_id(index: int) -> int:
    """Ids of images have gaps and do not start at 1, as after a reconstruction that lost some."""
    return 4 + 3 * index


def point_id(index: int) -> int:
    """Ids of points, likewise."""
    return 11 + 2 * index


def camera_params(model: str, footage: Footage) -> list[float]:
    """Parameters of the lens in the order of the model; raises ``KeyError`` for a model that is not written here."""
    config = footage.config
    focal, center, radial = config.focal_px, (config.size[0] / 2, config.size[1] / 2), config.radial
    return {
        "SIMPLE_PINHOLE": [focal, *center],
        "PINHOLE": [focal, focal, *center],
        "SIMPLE_RADIAL": [focal, *center, radial],
        "RADIAL": [focal, *center, radial, 0.0],
        "OPENCV": [focal, focal, *center, radial, 0.0, 0.0, 0.0],
        "OPENCV_FISHEYE": [focal, focal, *center, 0.0, 0.0, 0.0, 0.0],
    }[model]


def write_binary(
    folder: Path,
    footage: Footage,
    poses: Float64[np.ndarray, "views 4 4"],
    points: Float64[np.ndarray, "points 3"],
    names: Sequence[str],
    model: str,
) -> None:
    """Writes ``cameras.bin``, ``images.bin`` and ``points3D.bin``."""
    folder.mkdir(parents=True, exist_ok=True)
    params = camera_params(model, footage)
    camera = struct.pack("<QIiQQ", 1, CAMERA_ID, _MODEL_IDS[model], *footage.config.size)
    (folder / "cameras.bin").write_bytes(camera + struct.pack(f"<{len(params)}d", *params))
    place = np.cumsum(footage.found, axis=1) - 1
    parts = [struct.pack("<Q", len(names))]
    for index, name in enumerate(names):
        columns = np.flatnonzero(footage.found[index])
        parts.append(struct.pack("<I", image_id(index)) + struct.pack("<7d", *_pose_numbers(poses[index])))
        parts.append(struct.pack("<I", CAMERA_ID) + name.encode() + b"\0" + struct.pack("<Q", len(columns)))
        observed = zip(footage.pixels[index, columns].tolist(), columns.tolist(), strict=True)
        parts += [struct.pack("<ddq", *pixel, point_id(column)) for pixel, column in observed]
    (folder / "images.bin").write_bytes(b"".join(parts))
    parts = [struct.pack("<Q", len(points))]
    for column, point in enumerate(points):
        views = np.flatnonzero(footage.found[:, column])
        parts.append(struct.pack("<Q3d3Bd", point_id(column), *point, *footage.colors[column], 0.5))
        parts.append(struct.pack("<Q", len(views)))
        parts += [struct.pack("<II", image_id(int(view)), place[view, column]) for view in views]
    (folder / "points3D.bin").write_bytes(b"".join(parts))


def write_text(
    folder: Path,
    footage: Footage,
    poses: Float64[np.ndarray, "views 4 4"],
    points: Float64[np.ndarray, "points 3"],
    names: Sequence[str],
    model: str,
) -> None:
    """Writes the three ``.txt`` files; the first image has no points, so that its second line is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    params = " ".join(f"{value:.17g}" for value in camera_params(model, footage))
    width, height = footage.config.size
    (folder / "cameras.txt").write_text(
        f"# Camera list with one line of data per camera:\n{CAMERA_ID} {model} {width} {height} {params}\n"
    )
    found = footage.found.copy()
    found[0] = False
    place = np.cumsum(found, axis=1) - 1
    lines = ["# Image list with two lines of data per image:"]
    for index, name in enumerate(names):
        numbers = " ".join(f"{value:.17g}" for value in _pose_numbers(poses[index]))
        lines.append(f"{image_id(index)} {numbers} {CAMERA_ID} {name}")
        columns = np.flatnonzero(found[index])
        lines.append(
            " ".join(f"{x:.3f} {y:.3f} {point_id(int(c))}" for c in columns for x, y in [footage.pixels[index, c]])
        )
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list with one line of data per point:"]
    for column, point in enumerate(points):
        track = " ".join(f"{image_id(int(v))} {place[v, column]}" for v in np.flatnonzero(found[:, column]))
        position = " ".join(f"{value:.17g}" for value in point)
        lines.append(f"{point_id(column)} {position} {' '.join(map(str, footage.colors[column]))} 0.5 {track}")
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def _pose_numbers(pose: Float64[np.ndarray, "4 4"]) -> list[float]:
    """Quaternion (w x y z) and translation."""
    x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
    return [w, x, y, z, *pose[:3, 3]]
