"""The iPhone frames of a ScanNet++ scene: pictures or video, poses from COLMAP or ARKit, LiDAR depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_pose, check_views
from qa_generation.readers.colmap import has_colmap, read_colmap
from qa_generation.readers.json_file import read_json
from qa_generation.readers.lens import Lens, colmap_lens, scaled_lens
from qa_generation.readers.pictures import check_picture
from qa_generation.readers.posed_views import PosedViews, thin
from qa_generation.readers.scannet_info import nearest_rigid
from qa_generation.readers.scannetpp_depth import open_depth
from qa_generation.readers.video import Video, VideoFrameBlob
from qa_generation.scene import Blob, View

# what the intrinsics of pose_intrinsic_imu.json are for
ARKIT_SIZE = (1920, 1440)
# the video's name in the second and in the first release
VIDEOS = ("rgb.mkv", "rgb.mp4")
FRAME_NAME = re.compile(r"(?:(?:video|iphone)/)?frame_(\d{1,9})(?:\.(?:jpg|jpeg|png))?", re.IGNORECASE)
DOWNLOAD = "the official download's assets"


@dataclass(frozen=True, eq=False)
class PosedFrame:
    """Where a frame of the video was taken from, not checked yet; ``lens`` gives its lens for a picture size."""

    where: str
    camera_to_world: Float64[np.ndarray, "4 4"]
    lens: Callable[[tuple[int, int]], Lens]


def open_iphone(folder: Path, stride: int | None = None) -> PosedViews:
    """Views of the scene's ``iphone/``, called ``frame_000120`` after their number in the video.

    Poses come from ``colmap/`` where there is one, as those are more exact, else from ``pose_intrinsic_imu.json``.

    Raises:
        SceneError: pictures or poses are missing, or a file is broken; names the asset that gives what is missing.
    """
    if not folder.is_dir():
        raise SceneError(
            f"{folder}: no such folder, expected the iPhone capture; {DOWNLOAD} iphone_video_path and "
            "iphone_colmap_dir or iphone_pose_intrinsic_imu_path give it"
        )
    notes: list[str] = []
    poses = _colmap_poses(folder / "colmap", notes) if has_colmap(folder / "colmap") else _arkit_poses(folder, notes)
    size, picture_of = _pictures(folder, poses)
    numbers = [number for number in sorted(poses) if picture_of(number) is not None]
    if len(numbers) < len(poses):
        notes.append(f"{folder}: {len(poses) - len(numbers)} of {len(poses)} posed frames have no picture in rgb/")
    depth_of = open_depth(folder)
    views: list[View] = []
    for number in thin(numbers, stride):
        pose, stored = poses[number], picture_of(number)
        assert stored is not None
        _check_size(stored, size)
        lens, read_depth = pose.lens(size), depth_of(number)
        camera_to_world = nearest_rigid(check_pose(pose.camera_to_world, pose.where))
        views.append(
            View(
                view_id=f"frame_{number:06d}",
                image=lens.picture(stored),
                intrinsics=lens.intrinsics,
                world_to_camera=np.linalg.inv(camera_to_world),
                size=size,
                read_depth=None if read_depth is None else lens.depth(read_depth),
            )
        )
    check_views(len(views), str(folder))
    return PosedViews(folder, len(numbers), tuple(views), tuple(notes))


def _pictures(folder: Path, poses: Mapping[int, PosedFrame]) -> tuple[tuple[int, int], Callable[[int], Blob | None]]:
    """The size of all pictures, and a look-up of a frame's picture; extracted pictures win over the video."""
    extracted = _numbered(folder / "rgb")
    if extracted:
        known = [extracted[number] for number in sorted(extracted) if number in poses]
        if not known:
            raise SceneError(f"{folder / 'rgb'}: none of its {len(extracted)} pictures is of a frame with a pose")
        size = check_picture(Blob(known[0]), str(known[0]))
        return size, lambda number: Blob(extracted[number]) if number in extracted else None
    path = next((folder / name for name in VIDEOS if (folder / name).is_file()), None)
    if path is None:
        raise SceneError(
            f"{folder}: holds neither pictures in rgb/ nor {' or '.join(VIDEOS)}; {DOWNLOAD} iphone_video_path give "
            "the video, from which the official toolkit extracts rgb/frame_000000.jpg and so on"
        )
    video = Video(path)
    return video.size(), lambda number: VideoFrameBlob(path, video=video, index=number)


