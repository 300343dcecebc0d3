"""Cameras from pointmaps: one focal length, then the pose of every view by PnP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.focal import estimate_focal
from geometry_encoders.reconstruction.pnp import CameraPose, solve_pnp
from geometry_encoders.reconstruction.result import Reconstruction

MAX_PNP_PIXELS = 20_000  # more change the pose by less than its own error
REPROJECTION_ERRORS = (0.01, 0.02, 0.04, 0.08)  # of the longer side: how exact a pointmap is depends on the network
ENOUGH_INLIERS = 0.5
DEMO_REPROJECTION_ERROR_PX = 8.0


@dataclass(frozen=True)
class CameraEstimate:
    """Cameras of all views and how far the points agree with them.

    Attributes:
        camera_to_world: poses in the frame of the points.
        intrinsics: pinhole, square pixels, principal point in the middle (width / 2, height / 2).
        inlier_fraction: of the pixels used, those that RANSAC counted as explained.
        median_error_px: median distance between the pixels used and the projections of their points; large means
            that no camera explains the pointmap.
    """

    camera_to_world: Float64[ndarray, "views 4 4"]
    intrinsics: Float64[ndarray, "views 3 3"]
    inlier_fraction: Float64[ndarray, " views"]
    median_error_px: Float64[ndarray, " views"]


def estimate_cameras(
    pointmaps: Sequence[Float[ndarray, "height width 3"]],
    confidence: Sequence[Float[ndarray, "height width"]] | None = None,
    names: Sequence[str] | None = None,
    compat: bool = False,
    reference: int = 0,
) -> CameraEstimate:
    """The cameras that see the pointmaps, as Spann3R's demo finds them (arXiv:2408.16061) and DUSt3R's viewer.

    The focal length is that of the reference view, whose camera is the frame of all points (Weiszfeld); views of the
    same size share it. The focal length of a view of another size is searched together with its pose. Poses come from
    PnP with RANSAC, which tolerates 1 % of the longer side, and up to 8 % where less than half of the pixels agree.

    Args:
        pointmaps: in the frame of the reference's camera, any unit.
        confidence: the less confident half of a view's pixels plays no part in its pose, nor do pixels of confidence 0.
        names: of the views, for messages.
        compat: as the demo does it: PnP for the reference too (otherwise its pose is the identity, which it is by
            definition), on every pixel whatever its confidence, with OpenCV's default solver, tolerating 8 pixels.
        reference: number of the view in whose frame the points are.

    Raises:
        InputError: a view that no camera explains, e.g. because all its points lie in one place.
    """
    names = names or [f"view {number}" for number in range(len(pointmaps))]
    confidence = confidence or [np.ones(points.shape[:2], dtype=np.float32) for points in pointmaps]
    shared = _intrinsics_of_reference(pointmaps[reference], confidence[reference], names[reference], compat)
    poses: list[CameraPose] = []
    errors: list[float] = []
    for number, (name, points, sureness) in enumerate(zip(names, pointmaps, confidence, strict=True)):
        rows, columns = _pixels_for_pose(points, sureness, compat)
        seen, pixels = points[rows, columns], np.stack([columns, rows], axis=1)
        pose: CameraPose | None
        if number == reference and not compat:
            pose = CameraPose(np.eye(4), shared, np.ones(len(seen), dtype=bool))
        else:
            known = shared if points.shape == pointmaps[reference].shape else None
            pose = _pose(seen, pixels, known, (points.shape[1], points.shape[0]), compat)
        if pose is None:
            raise InputError(f"{name}: no camera explains its pointmap, expected points that a pinhole camera can see")
        poses.append(pose)
        errors.append(_median_error(seen, pixels, pose))
    return CameraEstimate(
        np.stack([pose.camera_to_world for pose in poses]),
        np.stack([pose.intrinsics for pose in poses]),
        np.array([pose.inliers.mean() for pose in poses]),
        np.array(errors),
    )


def with_cameras(result: Reconstruction, compat: bool = False) -> Reconstruction:
    """The reconstruction with estimated poses and intrinsics in place of those it has, see `estimate_cameras`."""
    cameras = estimate_cameras(result.pointmaps, result.confidence, result.names, compat)
    return replace(result, camera_to_world=cameras.camera_to_world, intrinsics=cameras.intrinsics)


def _pose(
    points: ndarray, pixels: ndarray, intrinsics: ndarray | None, size: tuple[int, int], compat: bool
) -> CameraPose | None:
    """The pose at the smallest tolerance at which enough pixels agree, else that at the largest."""
    if compat:
        return solve_pnp(
            points, pixels, intrinsics, size, reprojection_error_px=DEMO_REPROJECTION_ERROR_PX, method="iterative"
        )
    pose = None
    for tolerance in REPROJECTION_ERRORS:
        found = solve_pnp(points, pixels, intrinsics, size, reprojection_error_px=tolerance * max(size))
        pose = found or pose
        if found is not None and found.inliers.mean() >= ENOUGH_INLIERS:
            break
    return pose


def _median_error(points: ndarray, pixels: ndarray, pose: CameraPose) -> float:
    camera = points @ pose.world_to_camera[:3, :3].T + pose.world_to_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        projected = camera @ pose.intrinsics.T / camera[:, 2:]
    error = np.linalg.norm(projected[:, :2] - pixels, axis=1)
    return float(np.median(np.where(camera[:, 2] > 0, error, np.inf)))


def _intrinsics_of_reference(points: ndarray, confidence: ndarray, name: str, compat: bool) -> Float64[ndarray, "3 3"]:
    height, width = confidence.shape
    if not compat:  # the estimator gives rays that are NaN no weight
        points = np.where(((confidence > 0) & (points[..., 2] > 0))[..., None], points, np.nan)
    focal = float(estimate_focal(torch.from_numpy(np.ascontiguousarray(points))[None]))
    if not np.isfinite(focal) or focal <= 0:
        raise InputError(f"{name}: no focal length explains its pointmap, expected points in front of the camera")
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _pixels_for_pose(points: ndarray, confidence: ndarray, compat: bool) -> tuple[ndarray, ndarray]:
    """Rows and columns of the pixels that PnP gets."""
    if compat:
        rows, columns = np.nonzero(np.ones_like(confidence))
        return rows, columns
    usable = (confidence > 0) & np.isfinite(points).all(-1)
    if usable.any():
        usable &= confidence >= np.median(confidence[usable])
    rows, columns = np.nonzero(usable)
    step = -(-len(rows) // MAX_PNP_PIXELS) or 1
    return rows[::step], columns[::step]
