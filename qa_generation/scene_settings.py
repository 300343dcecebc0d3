"""Thresholds that differ between rooms and streets (specs 4.2-4.6)."""

from __future__ import annotations

from dataclasses import dataclass

from qa_generation.scene import SceneKind


@dataclass(frozen=True)
class SceneSettings:
    """Lengths in metres.

    Attributes:
        margin_m: gap between two boxes along a camera axis from which on a relation is decided.
        voxel_m: edge of the voxels that overlap is counted in.
        depth_tolerance_m: how far behind the seen surface a point still counts as seen.
        camera_distance_m: range of answers to "how far is the camera from the object".
        object_distance_m: range of answers to "how far apart are the objects".
    """

    margin_m: float
    voxel_m: float
    depth_tolerance_m: float
    camera_distance_m: tuple[float, float]
    object_distance_m: tuple[float, float]


SETTINGS: dict[SceneKind, SceneSettings] = {
    "indoor": SceneSettings(0.15, 0.02, 0.05, (0.3, 10.0), (0.2, 10.0)),
    "outdoor": SceneSettings(0.5, 0.2, 0.2, (1.0, 75.0), (0.5, 75.0)),
}
