"""Neighbouring points or triangles in blocks with a box around each, so that a view leaves out whole blocks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from qa_generation.compiled import compiled
from qa_generation.raycast import NEAR_M, Region

# how surely a box must lie off the picture to be left out; far above rounding
_SLACK_M, _SLACK_PX = 1e-3, 2.0


@dataclass(frozen=True, eq=False)
class Blocks:
    """Consecutive items of one column each.

    Attributes:
        first: first item of every block, and at the end the number of items.
        columns: instance (table column) that all items of a block belong to.
        center, half: middle and half sides of the box around a block, world metres.
    """

    first: Int64[np.ndarray, " blocks_and_one"]
    columns: Int64[np.ndarray, " blocks"]
    center: Float64[np.ndarray, "blocks 3"]
    half: Float64[np.ndarray, "blocks 3"]

    @classmethod
    def of(
        cls,
        columns: Int[np.ndarray, " items"],
        low: Float[np.ndarray, "items 3"],
        high: Float[np.ndarray, "items 3"],
        size: int,
    ) -> Blocks:
        """Blocks of at most ``size`` items, which are sorted by column; ``low`` and ``high`` bound each item."""
        if not len(columns):
            nowhere = np.empty((0, 3))
            return cls(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), nowhere, nowhere)
        run = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
        in_run = np.arange(len(columns)) - np.repeat(run, np.diff(run, append=len(columns)))
        first = np.flatnonzero(in_run % size == 0)
        least = np.minimum.reduceat(low, first).astype(np.float64)
        greatest = np.maximum.reduceat(high, first).astype(np.float64)
        return cls(
            np.append(first, len(columns)),
            columns[first].astype(np.int64),
            0.5 * (least + greatest),
            0.5 * (greatest - least),
        )

    def touching(
        self, intrinsics: Float64[np.ndarray, "3 3"], world_to_camera: Float64[np.ndarray, "4 4"], region: Region
    ) -> Bool[np.ndarray, " blocks"]:
        """All but those of which no pixel in ``region`` can surely show anything beyond the near plane."""
        touched = np.empty(len(self.columns), dtype=np.bool_)
        _touch(self.center, self.half, _planes(intrinsics, world_to_camera, region), touched)
        return touched


def z_order(points: Float[np.ndarray, "points 3"]) -> Int64[np.ndarray, " points"]:
    """Place of every point along a Z-order curve of 30 bits: what is near in space is mostly near in this order too."""
    if not len(points):
        return np.empty(0, dtype=np.int64)
    low = points.min(axis=0)
    extent = max(float((points.max(axis=0) - low).max()), 1e-9)
    cells = ((points - low) * (1023.0 / extent)).astype(np.int64)
    for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
        cells = (cells | (cells << shift)) & mask  # moves bits apart until two free ones lie between neighbours
    return cells[:, 0] | (cells[:, 1] << 1) | (cells[:, 2] << 2)


def _planes(
    intrinsics: Float64[np.ndarray, "3 3"], world_to_camera: Float64[np.ndarray, "4 4"], region: Region
) -> Float64[np.ndarray, "5 4"]:
    """What the region shows is positive for each plane [normal, offset]: in front, and within its four borders."""
    x, y, z = intrinsics @ world_to_camera[:3]
    near = z - np.array([0.0, 0.0, 0.0, NEAR_M - _SLACK_M])
    left, top = region.x0 - 0.5 - _SLACK_PX, region.y0 - 0.5 - _SLACK_PX
    right, bottom = region.x1 - 0.5 + _SLACK_PX, region.y1 - 0.5 + _SLACK_PX
    return np.stack([near, x - left * z, right * z - x, y - top * z, bottom * z - y])


@compiled
def _touch(center: np.ndarray, half: np.ndarray, planes: np.ndarray, touched: np.ndarray) -> None:
    for block in range(len(center)):
        touched[block] = True
        for plane in range(5):
            most = planes[plane, 3]
            for axis in range(3):
                normal = planes[plane, axis]
                most += normal * center[block, axis] + abs(normal) * half[block, axis]
            if not most > 0.0:
                touched[block] = False
                break
