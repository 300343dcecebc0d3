"""The camera pose that explains where points are seen in a picture (perspective-n-point, by OpenCV)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.opencv import load_opencv

MIN_POINTS = 4
FOCAL_CANDIDATES = 21


@dataclass(frozen=True)
class CameraPose:
    """Where the camera stands: rigid ``world_to_camera`` (OpenCV axes), its intrinsics, and the points that agree."""

    world_to_camera: Float[ndarray, "4 4"]
    intrinsics: Float[ndarray, "3 3"]
    inliers: Bool[ndarray, " points"]

    @property
    def camera_to_world(self) -> Float[ndarray, "4 4"]:
        """The inverse of ``world_to_camera``."""
        return np.linalg.inv(self.world_to_camera)

    @property
    def focal(self) -> float:
        """Horizontal focal length in pixels."""
        return float(self.intrinsics[0, 0])


def solve_pnp(
    points: Float[ndarray, "points 3"],
    pixels: Float[ndarray, "points 2"],
    intrinsics: Float[ndarray, "3 3"] | None = None,
    size: tuple[int, int] | None = None,
    principal_point: tuple[float, float] | None = None,
    iterations: int = 100,
    reprojection_error_px: float = 5.0,
    confidence: float = 0.99,
    method: Literal["sqpnp", "iterative"] = "sqpnp",
) -> CameraPose | None:
    """The pose most points agree with (RANSAC over SQPnP, Terzakis and Lourakis 2020), or None where there is none.

    Without intrinsics, 21 focal lengths between half and three times the longer side are tried and the one with the
    most inliers wins.

    Args:
        points: world coordinates, any unit.
        pixels: (x, y), integers at pixel centres.
        size: (width, height) of the picture; needed where intrinsics are not given.
        principal_point: (x, y), the middle of the picture by default; not used where intrinsics are given.
        iterations: RANSAC samples, at most.
        reprojection_error_px: largest distance of an inlier.
        confidence: RANSAC stops once it is this sure.
        method: minimal solver; ``iterative`` is OpenCV's default one.

    Raises:
        InputError: shapes that do not fit, or neither intrinsics nor size. Points that are not finite are left out;
            fewer than four of the rest give None.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    if len(points) != len(pixels):
        raise InputError(f"{len(points)} points and {len(pixels)} pixels: expected one pixel per point")
    finite = np.isfinite(points).all(1) & np.isfinite(pixels).all(1)
    if finite.sum() < MIN_POINTS:
        return None
    best: CameraPose | None = None
    for matrix in _candidates(intrinsics, size, principal_point):
        found = _ransac(
            points[finite], pixels[finite], matrix, iterations, reprojection_error_px, confidence, method == "sqpnp"
        )
        if found is None:
            continue
        world_to_camera, agreeing = found
        inliers = np.zeros(len(points), dtype=bool)
        inliers[np.flatnonzero(finite)[agreeing]] = True
        if best is None or inliers.sum() > best.inliers.sum():
            best = CameraPose(world_to_camera, matrix, inliers)
    return best


def _candidates(
    intrinsics: ndarray | None, size: tuple[int, int] | None, principal_point: tuple[float, float] | None
) -> list[ndarray]:
    """The intrinsics that are tried."""
    if intrinsics is not None:
        matrix = np.asarray(intrinsics, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise InputError(f"intrinsics of shape {matrix.shape}: expected a finite 3x3 matrix")
        return [matrix]
    if size is None:
        raise InputError("neither intrinsics nor the size of the picture is given, expected one of them")
    width, height = size
    longest = max(width, height)
    x, y = principal_point if principal_point is not None else (width / 2, height / 2)
    focals = np.geomspace(longest / 2, 3 * longest, FOCAL_CANDIDATES)
    return [np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]]) for focal in focals]


def _ransac(
    points: ndarray,
    pixels: ndarray,
    intrinsics: ndarray,
    iterations: int,
    reprojection_error_px: float,
    confidence: float,
    sqpnp: bool,
) -> tuple[ndarray, ndarray] | None:
    """world_to_camera and the numbers of the inliers."""
    cv2 = load_opencv()
    try:
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points,
            pixels,
            intrinsics,
            None,
            iterationsCount=iterations,
            reprojectionError=reprojection_error_px,
            confidence=confidence,
            flags=cv2.SOLVEPNP_SQPNP if sqpnp else cv2.SOLVEPNP_ITERATIVE,
        )
    except cv2.error:  # raised for some degenerate inputs, e.g. all points in one place
        return None
    if not found or inliers is None or not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        return None
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = cv2.Rodrigues(rotation)[0]
    world_to_camera[:3, 3] = translation[:, 0]
    return world_to_camera, inliers[:, 0]

