"""Annotates one scene: what every view shows of every instance, and how much the views share.

``annotate`` casts one ray per pixel into the whole scene (M, depth), counts each instance's silhouette drawn alone
inside the frame and on the 3 x 3 canvas (A, A+; see ``silhouettes``), and compares what views see (see ``overlap``).
Everything is counted on a pixel grid whose longer side is at most ``max_side``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from qa_generation.errors import InputError, SceneError
from qa_generation.overlap import (
    DepthAround,
    SurfaceSamples,
    overlap_percent,
    sample_instances,
    seen_voxels,
    shown_columns,
)
from qa_generation.pixel_spans import runs_of
from qa_generation.raycast import NEAR_M, RayCaster, Region, pixel_rays, ray_origin, scale_intrinsics, view_rays
from qa_generation.scene import Scene, SceneKind, View
from qa_generation.scene_checks import check_scene
from qa_generation.scene_settings import SETTINGS
from qa_generation.silhouettes import silhouette_counts
from qa_generation.visibility_table import VisibilityTable

MAX_GRID_SIDE = 8192
# how surely a box must lie off the canvas for its instance to be left out; far above rounding
_SLACK_M, _SLACK_PX = 1e-3, 2.0
# cast the rays of a rectangle where they are fewer than so many per triangle
_RAYS_PER_TRIANGLE = 4.0


@dataclass(frozen=True)
class VisibilityConfig:
    """Settings of ``annotate``; the defaults are for indoor scenes.

    Attributes:
        max_side: longer side of the pixel grid, pixels; a smaller stored image is not enlarged.
        voxel_m: edge of the voxels that overlap is counted in, and spacing of the surface samples, metres.
        depth_tolerance_m: a sample this far behind the seen surface still counts as seen, metres ...
        depth_tolerance_ratio: ... or this share of its depth, whichever is larger.
        hidden_silhouettes: count #A and #A+ of instances too that a view shows no pixel of; no question needs them,
            and without them annotation takes about half the time. They are 0 then, and the ratios NaN.
        threads: of the ray caster; 1 keeps results the same whatever else runs.
    """

    max_side: int = 640
    voxel_m: float = 0.02
    depth_tolerance_m: float = 0.05
    depth_tolerance_ratio: float = 0.02
    hidden_silhouettes: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.max_side <= MAX_GRID_SIDE:
            raise InputError(f"visibility max_side is {self.max_side}, expected 1 to {MAX_GRID_SIDE} pixels")
        if not self.voxel_m > 0:
            raise InputError(f"visibility voxel_m is {self.voxel_m}, expected a positive length in metres")
        if not min(self.depth_tolerance_m, self.depth_tolerance_ratio) >= 0:
            raise InputError(
                f"visibility depth_tolerance_m and depth_tolerance_ratio are {self.depth_tolerance_m} and "
                f"{self.depth_tolerance_ratio}, expected 0 or more"
            )

    @classmethod
    def for_questions(cls, kind: SceneKind, max_side: int = 640) -> VisibilityConfig:
        """What questions about rooms or streets need (`scene_settings`)."""
        settings = SETTINGS[kind]
        return cls(
            max_side=max_side,
            voxel_m=settings.voxel_m,
            depth_tolerance_m=settings.depth_tolerance_m,
            hidden_silhouettes=False,
        )


@dataclass(frozen=True, eq=False)
class _Surface:
    """The scene's triangles prepared for annotation; instances are numbered by table column.

    Vertices and triangles of the instances are grouped by column, and no column shares a vertex with another.
    """

    caster: RayCaster
    column_of_triangle: Int32[np.ndarray, " triangles_and_one"]  # -1 for bare surface; the last entry means no hit
    vertices: Float32[np.ndarray, "used 3"]
    triangles: Int64[np.ndarray, "3 instance_triangles"]
    columns: Int64[np.ndarray, " instance_triangles"]
    first_vertex: Int64[np.ndarray, " columns_and_one"]
    first_triangle: Int64[np.ndarray, " columns_and_one"]
    threads: int
    alone: dict[int, RayCaster]

    @classmethod
    def of_scene(cls, scene: Scene, threads: int) -> _Surface:
        mesh, ids = scene.mesh, np.array(sorted(scene.instances), dtype=np.int64)
        column_of_triangle = np.full(len(mesh.triangles) + 1, -1, dtype=np.int32)
        if len(ids):
            place = np.minimum(np.searchsorted(ids, mesh.triangle_instances), len(ids) - 1)
            column_of_triangle[:-1] = np.where(ids[place] == mesh.triangle_instances, place, -1)
        order = np.argsort(column_of_triangle[:-1], kind="stable")
        order = order[np.count_nonzero(column_of_triangle[:-1] < 0) :]
        columns, vertex_count = column_of_triangle[order].astype(np.int64), len(mesh.vertices)
        used, triangles = np.unique(columns[:, None] * vertex_count + mesh.triangles[order], return_inverse=True)
        bounds = np.arange(len(ids) + 1)
        return cls(
            RayCaster.of_mesh(mesh, threads),
            column_of_triangle,
            mesh.vertices[used % vertex_count],
            np.ascontiguousarray(triangles.reshape(-1, 3).T),
            columns,
            np.searchsorted(used, bounds * vertex_count),
            np.searchsorted(columns, bounds),
            threads,
            {},
        )

    @property
    def column_count(self) -> int:
        return len(self.first_triangle) - 1

    def vertices_of(self, column: int) -> slice:
        return slice(self.first_vertex[column], self.first_vertex[column + 1])

    def triangles_of(self, column: int) -> slice:
        return slice(self.first_triangle[column], self.first_triangle[column + 1])

    def caster_of(self, column: int) -> RayCaster:
        """The caster of one instance alone, built on first use."""
        if column not in self.alone:
            triangles = self.triangles[:, self.triangles_of(column)] - self.first_vertex[column]
            self.alone[column] = RayCaster(self.vertices[self.vertices_of(column)], triangles.T, self.threads)
        return self.alone[column]

    @cached_property
    def corners(self) -> Float64[np.ndarray, "columns 8 3"]:
        """Corners of the box around every column, world metres."""
        low = np.minimum.reduceat(self.vertices, self.first_vertex[:-1]).astype(np.float64)
        high = np.maximum.reduceat(self.vertices, self.first_vertex[:-1]).astype(np.float64)
        share = np.array(list(product((0.0, 1.0), repeat=3)))
        return low[:, None] * (1.0 - share) + high[:, None] * share

    def part(
        self, kept: Int64[np.ndarray, " kept"]
    ) -> tuple[
        Float64[np.ndarray, "points 3"], Int64[np.ndarray, "3 part_triangles"], Int64[np.ndarray, " part_triangles"]
    ]:
        """Vertices (world metres), triangles and their columns, of these columns only."""
        points = [np.empty((0, 3), dtype=np.float64)]
        triangles, columns = [np.empty((3, 0), dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        moved = 0
        for column in kept.tolist():
            mine, faces = self.vertices_of(column), self.triangles_of(column)
            points.append(self.vertices[mine])
            triangles.append(self.triangles[:, faces] + (moved - mine.start))
            columns.append(self.columns[faces])
            moved += mine.stop - mine.start
        return np.concatenate(points), np.concatenate(triangles, axis=1), np.concatenate(columns)

    def on_canvas(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        rotation: Float64[np.ndarray, "3 3"],
        origin: Float32[np.ndarray, "3"],
        size: tuple[int, int],
    ) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, "kept 4"]]:
        """Columns of which the 3 x 3 canvas may show a pixel: all but those whose box lies surely off it.

        Second come the frame pixels [x0, y0, x1, y1) that hold all of each; the whole canvas where that is not known.
        """
        if not self.column_count:
            return np.empty(0, dtype=np.int64), np.empty((0, 4), dtype=np.int64)
        box = (self.corners - origin) @ rotation.T
        before, behind = (box[..., 2] > NEAR_M).all(axis=1), (box[..., 2] < NEAR_M - _SLACK_M).all(axis=1)
        pixels = (np.where(before[:, None, None], box, [0.0, 0.0, 1.0]) @ intrinsics.T)[..., :2]
        pixels /= np.where(before[:, None], box[..., 2], 1.0)[..., None]
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        frame = np.array(size)
        off = before & ((high < -frame - _SLACK_PX) | (low > 2 * frame + _SLACK_PX)).any(axis=1)
        kept = np.flatnonzero(~(off | behind))
        whole = [-frame, 2 * frame]
        low = np.where(before[:, None], np.clip(np.floor(low - _SLACK_PX), *whole), -frame)
        high = np.where(before[:, None], np.clip(np.ceil(high + _SLACK_PX), *whole), 2 * frame)
        return kept, np.concatenate([low, high], axis=1)[kept].astype(np.int64)

    def in_frame(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        world_to_camera: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
    ) -> Bool[np.ndarray, " columns"]:
        """Columns whose surface, were it alone, the frame might show."""
        kept, bounds = self.on_canvas(intrinsics, world_to_camera[:3, :3], ray_origin(world_to_camera), size)
        inside = np.zeros(self.column_count, dtype=bool)
        inside[kept] = ((bounds[:, 2:] > 0) & (bounds[:, :2] < np.array(size))).all(axis=1)
        return inside


def annotate(scene: Scene, config: VisibilityConfig | None = None) -> VisibilityTable:
    """The visibility of every instance in every view of the scene, columns in order of instance id.

    What lies within 0.1 m in front of a camera is looked through (``raycast.NEAR_M``). Instance ids of the mesh that
    ``scene.instances`` does not list hide things like bare surface and get no column.

    Raises:
        SceneError: no views, a pose or intrinsics that are no camera, broken mesh arrays,
            an instance without triangles, or a surface too large to be in metres.
    """
    config = config or VisibilityConfig()
    check_scene(scene)
    sizes = [_grid_size(view.size, config.max_side) for view in scene.views]
    surface = _Surface.of_scene(scene, config.threads)
    try:
        samples = sample_instances(surface.vertices[surface.triangles.T], surface.columns, config.voxel_m)
    except SceneError as error:
        raise SceneError(f"scene {scene.scene_id}: {error}") from None
    views = zip(scene.views, sizes, strict=True)
    rows = [_annotate_view(view, size, surface, samples, config) for view, size in views]
    return VisibilityTable(
        scene_id=scene.scene_id,
        view_ids=tuple(view.view_id for view in scene.views),
        instance_ids=tuple(sorted(scene.instances)),
        sizes=np.array(sizes, dtype=np.int32),
        visible_pixels=np.stack([row.visible_pixels for row in rows]).astype(np.int32),
        frame_pixels=np.stack([row.frame_pixels for row in rows]).astype(np.int32),
        canvas_pixels=np.stack([row.canvas_pixels for row in rows]).astype(np.int32),
        boxes=np.stack([row.boxes for row in rows]),
        centroid_depth=np.stack([row.centroid_depth for row in rows]).astype(np.float32),
        median_depth=np.array([row.median_depth for row in rows], dtype=np.float32),
        glimpsed=np.stack([row.glimpsed for row in rows]),
        overlap=overlap_percent(np.stack([row.packed_voxels for row in rows])),
    )


@dataclass(frozen=True, eq=False)
class _ViewRow:
    """One row of the table, and the voxels that the view sees as packed bits."""

    visible_pixels: Int64[np.ndarray, " columns"]
    frame_pixels: Int64[np.ndarray, " columns"]
    canvas_pixels: Int64[np.ndarray, " columns"]
    boxes: Int32[np.ndarray, "columns 4"]
    centroid_depth: Float64[np.ndarray, " columns"]
    median_depth: float
    glimpsed: Bool[np.ndarray, " columns"]
    packed_voxels: UInt8[np.ndarray, " bytes"]


def _annotate_view(
    view: View, size: tuple[int, int], surface: _Surface, samples: SurfaceSamples, config: VisibilityConfig
) -> _ViewRow:
    intrinsics = scale_intrinsics(view.intrinsics, view.size, size)
    depth_m, triangle = surface.caster.first_hits(view_rays(intrinsics, view.world_to_camera, Region.frame(size)))
    winners = surface.column_of_triangle[triangle]
    visible_pixels, boxes, centroid_depth = _seen(winners, depth_m, surface.column_count)
    of = None if config.hidden_silhouettes else visible_pixels > 0
    frame_pixels, canvas_pixels = _silhouettes(surface, view, intrinsics, winners, of)
    depth = DepthAround.of(
        depth_m,
        lambda places: surface.caster.first_hits(pixel_rays(intrinsics, view.world_to_camera, places))[0],
    )
    looked_at = (intrinsics, view.world_to_camera, depth, config.depth_tolerance_m, config.depth_tolerance_ratio)
    voxels = seen_voxels(samples, visible_pixels > 0, *looked_at)
    unseen = surface.in_frame(intrinsics, view.world_to_camera, size) & (visible_pixels == 0)
    glimpsed = shown_columns(samples, unseen, *looked_at)
    hit_m = depth_m[depth_m > 0]
    median_depth = float(np.median(hit_m)) if len(hit_m) else 0.0
    return _ViewRow(
        visible_pixels,
        frame_pixels,
        canvas_pixels,
        boxes,
        centroid_depth,
        median_depth,
        glimpsed,
        np.packbits(voxels),
    )


def _silhouettes(
    surface: _Surface,
    view: View,
    intrinsics: Float64[np.ndarray, "3 3"],
    winners: Int32[np.ndarray, "height width"],
    of: Bool[np.ndarray, " columns"] | None,
) -> tuple[Int64[np.ndarray, " columns"], Int64[np.ndarray, " columns"]]:
    """#A and #A+ of these instances in one view, of all where ``of`` is None."""

    def settle(
        columns: Int64[np.ndarray, " pixels"], pixels: Int64[np.ndarray, "pixels 2"]
    ) -> Bool[np.ndarray, " pixels"]:
        rays = pixel_rays(intrinsics, view.world_to_camera, pixels)
        hit = np.zeros(len(columns), dtype=bool)
        for column in np.unique(columns):
            mine = slice(*np.searchsorted(columns, [column, column + 1]))
            hit[mine] = surface.caster_of(column).hits(rays[mine])
        return hit

    # from the origin the rays really start at, so that projection and rays agree far below the margin
    origin, rotation = ray_origin(view.world_to_camera), view.world_to_camera[:3, :3]
    size = (winners.shape[1], winners.shape[0])
    kept, bounds = surface.on_canvas(intrinsics, rotation, origin, size)
    if of is not None:
        kept, bounds = kept[of[kept]], bounds[of[kept]]
    # an instance of many small triangles is sooner cast than cut into spans
    area = (bounds[:, 2:] - bounds[:, :2]).prod(axis=1)
    cast = area < _RAYS_PER_TRIANGLE * np.diff(surface.first_triangle)[kept]
    points, triangles, columns = surface.part(kept[~cast])
    frame_pixels, canvas_pixels = silhouette_counts(
        (points - origin) @ rotation.T, triangles, columns, surface.column_count, intrinsics, winners, settle
    )
    for column, (x0, y0, x1, y1) in zip(kept[cast].tolist(), bounds[cast].tolist(), strict=True):
        rays = view_rays(intrinsics, view.world_to_camera, Region(x0, y0, x1, y1))
        shown = surface.caster_of(column).hits(rays)
        rows, across = (slice(max(-low, 0), max(end - low, 0)) for low, end in ((y0, size[1]), (x0, size[0])))
        won = winners[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] == column
        inside = shown[rows, across]
        inside |= won
        frame_pixels[column], canvas_pixels[column] = inside.sum(), shown.sum()
    return frame_pixels, canvas_pixels


def _seen(
    winners: Int32[np.ndarray, "height width"], depth_m: Float32[np.ndarray, "height width"], column_count: int
) -> tuple[Int64[np.ndarray, " columns"], Int32[np.ndarray, "columns 4"], Float64[np.ndarray, " columns"]]:
    """#M, its box and its mean depth in metres for every instance."""
    won = winners >= 0
    count = np.bincount(winners[won], minlength=column_count)
    depth_sum = np.bincount(winners[won], weights=depth_m[won], minlength=column_count)
    runs = runs_of(winners)
    x0, y0 = (np.full(column_count, np.iinfo(np.int32).max, dtype=np.int32) for _ in range(2))
    x1, y1 = (np.zeros(column_count, dtype=np.int32) for _ in range(2))
    np.minimum.at(x0, runs.value, runs.start)
    np.minimum.at(y0, runs.value, runs.row)
    np.maximum.at(x1, runs.value, runs.end)
    np.maximum.at(y1, runs.value, runs.row + 1)
    boxes = np.where((count > 0)[:, None], np.stack([x0, y0, x1, y1], axis=-1), np.int32(-1))
    return count, boxes, depth_sum / np.maximum(count, 1)


def _grid_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