def _check_size(stored: Blob, size: tuple[int, int]) -> None:
    """Raises ``SceneError`` for an extracted picture that is broken or of another size; frames of a video have one."""
    if isinstance(stored, VideoFrameBlob):
        return
    found = check_picture(stored, str(stored.path))
    if found != size:
        raise SceneError(
            f"{stored.path}: picture is {found[0]}x{found[1]}, expected {size[0]}x{size[1]} like the first"
        )


def _numbered(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = FRAME_NAME.fullmatch(path.name)
        if match is None or path.suffix == "":
            continue
        number = int(match[1])
        if number in found:
            raise SceneError(f"{folder}: {found[number].name} and {path.name} are both frame {number}, expected one")
        found[number] = path
    return found


def _colmap_poses(folder: Path, notes: list[str]) -> dict[int, PosedFrame]:
    model = read_colmap(folder)
    lens_of = cache(lambda camera_id, size: colmap_lens(model.cameras[camera_id], size, str(folder)))
    poses: dict[int, PosedFrame] = {}
    for image in model.images:
        match = FRAME_NAME.fullmatch(image.name)
        if match is None:
            notes.append(f"{folder}: image {image.name!r} is no frame of the video and is left out")
            continue
        number = int(match[1])
        if number in poses:
            raise SceneError(f"{folder}: two images are frame {number} of the video, expected one")
        camera_to_world = np.linalg.inv(image.world_to_camera)
        poses[number] = PosedFrame(f"{folder}: {image.name}", camera_to_world, partial(lens_of, image.camera_id))
    if not poses:
        raise SceneError(
            f"{folder}: none of its {len(model.images)} images is named like a frame, e.g. frame_000000.jpg"
        )
    return poses


def _arkit_poses(folder: Path, notes: list[str]) -> dict[int, PosedFrame]:
    path = folder / "pose_intrinsic_imu.json"
    if not path.is_file():
        raise SceneError(
            f"{folder}: holds neither a COLMAP model in colmap/ nor {path.name}, expected camera poses; {DOWNLOAD} "
            "iphone_colmap_dir or iphone_pose_intrinsic_imu_path give them"
        )
    entries = read_json(path, "the poses of all frames")
    poses: dict[int, PosedFrame] = {}
    for name, entry in entries.items():
        where = f"{path}: {name}"
        match = FRAME_NAME.fullmatch(name)
        if match is None:
            raise SceneError(f"{where}: is no name of a frame, expected one like frame_000000")
        pose = _matrix(entry, "aligned_pose", (4, 4), where)
        if not np.isfinite(pose).all():  # tracking was lost
            continue
        number = int(match[1])
        poses[number] = PosedFrame(f"{where}: aligned_pose", pose, partial(_arkit_lens, entry, where))
    lost = len(entries) - len(poses)
    if lost:
        notes.append(f"{path}: {lost} of {len(entries)} frames have no pose and are left out")
    if not poses:
        raise SceneError(f"{path}: none of its {len(entries)} frames has an aligned_pose of finite numbers")
    return poses


def _arkit_lens(entry: Any, where: str, size: tuple[int, int]) -> Lens:
    return scaled_lens(_matrix(entry, "intrinsic", (3, 3), where), ARKIT_SIZE, size, f"{where}: intrinsic")


def _matrix(entry: Any, key: str, shape: tuple[int, int], where: str) -> np.ndarray:
    if not isinstance(entry, dict) or key not in entry:
        raise SceneError(f"{where}: has no {key}, expected {shape[0]}x{shape[1]} numbers")
    try:
        matrix = np.asarray(entry[key], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in (shape, (shape[0] * shape[1],)):
        raise SceneError(f"{where}: {key} is no {shape[0]}x{shape[1]} matrix of numbers")
    return matrix.reshape(shape)
