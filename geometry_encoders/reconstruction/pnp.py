"""The camera pose that explains where points are seen in a picture (perspective-n-point, by OpenCV)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.opencv import load_opencv

MIN_POINTS = 4
FOCAL_CANDIDATES = 21
REFINE_POINTS = 2000
REFINE_ROUNDS = 5


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
    refine_focal: bool = True,
) -> CameraPose | None:
    """The pose most points agree with (RANSAC over SQPnP, Terzakis and Lourakis 2020), or None where there is none.

    Without intrinsics, 21 focal lengths between half and three times the longer side are tried. The best one is
    refined together with the pose by least squares over the inliers.

    Args:
        points: world coordinates, any unit.
        pixels: (x, y), integers at pixel centres.
        size: (width, height) of the picture; needed where intrinsics are not given.
        principal_point: (x, y), the middle of the picture by default; not used where intrinsics are given.
        iterations: RANSAC samples, at most.
        reprojection_error_px: largest distance of an inlier.
        confidence: RANSAC stops once it is this sure.
        method: minimal solver; ``iterative`` is OpenCV's default one.
        refine_focal: False takes the focal length with the most inliers (the smallest of several) as DUSt3R does.

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
    candidates = _candidates(intrinsics, size, principal_point)
    best: CameraPose | None = None
    best_cost = np.inf
    for matrix in candidates:
        found = _ransac(
            points[finite], pixels[finite], matrix, iterations, reprojection_error_px, confidence, method == "sqpnp"
        )
        if found is None:
            continue
        world_to_camera, agreeing = found
        inliers = np.zeros(len(points), dtype=bool)
        inliers[np.flatnonzero(finite)[agreeing]] = True
        pose = CameraPose(world_to_camera, matrix, inliers)
        cost = _cost(pose, points[finite], pixels[finite], reprojection_error_px) if refine_focal else -inliers.sum()
        if best is None or cost < best_cost:
            best, best_cost = pose, cost
    if best is None or not refine_focal or len(candidates) == 1:
        return best
    return _refine(best, points, pixels, reprojection_error_px)


def reprojection_errors_px(
    pose: CameraPose, points: Float[ndarray, "points 3"], pixels: Float[ndarray, "points 2"]
) -> Float[ndarray, " points"]:
    """Distances of projected points from their pixels; infinite for points that are not in front of the camera."""
    camera = points @ pose.world_to_camera[:3, :3].T + pose.world_to_camera[:3, 3]
    front = camera[:, 2] > 0
    projected = camera @ pose.intrinsics.T
    projected = projected[:, :2] / np.where(front, projected[:, 2], 1)[:, None]
    return np.where(front, np.linalg.norm(projected - pixels, axis=1), np.inf)


def _cost(pose: CameraPose, points: ndarray, pixels: ndarray, limit_px: float) -> float:
    """Sum of squared errors, each cut at the limit (MSAC)."""
    return float((np.minimum(reprojection_errors_px(pose, points, pixels), limit_px) ** 2).sum())


def _refine(pose: CameraPose, points: ndarray, pixels: ndarray, limit_px: float) -> CameraPose:
    """Pose and focal length that suit most points best, looked for from each set of inliers to the next."""
    finite = np.isfinite(points).all(1) & np.isfinite(pixels).all(1)
    cost = _cost(pose, points[finite], pixels[finite], limit_px)
    for _ in range(REFINE_ROUNDS):
        chosen = np.flatnonzero(pose.inliers)
        chosen = chosen[:: max(1, len(chosen) // REFINE_POINTS)]
        refined = _least_squares(pose, points[chosen], pixels[chosen], limit_px)
        new_cost = _cost(refined, points[finite], pixels[finite], limit_px)
        if not new_cost < cost:
            break
        inliers = np.zeros(len(points), dtype=bool)
        inliers[finite] = reprojection_errors_px(refined, points[finite], pixels[finite]) <= limit_px
        pose, cost = replace(refined, inliers=inliers), new_cost
        if inliers.sum() < MIN_POINTS:
            break
    return pose


def _least_squares(pose: CameraPose, points: ndarray, pixels: ndarray, limit_px: float) -> CameraPose:
    """Levenberg-Marquardt on rotation, translation and log focal length."""
    size = max(float(np.linalg.norm(points - points.mean(0), axis=1).mean()), 1e-12)

    def moved(change: ndarray) -> CameraPose:
        intrinsics, world_to_camera = pose.intrinsics.copy(), pose.world_to_camera.copy()
        intrinsics[[0, 1], [0, 1]] *= np.exp(change[6])
        world_to_camera[:3, :3] = Rotation.from_rotvec(change[:3]).as_matrix() @ world_to_camera[:3, :3]
        world_to_camera[:3, 3] += change[3:6] * size
        return CameraPose(world_to_camera, intrinsics, pose.inliers)

    def errors(change: ndarray) -> ndarray:
        candidate = moved(change)
        camera = points @ candidate.world_to_camera[:3, :3].T + candidate.world_to_camera[:3, 3]
        depth = np.maximum(camera[:, 2:], 1e-6 * size)
        return ((camera @ candidate.intrinsics.T)[:, :2] / depth - pixels).ravel()

    return moved(least_squares(errors, np.zeros(7), loss="soft_l1", f_scale=limit_px / 2).x)


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
