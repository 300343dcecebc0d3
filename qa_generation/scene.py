"""The data model every reader produces: posed views of a place, its instances and its surface.

Conventions, held everywhere: OpenCV camera axes (x right, y down, z forward), ``world_to_camera`` 4x4 float64 in
metres, world +z up, ``intrinsics`` 3x3 in pixels of the stored image with pixel centres at integers, depth float32
metres along z with 0 for missing, images uint8 RGB. A reader converts at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

# rooms and streets differ in thresholds (margins, voxels, distances), see `scene_settings`
SceneKind = Literal["indoor", "outdoor"]


@dataclass(frozen=True)
class Blob:
    """The bytes of a file, or of one span inside a container such as a ``.sens`` file."""

    path: Path
    offset: int = 0
    length: int | None = None

    def read(self) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(-1 if self.length is None else self.length)


@dataclass(frozen=True)
class ComputedBlob(Blob):
    """A picture made from stored bytes when it is read, such as an undistorted one; ``path`` is where those lie.

    ``compute`` takes the stored bytes and gives an encoded JPEG or PNG, the same bytes each time.
    """

    compute: Callable[[bytes], bytes] = bytes

    def read(self) -> bytes:
        return self.compute(super().read())


@dataclass(frozen=True, eq=False)
class View:
    """One posed photograph.

    Attributes:
        view_id: file stem used in records, unique in the scene, e.g. ``frame_000120``.
        image: encoded picture (JPEG or PNG).
        intrinsics: pinhole matrix in pixels of the stored image, pixel centres at integers.
        world_to_camera: rigid transform, metres, OpenCV axes.
        size: (width, height) in pixels.
        read_depth: returns the depth map in metres along z (0 = missing), or None where the capture has none.
    """

    view_id: str
    image: Blob
    intrinsics: Float64[np.ndarray, "3 3"]
    world_to_camera: Float64[np.ndarray, "4 4"]
    size: tuple[int, int]
    read_depth: Callable[[], Float32[np.ndarray, "height width"]] | None = None

    @property
    def camera_center(self) -> Float64[np.ndarray, "3"]:
        """Camera position in the world, metres."""
        rotation, translation = self.world_to_camera[:3, :3], self.world_to_camera[:3, 3]
        return -rotation.T @ translation


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """An oriented box: ``axes`` holds three unit row vectors, ``extents`` the full side lengths along them, metres."""

    center: Float64[np.ndarray, "3"]
    axes: Float64[np.ndarray, "3 3"]
    extents: Float64[np.ndarray, "3"]

    @property
    def corners(self) -> Float64[np.ndarray, "8 3"]:
        """The eight corners in world coordinates, metres."""
        signs = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
        return self.center + (signs * self.extents) @ self.axes


@dataclass(frozen=True, eq=False)
class Instance:
    """One physical object: ``instance_id`` >= 1 is the id that triangles carry, ``category`` its label."""

    instance_id: int
    category: str
    obb: OrientedBox


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangle surface of the whole scene in world metres; ``triangle_instances`` is 0 on unannotated surface."""

    vertices: Float32[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]
    triangle_instances: Int32[np.ndarray, " triangles"]
    vertex_colors: UInt8[np.ndarray, "vertices 3"] | None = None

    def triangles_of(self, instance_id: int) -> Float[np.ndarray, "triangles 3 3"]:
        """Corner coordinates of the triangles of one instance, metres."""
        return self.vertices[self.triangles[self.triangle_instances == instance_id]]


@dataclass(frozen=True, eq=False)
class Scene:
    """A captured place in metres. ``load_mesh`` is called on first use of ``mesh``, so listing scenes stays cheap.

    Outdoors the mesh holds the surfaces of the annotated boxes and whatever else hides them.
    """

    scene_id: str
    dataset: str
    views: tuple[View, ...]
    instances: Mapping[int, Instance]
    load_mesh: Callable[[], Mesh] = field(repr=False)
    kind: SceneKind = "indoor"

    @cached_property
    def mesh(self) -> Mesh:
        return self.load_mesh()

    def view(self, view_id: str) -> View:
        """The view of that id; raises ``KeyError`` when there is none."""
        for view in self.views:
            if view.view_id == view_id:
                return view
        raise KeyError(f"scene {self.scene_id} has no view {view_id!r}")
