"""Which points of the surface a view sees: in front, in the frame, and at most max(tolerance_m, tolerance_ratio z)
behind the first thing on the way to them (specs 4.3).

Where the four pixels around a point agree, they tell; at rims and on grazing surfaces they do not, and its ray does.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int8

from qa_generation.blocks import Blocks
from qa_generation.compiled import compiled
from qa_generation.overlap import SurfaceSamples
from qa_generation.raycast import NEAR_M, Region
from qa_generation.sight import Sight

# what is asked of a column: nothing, which of its voxels show, or only whether it shows at all
NOTHING, VOXELS, ANY = 0, 1, 2


def visible_points(
    points: Float[np.ndarray, "3 points"], sight: Sight, tolerance_m: float, tolerance_ratio: float
) -> Bool[np.ndarray, " points"]:
    """Whether the view sees each point (world, metres)."""
    everywhere = Blocks.of(np.zeros(points.shape[1], dtype=np.int64), points.T, points.T, points.shape[1])
    own_voxel = np.arange(points.shape[1], dtype=np.int32)
    samples = SurfaceSamples(points, own_voxel, points.shape[1], everywhere)
    return seen(samples, np.full(1, VOXELS, dtype=np.int8), sight, tolerance_m, tolerance_ratio)[0]


def seen(
    samples: SurfaceSamples,
    asked: Int8[np.ndarray, " columns"],
    sight: Sight,
    tolerance_m: float,
    tolerance_ratio: float,
) -> tuple[Bool[np.ndarray, " voxels"], Bool[np.ndarray, " columns"]]:
    """The voxels that hold a visible sample of a column of which ``VOXELS`` are asked, and the columns with a visible
    sample among those of which ``ANY`` is asked."""
    region = Region.frame(sight.size)
    shown = samples.blocks.touching(sight.intrinsics, sight.world_to_camera, region)
    room = int(np.diff(samples.blocks.first)[shown & (asked[samples.blocks.columns] != NOTHING)].sum())
    marks = np.zeros(samples.voxel_count + len(asked), dtype=np.bool_)
    unsure, place = np.empty(room, dtype=np.int64), np.empty((room, 3))
    count = _look(
        samples.points,
        samples.voxels,
        samples.voxel_count,
        samples.blocks.first,
        samples.blocks.columns,
        shown,
        asked,
        np.ascontiguousarray(sight.intrinsics @ sight.world_to_camera[:3]),
        sight.depth_around,
        tolerance_m,
        tolerance_ratio,
        marks,
        unsure,
        place,
    )
    unsure, place = unsure[:count], place[:count]
    left = ~marks[unsure]
    unsure, place = unsure[left], place[left]
    marks[unsure[~sight.hides(place[:, :2], place[:, 2])]] = True
    return marks[: samples.voxel_count], marks[samples.voxel_count :]


@compiled
def _look(
    points: np.ndarray,
    voxels: np.ndarray,
    voxel_count: int,
    first: np.ndarray,
    columns: np.ndarray,
    shown: np.ndarray,
    asked: np.ndarray,
    projection: np.ndarray,
    depth_around: np.ndarray,
    tolerance_m: float,
    tolerance_ratio: float,
    marks: np.ndarray,
    unsure: np.ndarray,
    place: np.ndarray,
) -> int:
    """Marks what is surely seen; what rays must tell fills ``unsure`` (the mark) and ``place`` (x, y, least depth).

    What is marked already is not looked at again.
    """
    height, width = depth_around.shape[1] - 1, depth_around.shape[2] - 1
    count = 0
    for block in range(len(columns)):
        column = columns[block]
        if not shown[block] or asked[column] == NOTHING:
            continue
        for sample in range(first[block], first[block + 1]):
            mark = voxels[sample] if asked[column] == VOXELS else voxel_count + column
            if marks[mark]:
                continue
            px, py, pz = np.float64(points[0, sample]), np.float64(points[1, sample]), np.float64(points[2, sample])
            z = projection[2, 0] * px + projection[2, 1] * py + projection[2, 2] * pz + projection[2, 3]
            if not z > NEAR_M:
                continue
            # pixel centres are at integers, so pixel 0 reaches from 0 to 1 here
            x = (projection[0, 0] * px + projection[0, 1] * py + projection[0, 2] * pz + projection[0, 3]) / z + 0.5
            y = (projection[1, 0] * px + projection[1, 1] * py + projection[1, 2] * pz + projection[1, 3]) / z + 0.5
            if not (0.0 <= x < width and 0.0 <= y < height):
                continue
            row, across = int(y + 0.5), int(x + 0.5)
            least_m = z - max(tolerance_m, tolerance_ratio * z)
            if least_m <= depth_around[0, row, across]:
                marks[mark] = True
            elif least_m <= depth_around[1, row, across]:
                unsure[count] = mark
                place[count, 0], place[count, 1], place[count, 2] = x - 0.5, y - 0.5, least_m
                count += 1
    return count
