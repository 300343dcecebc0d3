"""What one view shows of every instance, from jittered rays between the pixel centres.

The generator counts pixels whose centre ray meets an instance. Here every pixel of the same grid is cut into
``samples`` x ``samples`` cells and one ray goes through a random place of each cell. The rays of one cell number make a
*phase*: a count on a grid of the same density that lies elsewhere. How much the phases differ tells how much a count
depends on where the grid happens to lie, which is the sampling tolerance of everything decided by counting. The pixel
centres are the last phase: they may widen a range, so that no mere matter of sampling is called a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy import ndimage

from qa_generation.open3d_native import open3d
from qa_generation.oracle.rules import NEAR_M
from qa_generation.scene import View

SIGMAS = 3.0


class Surface:
    """Triangles in Open3D's ray caster, one thread."""

    def __init__(
        self, vertices: Float32[np.ndarray, "vertices 3"], triangles: Int32[np.ndarray, "triangles 3"]
    ) -> None:
        self._scene = open3d().t.geometry.RaycastingScene(nthreads=1)
        self._tensor = open3d().core.Tensor.from_numpy
        self._scene.add_triangles(
            self._tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
            self._tensor(np.ascontiguousarray(triangles, dtype=np.uint32)),
        )

    def first(
        self, rays: Float32[np.ndarray, "*shape 6"]
    ) -> tuple[Float32[np.ndarray, "*shape"], Int32[np.ndarray, "*shape"]]:
        """Ray parameter of the first hit (infinity = none) and its triangle (-1 = none)."""
        answer = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays)), nthreads=1)
        return answer["t_hit"].numpy(), answer["primitive_ids"].numpy().view(np.int32)

    def distance_m(self, points: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, " points"]:
        """Distance of every point to the nearest point of the triangles."""
        found = self._scene.compute_distance(self._tensor(np.ascontiguousarray(points, dtype=np.float32)), nthreads=1)
        return found.numpy().astype(np.float64)


@dataclass(frozen=True, eq=False)
class Lens:
    """A view's pinhole in coordinates of a grid over its picture: x right, y down, (0, 0) the upper left corner."""

    view: View
    grid: tuple[int, int]

    def rays(self, places: Float64[np.ndarray, "rays 2"]) -> Float32[np.ndarray, "rays 6"]:
        """Rays through places of the grid that start at the near plane; their parameter is depth - NEAR_M."""
        to_world, origin = self._to_world
        directions = places @ to_world[:, :2].T + to_world[:, 2]
        rays = np.empty((len(places), 6), dtype=np.float32)
        rays[:, :3] = origin + NEAR_M * directions
        rays[:, 3:] = directions
        return rays

    @cached_property
    def _to_world(self) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
        """(x, y, 1) on the grid to a world direction of depth 1, and the camera centre."""
        across, down = np.array(self.view.size) / np.array(self.grid)
        # pixel centres of the picture are at integers
        to_pixels = np.array([[across, 0.0, -0.5], [0.0, down, -0.5], [0.0, 0.0, 1.0]])
        rotation, translation = self.view.world_to_camera[:3, :3], self.view.world_to_camera[:3, 3]
        to_camera = np.linalg.solve(self.view.intrinsics, to_pixels)
        return np.linalg.solve(rotation, to_camera), np.linalg.solve(rotation, -translation)

    def camera(self, points: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 3"]:
        """World points in camera coordinates, metres."""
        return points @ self.view.world_to_camera[:3, :3].T + self.view.world_to_camera[:3, 3]

    def places(self, camera_points: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 2"]:
        """Where points in front of the camera fall on the grid."""
        pixels = camera_points[:, :2] @ self.view.intrinsics[:2, :2].T / camera_points[:, 2:]
        return (pixels + self.view.intrinsics[:2, 2] + 0.5) * (np.array(self.grid) / np.array(self.view.size))


@dataclass(frozen=True, eq=False)
class Sight:
    """Pixels and boxes of every instance (column) in every phase.

    Attributes:
        counts: pixels.
        boxes: [x0, y0, x1, y1] in grid pixels, x1 and y1 exclusive; NaN where the phase shows nothing.
    """

    lens: Lens
    counts: Int64[np.ndarray, "phases columns"]
    boxes: Float64[np.ndarray, "phases columns 4"]

    def pixels(self, column: int) -> tuple[float, float, float]:
        """Least, mean and largest number of pixels that a grid of this density may count."""
        counts = self.counts[:, column].astype(np.float64)
        if not counts.any():
            return 0.0, 0.0, 0.0
        mean, reach = counts[:-1].mean(), SIGMAS * counts[:-1].std(ddof=1)
        return max(0.0, min(counts.min(), mean - reach)), float(mean), max(counts.max(), mean + reach)


def look(
    surface: Surface,
    column_of_triangle: Int32[np.ndarray, " triangles_and_one"],
    columns: int,
    lens: Lens,
    samples: int,
    rng: np.random.Generator,
) -> Sight:
    """Casts ``samples`` squared jittered phases of one ray per grid pixel, and one of the pixel centres.

    Args:
        column_of_triangle: -1 for what is no instance; the last entry stands for no hit.
        columns: number of instances.
    """
    width, height = lens.grid
    corner = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2).astype(np.float64)
    counts, boxes = [], []
    for phase in range(samples * samples + 1):
        cell = np.array([phase % samples, phase // samples])
        jittered = (cell + rng.random(corner.shape)) / samples
        places = corner + (jittered if phase < samples * samples else 0.5)
        winners = column_of_triangle[surface.first(lens.rays(places))[1]]
        counts.append(np.bincount(winners[winners >= 0], minlength=columns))
        boxes.append(_boxes(winners.reshape(height, width), columns))
    return Sight(lens, np.stack(counts), np.stack(boxes))


def _boxes(winners: Int32[np.ndarray, "height width"], columns: int) -> Float64[np.ndarray, "columns 4"]:
    boxes = np.full((columns, 4), np.nan)
    for column, found in enumerate(ndimage.find_objects(winners + 1, max_label=columns)):
        if found is not None:
            rows, across = found
            boxes[column] = across.start, rows.start, across.stop, rows.stop
    return boxes
