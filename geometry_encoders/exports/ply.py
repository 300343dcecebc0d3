"""Point clouds as PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from geometry_encoders.reconstruction.result import PointCloud

FIELDS = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("confidence", "f4")]


def write_ply(cloud: PointCloud, path: Path) -> None:
    """Binary little-endian PLY with colours and one more property, ``confidence``; axes and unit of the cloud."""
    vertices = np.empty(len(cloud), dtype=FIELDS)
    for axis, name in enumerate("xyz"):
        vertices[name] = cloud.points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = cloud.colours[:, channel]
    vertices["confidence"] = cloud.confidence
    PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(path))
