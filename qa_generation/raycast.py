"""First hits of the rays through pixel centres with a triangle surface: a thin layer over Open3D's Embree caster.

Rays start at the camera centre and have camera z component 1, so the ray parameter of a hit is its depth along z in
metres. One convention for the near plane holds everywhere: what lies at z <= ``NEAR_M`` is looked through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32

from qa_generation.open3d_native import open3d
from qa_generation.scene import Mesh

NEAR_M = 0.1  # nothing nearer than this counts as in front of a camera (specs 4.2)


@dataclass(frozen=True)
class Region:
    """A rectangle of pixels, ``x1`` and ``y1`` exclusive; it may reach beyond the picture."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def frame(cls, size: tuple[int, int]) -> Region:
        """All pixels of a picture of (width, height)."""
        return cls(0, 0, size[0], size[1])

    @classmethod
    def canvas(cls, size: tuple[int, int]) -> Region:
        """The canvas three times as wide and high, with the picture in its middle."""
        width, height = size
        return cls(-width, -height, 2 * width, 2 * height)


def scale_intrinsics(
    intrinsics: Float64[np.ndarray, "3 3"], from_size: tuple[int, int], to_size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """The pinhole matrix after resizing the picture; pixel centres at integers, so corners at -0.5 stay in place."""
    scale_x, scale_y = to_size[0] / from_size[0], to_size[1] / from_size[1]
    # to corner-based coordinates, scale, and back
    resize = np.array([[scale_x, 0, 0.5 * scale_x - 0.5], [0, scale_y, 0.5 * scale_y - 0.5], [0, 0, 1.0]])
    return resize @ intrinsics


def ray_origin(world_to_camera: Float64[np.ndarray, "4 4"]) -> Float32[np.ndarray, "3"]:
    """The camera centre in world metres as the rays carry it, that is rounded to float32."""
    return np.linalg.inv(world_to_camera)[:3, 3].astype(np.float32)


@dataclass(frozen=True, eq=False)
class PixelRays:
    """The rays of one camera: origin (world, metres), and the matrix from pixels (x, y, 1) to world directions."""

    origin: Float32[np.ndarray, "3"]
    to_world: Float64[np.ndarray, "3 3"]

    @classmethod
    def of(cls, intrinsics: Float64[np.ndarray, "3 3"], world_to_camera: Float64[np.ndarray, "4 4"]) -> Self:
        """The rays of a pinhole camera."""
        # the inverse, not the transpose: a rotation read from text is rounded, and ray and projection must agree
        return cls(ray_origin(world_to_camera), np.linalg.inv(intrinsics @ world_to_camera[:3, :3]))

    def region(self, region: Region) -> Float32[np.ndarray, "height width 6"]:
        """Origin and direction of the ray through every pixel centre of ``region``, top row first."""
        across = np.arange(region.x0, region.x1, dtype=np.float64)[:, None] * self.to_world[:, 0]
        down = np.arange(region.y0, region.y1, dtype=np.float64)[:, None] * self.to_world[:, 1] + self.to_world[:, 2]
        rays = np.empty((len(down), len(across), 6), dtype=np.float32)
        rays[..., :3] = self.origin
        rays[..., 3:] = across[None] + down[:, None]
        return rays

    def through(
        self, pixels: Int[np.ndarray, "pixels 2"] | Float64[np.ndarray, "pixels 2"]
    ) -> Float32[np.ndarray, "pixels 6"]:
        """The rays through the named (x, y) pixels, bit for bit those of ``region``, or through places between them."""
        x, y = pixels[:, :1].astype(np.float64), pixels[:, 1:].astype(np.float64)
        rays = np.empty((len(pixels), 6), dtype=np.float32)
        rays[:, :3] = self.origin
        rays[:, 3:] = x * self.to_world[:, 0] + (y * self.to_world[:, 1] + self.to_world[:, 2])
        return rays


def view_rays(
    intrinsics: Float64[np.ndarray, "3 3"], world_to_camera: Float64[np.ndarray, "4 4"], region: Region
) -> Float32[np.ndarray, "height width 6"]:
    """Origin (world, metres) and direction of the ray through every pixel centre of ``region``, top row first."""
    return PixelRays.of(intrinsics, world_to_camera).region(region)


def pixel_rays(
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    pixels: Int[np.ndarray, "pixels 2"] | Float64[np.ndarray, "pixels 2"],
) -> Float32[np.ndarray, "pixels 6"]:
    """The rays through the named (x, y) pixels, bit for bit those of ``view_rays``, or through places between them."""
    return PixelRays.of(intrinsics, world_to_camera).through(pixels)


class Nearest(NamedTuple):
    """The nearest hit of every ray: ray parameter (infinity = none), triangle (-1 = none), place in the triangle."""

    distance: Float32[np.ndarray, "*shape"]
    triangle: Int32[np.ndarray, "*shape"]
    uv: Float32[np.ndarray, "*shape 2"]


class RayCaster:
    """A triangle surface with its search tree. ``threads=1`` keeps tree and answers the same on every machine load."""

    def __init__(
        self,
        vertices: Float32[np.ndarray, "vertices 3"],
        triangles: Int32[np.ndarray, "triangles 3"],
        threads: int = 1,
    ) -> None:
        self.threads = threads
        self._scene = open3d().t.geometry.RaycastingScene(nthreads=threads)
        self._tensor = open3d().core.Tensor.from_numpy
        self._scene.add_triangles(
            self._tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
            self._tensor(np.ascontiguousarray(triangles, dtype=np.uint32)),
        )

    @classmethod
    def of_mesh(cls, mesh: Mesh, threads: int = 1) -> Self:
        """The caster of a whole scene's surface."""
        return cls(mesh.vertices, mesh.triangles, threads)

    def nearest(self, rays: Float32[np.ndarray, "*shape 6"]) -> Nearest:
        """What each ray meets first, however near it is."""
        answer = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays)), nthreads=self.threads)
        # Open3D's mark for no hit is the largest uint32, which is -1 when read as int32
        triangle = answer["primitive_ids"].numpy().view(np.int32)
        return Nearest(answer["t_hit"].numpy(), triangle, answer["primitive_uvs"].numpy())

    def blocked(
        self, rays: Float32[np.ndarray, "*shape 6"], far: float, near: float = 0.0
    ) -> Bool[np.ndarray, "*shape"]:
        """Whether each ray meets the surface at a ray parameter between ``near`` and ``far``."""
        tensor = self._tensor(np.ascontiguousarray(rays))
        return self._scene.test_occlusions(tensor, tnear=near, tfar=far, nthreads=self.threads).numpy()

    def distance(self, points: Float32[np.ndarray, "points 3"]) -> Float32[np.ndarray, " points"]:
        """Euclidean distance of each point to the nearest place of the surface, metres."""
        query = self._tensor(np.ascontiguousarray(points, dtype=np.float32))
        return self._scene.compute_distance(query, nthreads=self.threads).numpy()

    def first_hits(
        self, rays: Float32[np.ndarray, "*shape 6"], near_m: float = NEAR_M
    ) -> tuple[Float32[np.ndarray, "*shape"], Int32[np.ndarray, "*shape"]]:
        """Depth of the first hit beyond ``near_m`` (metres along z, 0 = none) and its triangle (-1 = none)."""
        depth_m, triangle = self._depth(rays)
        near = (triangle >= 0) & (depth_m <= near_m)
        if near.any():  # rare: look again from the near plane on
            moved = rays[near]
            moved[:, :3] += np.float32(near_m) * moved[:, 3:]
            beyond_m, triangle[near] = self._depth(moved)
            depth_m[near] = np.where(triangle[near] >= 0, beyond_m + np.float32(near_m), 0)
        return depth_m, triangle

    def hits(self, rays: Float32[np.ndarray, "*shape 6"], near_m: float = NEAR_M) -> Bool[np.ndarray, "*shape"]:
        """Whether each ray meets the surface anywhere beyond ``near_m``."""
        return self.blocked(rays, np.inf, near_m)

    def _depth(
        self, rays: Float32[np.ndarray, "*shape 6"]
    ) -> tuple[Float32[np.ndarray, "*shape"], Int32[np.ndarray, "*shape"]]:
        distance, triangle, _ = self.nearest(rays)
        return np.where(triangle >= 0, distance, np.float32(0)), triangle
