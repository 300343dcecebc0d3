"""A scene's triangles prepared for annotation: ray casters, and blocks that a view leaves out or places."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from qa_generation.blocks import Blocks, z_order
from qa_generation.compiled import compiled
from qa_generation.ranks import ranked
from qa_generation.raycast import NEAR_M, RayCaster, ray_origin
from qa_generation.scene import Scene

_BLOCK = 64  # triangles; fewer cost more boxes to look at, more reach farther off the picture
# vertices down to here have a place in the picture, so that what hits near the near plane has one too
FRONT_M = NEAR_M - 1e-3
Matrix = tuple[float, float, float, float, float, float, float, float, float]  # three rows, for compiled functions


def in_row_order(matrix: Float64[np.ndarray, "3 3"]) -> Matrix:
    """The nine numbers of a matrix, row by row."""
    a, b, c, d, e, f, g, h, i = matrix.astype(np.float64).ravel().tolist()
    return a, b, c, d, e, f, g, h, i


@dataclass(eq=False)
class Placed:
    """Blocks of triangles before a camera.

    Attributes:
        camera_key: tells which camera.
        shown: the blocks that were placed; entries of others have no meaning.
        camera: vertices in camera axes, metres.
        pixels: their places in the frame where z > ``FRONT_M``, pixel centres at integers.
        nearest_m: least z of a block.
        rects: [x0, y0, x1, y1] in pixels around the part of a block with z > ``FRONT_M``; x1 < x0 where there is none.
    """

    camera_key: tuple[bytes, bytes] | None
    shown: Bool[np.ndarray, " blocks"]
    camera: Float64[np.ndarray, "vertices 3"]
    pixels: Float64[np.ndarray, "vertices 2"]
    nearest_m: Float64[np.ndarray, " blocks"]
    rects: Float64[np.ndarray, "blocks 4"]

    @classmethod
    def room(cls, vertices: int, blocks: int) -> Placed:
        """Arrays of these sizes, not yet filled."""
        nothing = np.zeros(blocks, dtype=bool)
        return cls(
            None, nothing, np.empty((vertices, 3)), np.empty((vertices, 2)), np.empty(blocks), np.empty((blocks, 4))
        )


@dataclass(frozen=True, eq=False)
class SceneSurface:
    """All triangles, grouped by column and then by place. Instances are numbered by table column, bare surface is -1.

    Attributes:
        caster: of the whole surface.
        column_of_triangle: by number in the scene's mesh; the last entry, reached by -1, is -1 too.
        vertices: world metres; those of a block stand together, so neighbouring blocks have some twice.
        triangles: three vertices each.
        blocks: of the triangles.
        first_vertex: of every block, and at the end the number of vertices.
        first_block: of every column, and at the end the number of blocks.
    """

    caster: RayCaster
    column_of_triangle: Int32[np.ndarray, " mesh_triangles_and_one"]
    vertices: Float32[np.ndarray, "vertices 3"]
    triangles: Int32[np.ndarray, "triangles 3"]
    blocks: Blocks
    first_vertex: Int64[np.ndarray, " blocks_and_one"]
    first_block: Int64[np.ndarray, " columns_and_one"]
    threads: int
    _placed: Placed
    _alone: dict[int, RayCaster] = field(default_factory=dict)

    @classmethod
    def of_scene(cls, scene: Scene, threads: int = 1) -> SceneSurface:
        """Columns are the scene's instances in order of id; other ids of the mesh count as bare surface."""
        mesh, ids = scene.mesh, np.array(sorted(scene.instances), dtype=np.int64)
        column_of_triangle = np.full(len(mesh.triangles) + 1, -1, dtype=np.int32)
        if len(ids):
            place = np.minimum(np.searchsorted(ids, mesh.triangle_instances), len(ids) - 1)
            column_of_triangle[:-1] = np.where(ids[place] == mesh.triangle_instances, place, -1)
        corners = mesh.vertices[mesh.triangles]
        near_order = z_order(corners.sum(axis=1))
        order = np.argsort(((column_of_triangle[:-1].astype(np.int64) + 1) << 30) | near_order, kind="stable")
        columns, corners = column_of_triangle[order].astype(np.int64), corners[order]
        blocks = Blocks.of(columns, corners.min(axis=1), corners.max(axis=1), _BLOCK)
        block = np.repeat(np.arange(len(blocks.columns)), np.diff(blocks.first))
        keys = block[:, None] * len(mesh.vertices) + mesh.triangles[order]
        triangles, used = ranked(keys.ravel())
        vertices = np.empty((used, 3), dtype=np.float32)
        vertices[triangles] = corners.reshape(-1, 3)
        return cls(
            RayCaster.of_mesh(mesh, threads),
            column_of_triangle,
            vertices,
            triangles.reshape(-1, 3),
            blocks,
            # ranks rise from block to block
            np.append(np.minimum.reduceat(triangles, 3 * blocks.first[:-1]).astype(np.int64), used),
            np.searchsorted(blocks.columns, np.arange(len(ids) + 1)),
            threads,
            Placed.room(used, len(blocks.columns)),
        )

    @property
    def column_count(self) -> int:
        return len(self.first_block) - 1

    @property
    def instance_corners(self) -> Float32[np.ndarray, "instance_triangles 3 3"]:
        """Corners of the triangles of all instances, world metres, grouped by column."""
        return self.vertices[self.triangles[self.blocks.first[self.first_block[0]] :]]

    @property
    def instance_columns(self) -> Int64[np.ndarray, " instance_triangles"]:
        """Column of each of these triangles."""
        first = self.first_block[0]
        return np.repeat(self.blocks.columns[first:], np.diff(self.blocks.first[first:]))

    def caster_of(self, column: int) -> RayCaster:
        """The caster of one instance alone, built on first use."""
        if column not in self._alone:
            first, last = self.blocks.first[self.first_block[column : column + 2]]
            mine = self.triangles[first:last]
            low, high = mine.min(), mine.max()
            self._alone[column] = RayCaster(self.vertices[low : high + 1], mine - low, self.threads)
        return self._alone[column]

    def place(
        self,
        shown: Bool[np.ndarray, " blocks"],
        intrinsics: Float64[np.ndarray, "3 3"],
        world_to_camera: Float64[np.ndarray, "4 4"],
    ) -> Placed:
        """These blocks before a camera, in arrays that the next call fills again; a camera placed last is not again."""
        camera_key = (intrinsics.tobytes(), world_to_camera.tobytes())
        if self._placed.camera_key == camera_key and not (shown & ~self._placed.shown).any():
            return self._placed
        self._placed.camera_key, self._placed.shown = camera_key, shown
        # from the origin the rays really start at, so that projection and rays agree far below any margin
        origin = ray_origin(world_to_camera)
        _place(
            self.vertices,
            self.first_vertex,
            self.triangles,
            self.blocks.first,
            shown,
            (float(origin[0]), float(origin[1]), float(origin[2])),
            in_row_order(world_to_camera[:3, :3]),
            in_row_order(intrinsics),
            self._placed.camera,
            self._placed.pixels,
            self._placed.nearest_m,
            self._placed.rects,
        )
        return self._placed


