"""Annotates one scene: what every view shows of every instance, and how much the views share.

``annotate`` casts one ray per pixel into the whole scene (M, depth), counts each instance's silhouette drawn alone
inside the frame and on the 3 x 3 canvas (A, A+; see ``silhouettes``), and compares what views see (see ``overlap``).
Everything is counted on a pixel grid whose longer side is at most ``max_side``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8

from qa_generation.compiled import compiled
from qa_generation.errors import InputError, SceneError
from qa_generation.overlap import SurfaceSamples, overlap_percent, sample_instances
from qa_generation.raycast import scale_intrinsics
from qa_generation.scene import Scene, SceneKind, View
from qa_generation.scene_checks import check_scene
from qa_generation.scene_settings import SETTINGS
from qa_generation.scene_surface import SceneSurface
from qa_generation.sight import Sight
from qa_generation.silhouettes import silhouette_counts
from qa_generation.visibility_table import VisibilityTable
from qa_generation.visible_points import ANY, VOXELS, seen

MAX_GRID_SIDE = 8192


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
    surface = SceneSurface.of_scene(scene, config.threads)
    try:
        samples = sample_instances(surface.instance_corners, surface.instance_columns, config.voxel_m)
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
    view: View, size: tuple[int, int], surface: SceneSurface, samples: SurfaceSamples, config: VisibilityConfig
) -> _ViewRow:
    sight = Sight.of(surface, scale_intrinsics(view.intrinsics, view.size, size), view.world_to_camera, size)
    winners = surface.column_of_triangle[sight.triangle]
    visible_pixels, boxes, centroid_depth = _won(winners, sight.depth_m, surface.column_count)
    won = visible_pixels > 0
    frame_pixels, canvas_pixels = silhouette_counts(sight, winners, won | config.hidden_silhouettes)
    asked = np.where(won, VOXELS, ANY).astype(np.int8)
    voxels, glimpsed = seen(samples, asked, sight, config.depth_tolerance_m, config.depth_tolerance_ratio)
    hit_m = sight.depth_m[sight.depth_m > 0]
    return _ViewRow(
        visible_pixels,
        frame_pixels,
        canvas_pixels,
        boxes,
        centroid_depth,
        float(np.median(hit_m)) if len(hit_m) else 0.0,
        glimpsed,
        np.packbits(voxels),
    )


def _won(
    winners: Int32[np.ndarray, "height width"], depth_m: Float32[np.ndarray, "height width"], column_count: int
) -> tuple[Int64[np.ndarray, " columns"], Int32[np.ndarray, "columns 4"], Float64[np.ndarray, " columns"]]:
    """#M, its box and its mean depth in metres for every instance."""
    count, depth_sum = np.zeros(column_count, dtype=np.int64), np.zeros(column_count)
    boxes = np.full((column_count, 4), -1, dtype=np.int32)
    _add_up(winners, depth_m, count, boxes, depth_sum)
    return count, boxes, depth_sum / np.maximum(count, 1)


@compiled
def _add_up(
    winners: np.ndarray, depth_m: np.ndarray, count: np.ndarray, boxes: np.ndarray, depth_sum: np.ndarray
) -> None:
    height, width = winners.shape
    for y in range(height):
        for x in range(width):
            column = winners[y, x]
            if column < 0:
                continue
            if count[column] == 0:
                boxes[column, 0], boxes[column, 1] = x, y
            boxes[column, 0] = min(boxes[column, 0], x)
            boxes[column, 2], boxes[column, 3] = max(boxes[column, 2], x + 1), y + 1
            count[column] += 1
            depth_sum[column] += depth_m[y, x]


def _grid_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
