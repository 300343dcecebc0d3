"""What one posed view sees of a scene's surface: by a ray through every pixel centre, and at any place between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from qa_generation.occluders import DOUBTFUL, HIDDEN, settle
from qa_generation.raycast import PixelRays, Region
from qa_generation.scene_surface import Placed, SceneSurface


@dataclass(frozen=True, eq=False)
class Sight:
    """The surface before one camera; made by ``of``.

    Attributes:
        intrinsics: pinhole matrix of the pixel grid.
        world_to_camera: metres, OpenCV axes.
        rays: of the pixels of that grid.
        depth_m: of the first hit of every pixel's ray, 0 = none.
        triangle: of that hit, by number in the scene's mesh, -1 = none.
    """

    surface: SceneSurface
    intrinsics: Float64[np.ndarray, "3 3"]
    world_to_camera: Float64[np.ndarray, "4 4"]
    rays: PixelRays
    depth_m: Float32[np.ndarray, "height width"]
    triangle: Int32[np.ndarray, "height width"]

    @classmethod
    def of(
        cls,
        surface: SceneSurface,
        intrinsics: Float64[np.ndarray, "3 3"],
        world_to_camera: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
    ) -> Sight:
        """Casts the rays of a picture of (width, height)."""
        rays = PixelRays.of(intrinsics, world_to_camera)
        return cls(
            surface, intrinsics, world_to_camera, rays, *surface.caster.first_hits(rays.region(Region.frame(size)))
        )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture, pixels."""
        return self.depth_m.shape[1], self.depth_m.shape[0]

    @cached_property
    def depth_around(self) -> Float32[np.ndarray, "2 rows columns"]:
        """Least and greatest depth at the four pixel centres around each place, metres, infinity for nothing.

        Element [:, j, i] is for places from pixel (i - 1, j - 1) to (i, j), the rim repeating the outermost pixels.
        """
        rim = np.pad(np.where(self.depth_m > 0, self.depth_m, np.float32(np.inf)), 1, mode="edge")
        four = (rim[:-1, :-1], rim[1:, :-1], rim[:-1, 1:], rim[1:, 1:])
        return np.stack([np.minimum.reduce(four), np.maximum.reduce(four)])

    @cached_property
    def blocks(self) -> Bool[np.ndarray, " blocks"]:
        """Blocks of triangles that the picture may show."""
        return self.surface.blocks.touching(self.intrinsics, self.world_to_camera, Region.frame(self.size))

    @cached_property
    def canvas_blocks(self) -> Bool[np.ndarray, " blocks"]:
        """Blocks that the canvas three times as wide and high may show."""
        return self.surface.blocks.touching(self.intrinsics, self.world_to_camera, Region.canvas(self.size))

    def placed(self, blocks: Bool[np.ndarray, " blocks"]) -> Placed:
        """These blocks and those in the picture before the camera, until another view places some."""
        return self.surface.place(blocks | self.blocks, self.intrinsics, self.world_to_camera)

    def hides(
        self, places: Float64[np.ndarray, "places 2"], least_m: Float64[np.ndarray, " places"]
    ) -> Bool[np.ndarray, " places"]:
        """Whether the ray through a pixel place (x, y) meets the surface beyond the near plane before this depth."""
        surface = self.surface
        found = settle(surface, self.blocks, self.placed(self.blocks), self.intrinsics, self.size, places, least_m)
        unsure = np.flatnonzero(found == DOUBTFUL)
        depth_m, _ = surface.caster.first_hits(self.rays.through(places[unsure]))
        hidden = found == HIDDEN
        hidden[unsure] = (depth_m > 0) & (depth_m < least_m[unsure])
        return hidden
