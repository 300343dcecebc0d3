"""Point clouds with their cameras as GLB, for viewers and web pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.reconstruction.result import PointCloud, Reconstruction

GLTF_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # glTF has y up and looks along -z
FRUSTUM_DEPTH = 0.05  # of the size of the cloud


def write_glb(cloud: PointCloud, path: Path, cameras_of: Reconstruction | None = None) -> None:
    """GLB in the axes of glTF (y up, the first camera looks along -z), unit of the cloud.

    Args:
        cameras_of: also draw the cameras of this reconstruction, as pyramids of lines.
    """
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.PointCloud(cloud.points, colors=cloud.colours), node_name="points")
    if cameras_of is not None and cameras_of.camera_to_world is not None and cameras_of.intrinsics is not None:
        depth = FRUSTUM_DEPTH * float(np.linalg.norm(np.ptp(cloud.points, axis=0))) if len(cloud) else 1.0
        for number, name in enumerate(cameras_of.names):
            segments = frustum_segments(cameras_of, number, depth)
            scene.add_geometry(trimesh.load_path(segments), node_name=f"camera {number} {name}")
    scene.apply_transform(GLTF_FROM_OPENCV)
    path.write_bytes(scene.export(file_type="glb"))


def frustum_segments(result: Reconstruction, view: int, depth: float) -> Float[ndarray, "8 2 3"]:
    """The edges of the pyramid that a view sees down to ``depth``, in the frame of the reconstruction."""
    assert result.camera_to_world is not None and result.intrinsics is not None
    height, width = result.sizes[view]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(result.intrinsics[view]).T * depth
    pose = result.camera_to_world[view]
    base = rays @ pose[:3, :3].T + pose[:3, 3]
    centre = np.broadcast_to(pose[:3, 3], (4, 3))
    return np.concatenate([np.stack([centre, base], 1), np.stack([base, np.roll(base, -1, axis=0)], 1)])
