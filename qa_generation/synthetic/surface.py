"""`Surface`: a coloured triangle mesh with smooth normals, the clay that rooms and furniture are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

Vector = Sequence[float] | Float64[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in metres with what shading needs at every vertex.

    Attributes:
        vertices, normals: positions and unit normals; triangles are seen from both sides.
        colors: sRGB, 0 to 1.
        glow: how much light of its own colour a vertex gives off; 1 is as bright as white paper in the room.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    normals: Float64[np.ndarray, "vertices 3"]
    colors: Float64[np.ndarray, "vertices 3"]
    glow: Float64[np.ndarray, " vertices"]
    triangles: Int64[np.ndarray, "triangles 3"]

    @property
    def bounds(self) -> Float64[np.ndarray, "2 3"]:
        """Lowest and highest corner of the axis-aligned box, metres."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def moved(self, offset: Vector) -> Surface:
        """The same surface shifted by ``offset`` metres."""
        return replace(self, vertices=self.vertices + np.asarray(offset))

    def turned(self, yaw: float) -> Surface:
        """The same surface turned by ``yaw`` radians about the z axis."""
        return self.rotated(rotation_z(yaw))

    def rotated(self, rotation: Float64[np.ndarray, "3 3"]) -> Surface:
        """The same surface with every point p at ``rotation @ p``."""
        return replace(self, vertices=self.vertices @ rotation.T, normals=self.normals @ rotation.T)

    def stretched(self, factors: Vector) -> Surface:
        """The same surface scaled along the axes, normals kept right."""
        scale = np.asarray(factors, dtype=np.float64)
        normals = self.normals / scale
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return replace(self, vertices=self.vertices * scale, normals=normals)


def rotation_z(yaw: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation by ``yaw`` radians about z: x towards y."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_x(angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation by ``angle`` radians about x: y towards z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def join(surfaces: Sequence[Surface]) -> Surface:
    """All surfaces as one, in the given order; no vertices are merged."""
    counts = np.array([0, *(len(s.vertices) for s in surfaces)])
    starts = np.cumsum(counts)[:-1]
    return Surface(
        vertices=np.concatenate([s.vertices for s in surfaces]),
        normals=np.concatenate([s.normals for s in surfaces]),
        colors=np.concatenate([s.colors for s in surfaces]),
        glow=np.concatenate([s.glow for s in surfaces]),
        triangles=np.concatenate([s.triangles + start for s, start in zip(surfaces, starts, strict=True)]),
    )