@compiled
def _place(
    vertices: np.ndarray,
    first_vertex: np.ndarray,
    triangles: np.ndarray,
    first_triangle: np.ndarray,
    shown: np.ndarray,
    origin: tuple[float, float, float],
    rotation: Matrix,
    intrinsics: Matrix,
    camera: np.ndarray,
    pixels: np.ndarray,
    nearest_m: np.ndarray,
    rects: np.ndarray,
) -> None:
    for block in range(len(shown)):
        if not shown[block]:
            continue
        nearest, x0, y0, x1, y1 = math.inf, math.inf, math.inf, -math.inf, -math.inf
        for vertex in range(first_vertex[block], first_vertex[block + 1]):
            wx, wy, wz = (
                vertices[vertex, 0] - origin[0],
                vertices[vertex, 1] - origin[1],
                vertices[vertex, 2] - origin[2],
            )
            x = rotation[0] * wx + rotation[1] * wy + rotation[2] * wz
            y = rotation[3] * wx + rotation[4] * wy + rotation[5] * wz
            z = rotation[6] * wx + rotation[7] * wy + rotation[8] * wz
            camera[vertex, 0], camera[vertex, 1], camera[vertex, 2] = x, y, z
            nearest = min(nearest, z)
            if z > FRONT_M:
                u, v = project(x, y, z, intrinsics)
                pixels[vertex, 0], pixels[vertex, 1] = u, v
                x0, y0, x1, y1 = min(x0, u), min(y0, v), max(x1, u), max(y1, v)
        if nearest <= FRONT_M and x0 <= x1:
            for triangle in range(first_triangle[block], first_triangle[block + 1]):
                a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
                left, top, right, bottom = bounds_in_front(camera, a, b, c, intrinsics)
                x0, y0, x1, y1 = min(x0, left), min(y0, top), max(x1, right), max(y1, bottom)
        nearest_m[block] = nearest
        rects[block, 0], rects[block, 1], rects[block, 2], rects[block, 3] = x0, y0, x1, y1


@compiled
def bounds_in_front(
    camera: np.ndarray, a: int, b: int, c: int, intrinsics: Matrix
) -> tuple[float, float, float, float]:
    """[x0, y0, x1, y1] in pixels of the part of a triangle beyond ``FRONT_M``."""
    x0, y0, x1, y1 = math.inf, math.inf, -math.inf, -math.inf
    for start, end in ((a, b), (b, c), (c, a)):
        for share in (0.0, (FRONT_M - camera[start, 2]) / (camera[end, 2] - camera[start, 2])):
            if not 0.0 <= share <= 1.0:
                continue
            x = camera[start, 0] + share * (camera[end, 0] - camera[start, 0])
            y = camera[start, 1] + share * (camera[end, 1] - camera[start, 1])
            z = camera[start, 2] + share * (camera[end, 2] - camera[start, 2])
            if share == 0.0 and z <= FRONT_M:
                continue
            u, v = project(x, y, z, intrinsics)
            x0, y0, x1, y1 = min(x0, u), min(y0, v), max(x1, u), max(y1, v)
    return x0, y0, x1, y1


@compiled
def project(x: float, y: float, z: float, intrinsics: Matrix) -> tuple[float, float]:
    return (
        (intrinsics[0] * x + intrinsics[1] * y + intrinsics[2] * z) / z,
        (intrinsics[3] * x + intrinsics[4] * y + intrinsics[5] * z) / z,
    )
