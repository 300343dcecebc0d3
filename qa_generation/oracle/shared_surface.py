"""How much of the seen instance surface two views share, from random surface points and one ray to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from qa_generation.oracle.rules import NEAR_M, Rules
from qa_generation.oracle.sight import Lens, Surface

POINTS_PER_VOXEL = 3.0
MOST_POINTS = 4_000_000
_R2 = np.array([0.7548776662466927, 0.5698402909980532])


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points spread at random over the instances: place, instance (column) and voxel number of each."""

    points: Float32[np.ndarray, "3 points"]
    columns: Int32[np.ndarray, " points"]
    voxels: Int64[np.ndarray, " points"]
    voxel_count: int


def scatter(
    corners: Float64[np.ndarray, "triangles 3 3"],
    columns: Int32[np.ndarray, " triangles"],
    voxel_m: float,
    rng: np.random.Generator,
) -> SurfacePoints:
    """About ``POINTS_PER_VOXEL`` points per voxel face of surface, fewer where that were more than ``MOST_POINTS``."""
    if not len(corners):
        return SurfacePoints(np.zeros((3, 0), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int64), 0)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2.0
    total = max(1, min(MOST_POINTS, round(POINTS_PER_VOXEL * area.sum() / voxel_m**2)))
    # evenly along the running area: every triangle gets its share to within one point
    ends = np.cumsum(area)
    places = (np.arange(total) + rng.random(total)) / total * ends[-1]
    owner = np.minimum(np.searchsorted(ends, places, side="right"), len(corners) - 1)
    # R2 sequence (Roberts 2018): neighbours in it spread evenly over the triangle that they share
    even = (rng.random((1, 2)) + np.arange(total)[:, None] * _R2) % 1.0
    root, along = np.sqrt(even[:, :1]), even[:, 1:]
    a, b, c = corners[owner, 0], corners[owner, 1], corners[owner, 2]
    points = (1.0 - root) * a + root * (1.0 - along) * b + root * along * c
    cells = np.floor(points / voxel_m).astype(np.int64)
    cells -= cells.min(axis=0)
    found, voxels = np.unique(np.ravel_multi_index(cells.T, cells.max(axis=0) + 1), return_inverse=True)
    stored = np.ascontiguousarray(points.T, dtype=np.float32)
    return SurfacePoints(stored, columns[owner].astype(np.int32), voxels, len(found))


def seen_voxels(
    surface: Surface, cloud: SurfacePoints, present: Bool[np.ndarray, " columns"], lens: Lens, rules: Rules
) -> Bool[np.ndarray, " voxels"]:
    """Voxels with a point of a present instance that nothing hides by more than the tolerance."""
    seen = np.zeros(cloud.voxel_count, dtype=bool)
    pose = lens.view.world_to_camera.astype(np.float32)
    camera = pose[:3, :3] @ cloud.points + pose[:3, 3:]
    of = np.flatnonzero(present[cloud.columns] & (camera[2] > NEAR_M))
    camera = np.ascontiguousarray(camera[:, of].T)
    places = lens.places(camera)
    inside = ((places >= 0) & (places < np.array(lens.grid))).all(axis=1)
    of, camera, places = of[inside], camera[inside], places[inside]
    if len(of):
        depth_m = surface.first(lens.rays(places))[0] + NEAR_M
        tolerance_m = np.maximum(rules.depth_tolerance_m, rules.depth_tolerance_ratio * camera[:, 2])
        # a ray that slips past its own point meets nothing there: infinity, which hides nothing
        seen[cloud.voxels[of[camera[:, 2] <= depth_m + tolerance_m]]] = True
    return seen
