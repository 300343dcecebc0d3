"""Camera poses over time from ARKitScenes' ``.traj`` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation, Slerp

from qa_generation.errors import SceneError
from qa_generation.readers.annotated_mesh import MAX_COORDINATE_M
from qa_generation.readers.checks import check_file

# a pose this near in time is taken as it stands, as the dataset's own code does
NEAR_S = 0.005
# tracking was lost where two poses are further apart
LONGEST_GAP_S = 0.5


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Camera-to-world poses at rising times in seconds; OpenCV axes, metres."""

    times_s: Float64[np.ndarray, " poses"]
    rotations: Rotation
    centers: Float64[np.ndarray, "poses 3"]

    def camera_to_world(self, time_s: float) -> Float64[np.ndarray, "4 4"] | None:
        """The pose at a time: one at most 5 ms away, else between its neighbours; None where tracking was lost.

        Between two poses the rotation turns evenly (slerp) and the centre moves along a line.
        """
        after = int(np.searchsorted(self.times_s, time_s))
        nearest = min((n for n in (after - 1, after) if 0 <= n < len(self.times_s)), key=lambda n: self._off(n, time_s))
        if self._off(nearest, time_s) <= NEAR_S:
            return _pose(self.rotations[nearest], self.centers[nearest])
        if not 0 < after < len(self.times_s):
            return None
        gap = self.times_s[after] - self.times_s[after - 1]
        if gap > LONGEST_GAP_S:
            return None
        share = (time_s - self.times_s[after - 1]) / gap
        rotation = Slerp([0.0, 1.0], self.rotations[after - 1 : after + 1])(share)
        return _pose(rotation, (1 - share) * self.centers[after - 1] + share * self.centers[after])

    def _off(self, number: int, time_s: float) -> float:
        return abs(float(self.times_s[number]) - time_s)


def read_trajectory(path: Path) -> Trajectory:
    """The poses of a ``.traj`` file: lines of time, axis-angle and translation, world to camera.

    Lines that are not finite are left out. Raises ``SceneError`` for a missing or malformed file, or one without poses.
    """
    check_file(path, "the camera poses; asset lowres_wide.traj of the official download")
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [[float(word) for word in words] for words in lines]
    except ValueError as error:  # UnicodeDecodeError too
        raise SceneError(f"{path}: holds something that is no number ({error})") from None
    for number, row in enumerate(rows, start=1):
        if len(row) != 7:
            raise SceneError(
                f"{path}: line {number} has {len(row)} numbers, expected 7 (time, axis-angle, translation)"
            )
    table = np.array([row for row in rows if np.isfinite(row).all()], dtype=np.float64).reshape(-1, 7)
    if len(table) == 0:
        raise SceneError(f"{path}: holds no pose of finite numbers")
    _, firsts = np.unique(table[:, 0], return_index=True)
    table = table[firsts]
    if np.abs(table[:, 1:]).max() > MAX_COORDINATE_M:
        raise SceneError(f"{path}: a pose is further off than {MAX_COORDINATE_M:g} metres, expected one in a room")
    to_world = Rotation.from_rotvec(table[:, 1:4]).inv()
    return Trajectory(table[:, 0], to_world, -to_world.apply(table[:, 4:7]))


def _pose(rotation: Rotation, center: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "4 4"]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.as_matrix(), center
    return pose
