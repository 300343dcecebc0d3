"""The frames of an ARKitScenes video: pictures of one camera with a calibration each, depth, and which way is up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.arkitscenes_trajectory import read_trajectory
from qa_generation.readers.captures import choose_stride
from qa_generation.readers.checks import check_file, check_size, check_views
from qa_generation.readers.depth_grid import read_png_depth
from qa_generation.readers.lens import Lens, ReadDepth, scaled_lens
from qa_generation.readers.pictures import check_picture
from qa_generation.readers.posed_views import PosedViews
from qa_generation.readers.quarter_turn import (
    turn_depth,
    turn_intrinsics,
    turn_picture,
    turn_pose,
    turn_size,
    uprightness,
)
from qa_generation.scene import Blob, ComputedBlob, View

UNITS_PER_METRE = 1000.0
# a depth map taken this long before or after a picture still belongs to it
DEPTH_NEAR_MS = 10
# calibrations are named by a time that may be a millisecond off
PINCAM_OFFSETS_MS = (0, -1, 1)
# from this on a camera's own roll is clear; one that looks up or down has none
CLEAR_ROLL = 0.5


@dataclass(frozen=True, eq=False)
class TimedFrame:
    """A picture with its pose and lens before it is turned; ``time_ms`` as its name tells."""

    time_ms: int
    path: Path
    lens: Lens
    world_to_camera: Float64[np.ndarray, "4 4"]


def open_frames(
    folder: Path, video_id: str, camera: str, stride: int | None = None, min_confidence: int = 1
) -> PosedViews:
    """Views from ``folder``, which holds ``lowres_wide/`` and so on; named by their time (``frame_<milliseconds>``).

    All pictures are turned by the same quarters, so that world +z is up in most; those that would still lie on their
    side are left out. Depth of confidence below ``min_confidence`` is missing (0), where confidence was downloaded.

    Raises:
        SceneError: an asset is missing or broken; names it.
    """
    trajectory = read_trajectory(folder / "lowres_wide.traj")
    files = _timed_files(folder / camera, video_id, ("png", "jpg"))
    if not files:
        raise SceneError(f"{folder / camera}: holds no pictures; asset {camera} of the official download gives them")
    chosen = sorted(files)[:: choose_stride(len(files), stride)]
    calibrations = _timed_files(folder / f"{camera}_intrinsics", video_id, ("pincam",))
    if not calibrations:
        raise SceneError(
            f"{folder / f'{camera}_intrinsics'}: holds no calibrations; asset {camera}_intrinsics of the official "
            "download gives them"
        )
    left_out: Counter[str] = Counter()
    frames = []
    for time_ms in chosen:
        pincam = next((calibrations[time_ms + ms] for ms in PINCAM_OFFSETS_MS if time_ms + ms in calibrations), None)
        pose = trajectory.camera_to_world(time_ms / 1000)
        if pincam is None or pose is None:
            left_out["no calibration" if pincam is None else "no pose"] += 1
            continue
        size = check_picture(Blob(files[time_ms]), str(files[time_ms]))
        frames.append(TimedFrame(time_ms, files[time_ms], _read_pincam(pincam, size), np.linalg.inv(pose)))
    turns = _common_turns(frames)
    upright = [frame for frame in frames if _stands(frame, turns)]
    left_out["another way up"] = len(frames) - len(upright)
    notes = [
        f"{folder / camera}: {n} of {len(chosen)} frames have {why} and are left out"
        for why, n in left_out.items()
        if n
    ]
    check_views(len(upright), str(folder / camera))
    depth = DepthFiles.below(folder, video_id, min_confidence)
    return PosedViews(folder, len(files), tuple(_view(frame, turns, depth) for frame in upright), tuple(notes))


@dataclass(frozen=True, eq=False)
class DepthFiles:
    """Depth maps and their confidences by milliseconds; either may be empty."""

    depths: Mapping[int, Path]
    confidences: Mapping[int, Path]
    min_confidence: int

    @classmethod
    def below(cls, folder: Path, video_id: str, min_confidence: int) -> DepthFiles:
        """The files in ``lowres_depth/`` and ``confidence/``."""
        parts = [_timed_files(folder / name, video_id, ("png",)) for name in ("lowres_depth", "confidence")]
        return cls(parts[0], parts[1], min_confidence)

    def near(self, time_ms: int) -> ReadDepth | None:
        """What reads the depth map nearest in time, None without one."""
        candidates = [time_ms + ms for ms in range(-DEPTH_NEAR_MS, DEPTH_NEAR_MS + 1) if time_ms + ms in self.depths]
        if not candidates:
            return None
        nearest = min(candidates, key=lambda candidate: abs(candidate - time_ms))
        return partial(_read_depth, self.depths[nearest], self.confidences.get(nearest), self.min_confidence)


def _view(frame: TimedFrame, turns: int, depths: DepthFiles) -> View:
    lens, stored = frame.lens, Blob(frame.path)
    read_depth = depths.near(frame.time_ms)
    if read_depth is not None:
        read_depth = lens.depth(read_depth)
    if turns:
        stored = ComputedBlob(
            frame.path, compute=partial(turn_picture, size=lens.size, turns=turns, where=str(frame.path))
        )
        read_depth = None if read_depth is None else partial(_turned, read_depth, turns)
    return View(
        view_id=f"frame_{frame.time_ms:09d}",
        image=stored,
        intrinsics=turn_intrinsics(lens.intrinsics, lens.size, turns),
        world_to_camera=turn_pose(frame.world_to_camera, turns),
        size=turn_size(lens.size, turns),
        read_depth=read_depth,
    )


def _common_turns(frames: list[TimedFrame]) -> int:
    """The clockwise quarter turns after which world +z is up in most pictures."""
    scores = [uprightness(frame.world_to_camera) for frame in frames]
    return int(np.argmax(np.sum(scores, axis=0))) if scores else 0


def _stands(frame: TimedFrame, turns: int) -> bool:
    """Whether the picture has no clear way up other than the common one."""
    scores = uprightness(frame.world_to_camera)
    return bool(np.hypot(scores[0], scores[1]) < CLEAR_ROLL or np.argmax(scores) == turns)


def _timed_files(folder: Path, video_id: str, endings: tuple[str, ...]) -> dict[int, Path]:
    """Files called ``<video_id>_<seconds>.<ending>`` by milliseconds; none where there is no such folder."""
    pattern = re.compile(rf"{re.escape(video_id)}_(\d{{1,9}})\.(\d{{1,3}})\.(?:{'|'.join(endings)})")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        time_ms = 1000 * int(match[1]) + int(match[2].ljust(3, "0"))
        if time_ms in found:
            raise SceneError(f"{folder}: {found[time_ms].name} and {path.name} are of one time, expected one")
        found[time_ms] = path
    return found


def _read_pincam(path: Path, size: tuple[int, int]) -> Lens:
    """The lens of a ``.pincam`` file, one line ``w h fx fy cx cy``, for pictures of ``size``."""
    check_file(path, "a calibration")
    try:
        words = path.read_text(encoding="utf-8").split()
        width, height, focal_x, focal_y, center_x, center_y = (float(word) for word in words)
    except ValueError:
        raise SceneError(f"{path}: is no calibration, expected the six numbers w h fx fy cx cy") from None
    if not np.isfinite([width, height]).all():
        raise SceneError(f"{path}: width and height are {width:g} and {height:g}, expected numbers of pixels")
    matrix = np.array([[focal_x, 0.0, center_x], [0.0, focal_y, center_y], [0.0, 0.0, 1.0]])
    return scaled_lens(matrix, check_size((width, height), str(path)), size, str(path))


def _read_depth(path: Path, confidence: Path | None, min_confidence: int) -> Float32[np.ndarray, "height width"]:
    depth_m = read_png_depth(path, UNITS_PER_METRE)
    if confidence is None:
        return depth_m
    check_file(confidence, "the confidence of a depth map")
    try:
        with Image.open(confidence, formats=("PNG",)) as image:
            check_size(image.size, str(confidence))
            levels = np.asarray(image)
    except SceneError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        raise SceneError(f"{confidence}: cannot be decoded ({error}), expected an 8 bit PNG") from None
    if levels.shape != depth_m.shape:
        raise SceneError(f"{confidence}: is of another size than {path.name}, expected the same")
    return np.where(levels >= min_confidence, depth_m, np.float32(0))


def _turned(read_depth: ReadDepth, turns: int) -> Float32[np.ndarray, "height width"]:
    return turn_depth(read_depth(), turns)
