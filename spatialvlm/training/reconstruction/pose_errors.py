"""How far the poses that follow from pointmaps are from the true ones."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

SAME_PLACE_M = 0.05  # below this distance between two cameras the direction from one to the other means nothing


def can_solve_poses() -> bool:
    """Whether OpenCV is there; it comes with the extra ``reconstruction``."""
    return find_spec("cv2") is not None


def angle_deg(rotation: Float[ndarray, "3 3"]) -> float:
    """The angle that the rotation turns by."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def relative_pose_error(
    points: Float[ndarray, "rows columns 3"],
    valid: Bool[ndarray, "rows columns"],
    intrinsics: Float[ndarray, "3 3"],
    view_to_first: Float[ndarray, "4 4"],
    stride: int = 4,
) -> tuple[float, float]:
    """Angle of the rotation error and angle between the directions of translation, degrees.

    The pose is the one that explains the predicted points of a view, given in the frame of the first view, at their
    pixels (PnP with RANSAC and the true intrinsics). Where there is none both errors are 180; the second is NaN
    where the cameras stand in one place.
    """
    from geometry_encoders.reconstruction.pnp import solve_pnp

    rows, columns = np.mgrid[: points.shape[0] : stride, : points.shape[1] : stride]
    looked_at = valid[rows, columns]
    pixels = np.stack([columns[looked_at], rows[looked_at]], axis=-1)
    pose = solve_pnp(points[rows, columns][looked_at], pixels, intrinsics)
    shift_m = view_to_first[:3, 3]
    moved = np.linalg.norm(shift_m) >= SAME_PLACE_M
    if pose is None:
        return 180.0, 180.0 if moved else float("nan")
    found = pose.camera_to_world
    rotation = angle_deg(found[:3, :3].T @ view_to_first[:3, :3])
    return rotation, direction_angle_deg(found[:3, 3], shift_m) if moved else float("nan")


def direction_angle_deg(first: Float[ndarray, "3"], second: Float[ndarray, "3"]) -> float:
    """Angle between two directions; 90 where one has no length."""
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return 90.0 if length < 1e-12 else float(np.degrees(np.arccos(np.clip(first @ second / length, -1, 1))))
