"""How the stored pictures and depth maps of one camera become those of a pinhole camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float32, Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_intrinsics
from qa_generation.readers.colmap import ColmapCamera
from qa_generation.readers.depth_grid import check_no_skew, resample_depth, scale_intrinsics
from qa_generation.readers.undistortion import Undistortion, plan_undistortion
from qa_generation.readers.video import VideoFrameBlob
from qa_generation.scene import Blob, ComputedBlob

ReadDepth = Callable[[], Float32[np.ndarray, "height width"]]
# pictures whose sides shrank by factors that differ more than this were cropped, not resized
MAX_ASPECT_CHANGE = 0.03


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera for pictures of ``size``; ``intrinsics`` hold after ``undistortion``, which is None for a pinhole."""

    intrinsics: Float64[np.ndarray, "3 3"]
    size: tuple[int, int]
    undistortion: Undistortion | None = None

    def picture(self, stored: Blob) -> Blob:
        """The pinhole picture of a stored one: itself, or one that is computed when it is read."""
        if self.undistortion is None:
            return stored
        undistort = partial(self.undistortion.picture, where=str(stored.path))
        if isinstance(stored, VideoFrameBlob):
            return replace(stored, compute=undistort)
        return ComputedBlob(stored.path, stored.offset, stored.length, undistort)

    def depth(self, read_stored: ReadDepth) -> ReadDepth:
        """What reads the depth on the pinhole picture's grid, from a map of any size that covers the stored picture."""
        return partial(_read_depth, self, read_stored)


def scaled_lens(
    intrinsics: Float64[np.ndarray, "3 3"], from_size: tuple[int, int], size: tuple[int, int], where: str
) -> Lens:
    """The pinhole lens for pictures of ``size``, from the matrix for ``from_size``.

    Raises:
        SceneError: the matrix is that of no pinhole camera, or the pictures are not resized ones of that camera.
    """
    check_no_skew(intrinsics, from_size, where)
    _check_aspect(from_size, size, where)
    return Lens(scale_intrinsics(intrinsics, from_size, size), size)


def colmap_lens(camera: ColmapCamera, size: tuple[int, int], where: str) -> Lens:
    """The lens of a COLMAP camera for pictures of ``size``, with an undistortion where it is no pinhole.

    Raises:
        SceneError: as ``scaled_lens``; or the distortion cannot be undone, or needs OpenCV and that is missing.
    """
    where = f"{where}: camera {camera.camera_id}"
    check_intrinsics(camera.intrinsics, camera.size, where)
    _check_aspect(camera.size, size, where)
    scaled = scale_intrinsics(camera.intrinsics, camera.size, size)
    if camera.lens == "opencv" and not camera.distortion:
        return Lens(scaled, size)
    plan = plan_undistortion(scaled, camera.distortion, camera.lens, size, where)
    return Lens(plan.intrinsics, size, plan)


def _check_aspect(from_size: tuple[int, int], size: tuple[int, int], where: str) -> None:
    if abs(size[0] / from_size[0] / (size[1] / from_size[1]) - 1) > MAX_ASPECT_CHANGE:
        raise SceneError(
            f"{where}: is for pictures of {from_size[0]}x{from_size[1]}, but they are {size[0]}x{size[1]}, "
            "which is another aspect ratio"
        )


def _read_depth(lens: Lens, read_stored: ReadDepth) -> Float32[np.ndarray, "height width"]:
    depth_m = read_stored()
    if lens.undistortion is not None:
        return lens.undistortion.depth(depth_m)
    depth_size = (depth_m.shape[1], depth_m.shape[0])
    return resample_depth(depth_m, scale_intrinsics(lens.intrinsics, lens.size, depth_size), lens.intrinsics, lens.size)
