"""Where the cameras of an object capture stand: centre of the object, up, azimuth and elevation, coverage of the turn.

The centre is the point nearest to all optical axes, not the middle of the sparse points, which background pulls away;
up comes from the cameras' own rows and columns, not from a plane through their centres, which is unstable for flat arcs
(both measured on real captures, mvimgnet2 facts 7.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

# axes within a few degrees of parallel do not meet anywhere in particular
MIN_AXIS_SPREAD = 1e-3
# image rows are level up to hand tremor: mean squared sine of their tilt, about 6 degrees
MAX_TILT = 0.01
# they must point into different directions to tell the vertical, about 9 degrees of spread
MIN_ROW_SPREAD = 0.025
# how far the mean image-up may lean from the vertical: half-turns seen from above lean by the elevation
MAX_LEAN_DEG = 65.0


@dataclass(frozen=True, eq=False)
class Turn:
    """Cameras in coordinates of the object.

    Attributes:
        center: middle of the object, world.
        up: unit vector against gravity as the cameras were held.
        up_is_known: whether ``up`` can be trusted; where not, azimuth and elevation mean nothing.
        directions: unit vectors from the object to the cameras.
        distance: from the object to the cameras, in the capture's own unit.
        azimuth_deg: angle round ``up``, counter-clockwise as seen from above, in [0, 360).
        elevation_deg: angle above the level plane through the centre.
        coverage_deg: 360 minus the largest gap between neighbouring azimuths.
    """

    center: Float64[np.ndarray, "3"]
    up: Float64[np.ndarray, "3"]
    up_is_known: bool
    directions: Float64[np.ndarray, "views 3"]
    distance: Float64[np.ndarray, " views"]
    azimuth_deg: Float64[np.ndarray, " views"]
    elevation_deg: Float64[np.ndarray, " views"]
    coverage_deg: float

    @property
    def is_full(self) -> bool:
        """A full turn: at least 300 degrees without a gap above 45."""
        return self.up_is_known and self.coverage_deg >= 300.0 and largest_gap(self.azimuth_deg) <= 45.0

    def angle_deg(self) -> Float64[np.ndarray, "views views"]:
        """Angle at the object between the lines to every two cameras."""
        return angle_between(self.directions, self.directions)

    def azimuth_step_deg(self) -> Float64[np.ndarray, "views views"]:
        """Azimuth from the row's camera to the column's by the shorter way, in (-180, 180]."""
        step = self.azimuth_deg[None] - self.azimuth_deg[:, None]
        return 180.0 - (180.0 - step) % 360.0


def turn_of(world_to_camera: Float64[np.ndarray, "views 4 4"], center: Float64[np.ndarray, "3"] | None = None) -> Turn:
    """The turn of these cameras about ``center``, by default the point nearest to their optical axes.

    Raises:
        ValueError: the axes are parallel, or the object is not in front of the cameras.
    """
    rotations, translations = world_to_camera[:, :3, :3], world_to_camera[:, :3, 3]
    positions = -np.einsum("vji,vj->vi", rotations, translations)
    if center is None:
        center = nearest_to_lines(positions, rotations[:, 2])
    if not in_front(world_to_camera, center).all():
        raise ValueError("the object does not lie in front of all cameras")
    up, known = up_of(rotations)
    offsets = positions - center
    distance = np.linalg.norm(offsets, axis=1)
    directions = offsets / distance[:, None]
    first, second = level_axes(up)
    azimuth = np.degrees(np.arctan2(directions @ second, directions @ first)) % 360.0
    elevation = np.degrees(np.arcsin(np.clip(directions @ up, -1, 1)))
    return Turn(center, up, known, directions, distance, azimuth, elevation, 360.0 - largest_gap(azimuth))


def in_front(
    world_to_camera: Float64[np.ndarray, "views 4 4"], point: Float64[np.ndarray, "3"]
) -> Bool[np.ndarray, " views"]:
    """Which cameras have the point before them."""
    return world_to_camera[:, 2, :3] @ point + world_to_camera[:, 2, 3] > 0


def nearest_to_lines(
    origins: Float64[np.ndarray, "lines 3"], directions: Float64[np.ndarray, "lines 3"]
) -> Float64[np.ndarray, "3"]:
    """The point with the least sum of squared distances to lines; raises ``ValueError`` where they are parallel."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    across = np.eye(3) - unit[:, :, None] * unit[:, None, :]
    if np.linalg.eigvalsh(across.mean(axis=0))[0] < MIN_AXIS_SPREAD:
        raise ValueError("the viewing directions are nearly parallel, the camera did not go round the object")
    return np.linalg.solve(across.sum(axis=0), np.einsum("lij,lj->i", across, origins))


def up_of(rotations: Float64[np.ndarray, "views 3 3"]) -> tuple[Float64[np.ndarray, "3"], bool]:
    """The vertical as the cameras were held, and whether it can be trusted.

    Image rows of a camera that is not rolled are level, so up is the direction at right angles to all of them (the
    eigenvector of least variance), on the side of the mean image-up. The mean image-up alone, which serves where the
    rows all point the same way, leans by up to the elevation when the turn is not full.
    """
    rows, mean_up = rotations[:, 0], -rotations[:, 1].mean(axis=0)
    spread, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    lean = float(np.linalg.norm(mean_up))
    if lean < 1e-6:
        return axes[:, 0], False
    if spread[1] < MIN_ROW_SPREAD:
        return mean_up / lean, False
    up = axes[:, 0] * (1.0 if axes[:, 0] @ mean_up >= 0 else -1.0)
    upright = angle_between(up[None], mean_up[None]).item() <= MAX_LEAN_DEG
    return up, bool(spread[0] <= MAX_TILT and upright)


def level_axes(up: Float64[np.ndarray, "3"]) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Two unit vectors at right angles to ``up``; the second stands counter-clockwise of the first from above."""
    start = np.eye(3)[int(np.argmin(np.abs(up)))]
    first = np.cross(up, start)
    first /= np.linalg.norm(first)
    return first, np.cross(up, first)


def largest_gap(azimuth_deg: Float64[np.ndarray, " views"]) -> float:
    """The widest step between neighbouring azimuths on the circle, degrees; 360 for a single one."""
    ordered = np.sort(azimuth_deg)
    return float(np.diff(np.append(ordered, ordered[0] + 360.0)).max())


def angle_between(first: Float[np.ndarray, "m 3"], second: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "m n"]:
    """Angles in degrees between all pairs of vectors."""
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second)]
    return np.degrees(np.arccos(np.clip(unit[0] @ unit[1].T, -1.0, 1.0)))
