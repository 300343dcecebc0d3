"""The frames of a ScanNet scan from folders that were exported from its ``.sens`` container.

Two layouts are in use: ``color/N.jpg depth/N.png pose/N.txt`` with numbers that are not padded, and
``sensor_data/frame-NNNNNN.{color.jpg,depth.png,pose.txt}``; both with ``intrinsic/intrinsic_{color,depth}.txt`` or the
calibration in ``<scene>.txt``. Depth is 16 bit, millimetres.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from qa_generation.errors import SceneError
from qa_generation.readers.captures import Capture, CapturedFrame, choose_stride
from qa_generation.readers.checks import check_file, check_intrinsics
from qa_generation.readers.depth_grid import check_no_skew, read_png_depth, resample_depth, scale_intrinsics
from qa_generation.readers.pictures import check_picture
from qa_generation.readers.scannet_info import calibrated_size, camera_matrix, read_matrix
from qa_generation.scene import Blob

UNITS_PER_METRE = 1000.0
# a picture whose sides shrank by factors that differ more than this was cropped, not resized
MAX_ASPECT_CHANGE = 0.03
# how far the principal point of a camera may be from the middle, as a share of the width or height
MAX_OFF_CENTER = 0.1


@dataclass(frozen=True)
class FrameFiles:
    """The files of one exported frame; ``depth`` is None where no depth was exported at all."""

    index: int
    color: Path
    pose: Path
    depth: Path | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """A pinhole matrix, the picture size it is made for where that is known, and the file it comes from."""

    matrix: Float64[np.ndarray, "3 3"]
    size: tuple[int, int] | None
    source: str

    def at(self, size: tuple[int, int]) -> Float64[np.ndarray, "3 3"]:
        """The matrix for pictures of ``size``; raises ``SceneError`` where those are no resized ones of this camera."""
        check_intrinsics(self.matrix, self.size or (10**6, 10**6), self.source)
        if self.size is None:
            off = np.abs((self.matrix[:2, 2] + 0.5) / size - 0.5)
            if off.max() > MAX_OFF_CENTER:
                raise SceneError(
                    f"{self.source}: principal point {self.matrix[:2, 2].tolist()} is not near the middle of the "
                    f"{size[0]}x{size[1]} picture, and no colorWidth, colorHeight in the scan's .txt tell its full size"
                )
            return self.matrix
        scale_x, scale_y = size[0] / self.size[0], size[1] / self.size[1]
        if abs(scale_x / scale_y - 1) > MAX_ASPECT_CHANGE:
            raise SceneError(
                f"{self.source}: is for pictures of {self.size[0]}x{self.size[1]}, but they are {size[0]}x{size[1]}, "
                "which is another aspect ratio"
            )
        return scale_intrinsics(self.matrix, self.size, size)


def find_exported(scene_dir: Path) -> Path | None:
    """The folder that holds ``color/`` or ``sensor_data/``: the scan's own, or ``exported/`` or ``frames/`` in it."""
    folders = (scene_dir, scene_dir / "exported", scene_dir / "frames")
    return next(
        (folder for folder in folders if (folder / "color").is_dir() or (folder / "sensor_data").is_dir()), None
    )


def open_exported_capture(folder: Path, info: Mapping[str, str], info_path: Path, stride: int | None = None) -> Capture:
    """Every ``stride``-th frame of the exported folders, in numeric order.

    Raises:
        SceneError: a file of a frame is missing, or the calibration is missing or contradicts the pictures.
    """
    files = _list_sensor_data(folder) if (folder / "sensor_data").is_dir() else _list_folders(folder)
    if not files:
        raise SceneError(f"{folder}: holds no exported color pictures, expected 0.jpg, 1.jpg ... in color/")
    step = choose_stride(len(files), stride)
    chosen = files[::step]
    size = check_picture(Blob(chosen[0].color), str(chosen[0].color))
    color = _calibration(folder, info, info_path, "color")
    intrinsics = color.at(size)
    depth = _calibration(folder, info, info_path, "depth") if chosen[0].depth else color
    return Capture(
        path=folder,
        total=len(files),
        stride=step,
        size=size,
        intrinsics=intrinsics,
        intrinsics_source=color.source,
        frames=tuple(
            CapturedFrame(
                index=frame.index,
                where=str(frame.color),
                camera_to_world=read_matrix(frame.pose),
                image=Blob(check_file(frame.color, "a color picture")),
                read_depth=None if frame.depth is None else partial(_read_depth, frame.depth, depth, intrinsics, size),
            )
            for frame in chosen
        ),
    )


def _read_depth(
    path: Path, calibration: Calibration, intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    depth_m = read_png_depth(path, UNITS_PER_METRE)
    depth_size = (depth_m.shape[1], depth_m.shape[0])
    depth_intrinsics = calibration.at(depth_size)
    check_no_skew(depth_intrinsics, depth_size, calibration.source)
    return resample_depth(depth_m, depth_intrinsics, intrinsics, size)


def _list_folders(folder: Path) -> list[FrameFiles]:
    colors = _numbered(folder / "color", r"(\d+)\.(?:jpg|jpeg|png)")
    poses = _numbered(folder / "pose", r"(\d+)\.txt")
    depths = _numbered(folder / "depth", r"(\d+)\.(?:png|pgm)") if (folder / "depth").is_dir() else None
    return _pair(colors, poses, depths, folder / "pose", folder / "depth")


def _list_sensor_data(folder: Path) -> list[FrameFiles]:
    data = folder / "sensor_data"
    colors = _numbered(data, r"frame-(\d+)\.color\.(?:jpg|jpeg|png)")
    poses = _numbered(data, r"frame-(\d+)\.pose\.txt")
    depths = _numbered(data, r"frame-(\d+)\.depth\.(?:png|pgm)")
    return _pair(colors, poses, depths or None, data, data)


def _numbered(folder: Path, pattern: str) -> dict[int, Path]:
    """Files by number; raises ``SceneError`` when two names mean the same number, such as 1.jpg and 001.jpg."""
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder, expected the exported {folder.name} of every frame")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, path.name)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            raise SceneError(f"{folder}: {found[number].name} and {path.name} are both frame {number}, expected one")
        found[number] = path
    return found


def _pair(
    colors: dict[int, Path], poses: dict[int, Path], depths: dict[int, Path] | None, pose_dir: Path, depth_dir: Path
) -> list[FrameFiles]:
    frames = []
    for number in sorted(colors):
        if number not in poses:
            raise SceneError(f"{pose_dir}: holds no pose of frame {number}, which {colors[number].name} needs")
        if depths is not None and number not in depths:
            raise SceneError(f"{depth_dir}: holds no depth of frame {number}, though others have theirs")
        frames.append(FrameFiles(number, colors[number], poses[number], depths[number] if depths is not None else None))
    return frames


def _calibration(folder: Path, info: Mapping[str, str], info_path: Path, camera: str) -> Calibration:
    size = calibrated_size(info, camera, info_path)
    for base in (folder, folder.parent):
        path = base / "intrinsic" / f"intrinsic_{camera}.txt"
        if path.is_file():
            return Calibration(read_matrix(path)[:3, :3], size, str(path))
    matrix = camera_matrix(info, camera, info_path)
    if matrix is None:
        raise SceneError(
            f"{folder}: holds no intrinsic/intrinsic_{camera}.txt, and {info_path.name} has no "
            f"fx_{camera}, fy_{camera}, mx_{camera}, my_{camera}"
        )
    return Calibration(matrix, size, f"{info_path}: fx_{camera}")
