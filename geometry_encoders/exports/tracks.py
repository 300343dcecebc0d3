"""Which pixels of which views see the same point: what structure-from-motion calls tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.result import PointCloud, Reconstruction

SAME_POINT = 0.01  # of the depth: pointmaps of neighbouring views agree to about a percent


@dataclass(frozen=True)
class Tracks:
    """Points and their observations; a point's first observation is the pixel that it comes from.

    Attributes:
        cloud: the points.
        point: number of the point of every observation, ascending.
        view: number of the view of every observation.
        pixels: (column, row) of every observation; no two observations share a view and a pixel.
    """

    cloud: PointCloud
    point: Int[ndarray, " observations"]
    view: Int[ndarray, " observations"]
    pixels: Int[ndarray, "observations 2"]


def find_tracks(result: Reconstruction, min_confidence: float = 0.0, max_points: int = 100_000) -> Tracks:
    """Points above a confidence, each with the pixels of later views whose own point is the same.

    A view observes a point when the point projects into it and the pixel there holds a point within one percent of the
    depth; that pixel then makes no point of its own, so surfaces seen by several views are not doubled. Points behind
    the camera that they were seen in are left out.

    Raises:
        InputError: a reconstruction without cameras.
    """
    if result.camera_to_world is None or result.intrinsics is None:
        raise InputError("the reconstruction has no cameras, expected poses and intrinsics (cameras.with_cameras)")
    cloud = _every(result.point_cloud(min_confidence), 2 * max_points)
    taken = [np.zeros(size, dtype=bool) for size in result.sizes]
    is_first = np.zeros(len(cloud), dtype=bool)
    found: list[tuple[ndarray, ndarray, ndarray]] = []
    for view in range(len(result)):
        mine = np.flatnonzero(cloud.view == view)
        columns, rows = cloud.pixels[mine].T
        mine = mine[~taken[view][rows, columns] & (_in_camera(result, view, cloud.points[mine])[:, 2] > 0)]
        is_first[mine] = True
        found.append((mine, np.full(len(mine), view), cloud.pixels[mine]))
        for other in range(view + 1, len(result)):
            seen, pixels = _observe(result, other, cloud.points[mine], min_confidence, taken[other])
            taken[other][pixels[:, 1], pixels[:, 0]] = True
            found.append((mine[seen], np.full(len(seen), other), pixels))
    point, views, pixels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = _spread(np.flatnonzero(is_first), max_points)
    keep = np.flatnonzero(np.isin(point, kept))
    keep = keep[np.argsort(point[keep], kind="stable")]  # views stay in order, the first one made the point
    return Tracks(_take(cloud, kept), np.searchsorted(kept, point[keep]), views[keep], pixels[keep])


def _spread(numbers: Int[ndarray, " n"], limit: int) -> Int[ndarray, " kept"]:
    if len(numbers) <= limit:
        return numbers
    return numbers[np.linspace(0, len(numbers) - 1, limit).round().astype(int)]


def _take(cloud: PointCloud, numbers: Int[ndarray, " n"]) -> PointCloud:
    return PointCloud(*(getattr(cloud, field)[numbers] for field in PointCloud.__dataclass_fields__))


def _every(cloud: PointCloud, limit: int) -> PointCloud:
    """At most ``limit`` points, evenly spread."""
    return cloud if len(cloud) <= limit else _take(cloud, _spread(np.arange(len(cloud)), limit))


def _in_camera(result: Reconstruction, view: int, points: Float[ndarray, "points 3"]) -> Float[ndarray, "points 3"]:
    assert result.camera_to_world is not None
    pose = result.camera_to_world[view]
    return (points - pose[:3, 3]) @ pose[:3, :3]


def _observe(
    result: Reconstruction,
    view: int,
    points: Float[ndarray, "points 3"],
    min_confidence: float,
    taken: Bool[ndarray, "height width"],
) -> tuple[Int[ndarray, " seen"], Int[ndarray, "seen 2"]]:
    """Which points a view sees in pixels that are not taken, and those pixels; one point per pixel, the nearest."""
    assert result.intrinsics is not None
    height, width = result.sizes[view]
    in_camera = _in_camera(result, view, points)
    depth = in_camera[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        projected = in_camera @ result.intrinsics[view].T / depth[:, None]
        inside = (
            (depth > 0) & (projected[:, :2] > -0.5).all(1) & (projected[:, :2] < (width - 0.5, height - 0.5)).all(1)
        )
    seen = np.flatnonzero(inside)
    columns, rows = np.rint(projected[seen, :2]).astype(int).T
    distance = np.linalg.norm(result.pointmaps[view][rows, columns] - points[seen], axis=1)
    free = (result.confidence[view][rows, columns] > max(min_confidence, 0)) & ~taken[rows, columns]
    same = np.flatnonzero(free & (distance < SAME_POINT * depth[seen]))
    best = same[np.argsort(distance[same], kind="stable")]
    best = np.sort(best[np.unique(rows[best] * width + columns[best], return_index=True)[1]])
    return seen[best], np.stack([columns, rows], axis=1)[best]
