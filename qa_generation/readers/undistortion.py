"""Pinhole pictures and depth from those of a distorted lens; both cameras share one centre and their axes.

The pinhole camera is the one that keeps no pixel without content (OpenCV's balance 0 or alpha 0), with the principal
point in the middle of the picture, as ScanNet++ undistorts its own.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_image
from qa_generation.readers.colmap import LensKind
from qa_generation.readers.opencv import load_opencv

JPEG_QUALITY = 95
# share of the pinhole picture without content from which the coefficients are those of no lens
MAX_OUTSIDE = 0.1


@dataclass(frozen=True, eq=False)
class Undistortion:
    """The way from pictures of one lens to pinhole pictures of the same size.

    Attributes:
        intrinsics: of the pinhole camera, pixels with centres at integers.
        size: (width, height) of both pictures.
        columns, rows: where in the stored picture each pixel of the pinhole picture lies.
    """

    intrinsics: Float64[np.ndarray, "3 3"]
    size: tuple[int, int]
    columns: Float32[np.ndarray, "height width"]
    rows: Float32[np.ndarray, "height width"]

    @property
    def outside(self) -> float:
        """Share of the pinhole picture that the stored one does not cover; such pixels are black."""
        covered = (np.abs(self.columns - (self.size[0] - 1) / 2) <= self.size[0] / 2) & (
            np.abs(self.rows - (self.size[1] - 1) / 2) <= self.size[1] / 2
        )
        return float(1 - covered.mean())

    def picture(self, stored: bytes, where: str) -> bytes:
        """The pinhole picture as JPEG; raises ``SceneError`` for one that is broken or of another size."""
        check_image(stored, self.size, where)
        with Image.open(io.BytesIO(stored)) as image:
            return encode_jpeg(self._remapped(np.asarray(image.convert("RGB"))))

    def depth(self, depth_m: Float32[np.ndarray, "depth_height depth_width"]) -> Float32[np.ndarray, "height width"]:
        """The depth of every pinhole pixel: nearest one of a depth map, of any size, of the stored picture.

        Nearest rather than interpolated, because a mean over a depth edge is a point in mid-air.
        """
        height, width = depth_m.shape
        columns = np.rint((self.columns + 0.5) * (width / self.size[0]) - 0.5)
        rows = np.rint((self.rows + 0.5) * (height / self.size[1]) - 0.5)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        picked = depth_m[np.clip(rows, 0, height - 1).astype(np.int64), np.clip(columns, 0, width - 1).astype(np.int64)]
        return np.where(inside, picked, np.float32(0))

    def _remapped(self, rgb: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
        cv2 = load_opencv("a distorted picture")
        return np.asarray(cv2.remap(rgb, self.columns, self.rows, cv2.INTER_LINEAR))


def plan_undistortion(
    intrinsics: Float64[np.ndarray, "3 3"],
    distortion: Sequence[float],
    lens: LensKind,
    size: tuple[int, int],
    where: str,
) -> Undistortion:
    """The way to pinhole pictures from those of a lens with these coefficients, in OpenCV's order.

    Raises:
        SceneError: OpenCV is missing, or no pinhole picture can be made with such coefficients; names ``where``.
    """
    cv2 = load_opencv(where)
    coefficients = np.asarray(distortion, dtype=np.float64)
    if lens == "fisheye":
        pinhole = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            intrinsics, coefficients, size, np.eye(3), balance=0.0
        )
        rectify = cv2.fisheye.initUndistortRectifyMap
    else:
        pinhole, _ = cv2.getOptimalNewCameraMatrix(intrinsics, coefficients, size, 0.0, size, True)
        rectify = cv2.initUndistortRectifyMap
    pinhole = np.asarray(pinhole, dtype=np.float64)
    pinhole[:2, 2] = (np.array(size) - 1) / 2
    columns, rows = rectify(intrinsics, coefficients, np.eye(3), pinhole, size, cv2.CV_32FC1)
    plan = Undistortion(pinhole, size, columns, rows)
    usable = np.isfinite(pinhole).all() and pinhole[0, 0] > 0 and pinhole[1, 1] > 0
    if not usable or not np.isfinite(columns).all() or not np.isfinite(rows).all() or plan.outside > MAX_OUTSIDE:
        raise SceneError(
            f"{where}: distortion {tuple(coefficients.tolist())} cannot be undone, expected that of a lens"
        )
    return plan


def encode_jpeg(rgb: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The picture as a JPEG without chroma subsampling; the same bytes each time."""
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return encoded.getvalue()
