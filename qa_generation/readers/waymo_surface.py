"""Surface from laser scans: what hides the annotated boxes outdoors.

Neighbouring pixels of a range image are joined to triangles where their ranges tell of one surface. Where they do not,
each return becomes a small plate as large as its pixel, across its beam, so that thin things and edges hide things too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from qa_generation.readers.waymo_boxes import inside_any
from qa_generation.readers.waymo_lidar import Scan
from qa_generation.scene import OrientedBox

# neighbours whose ranges differ by more than this many times their distance from each other are two surfaces: on one
# surface it would mean a view along it at less than four degrees
MAX_SLOPE = 14.0
MAX_STEP_M = 2.0
# what varies less than this is one surface however near it is
MIN_STEP_M = 0.05
# a second return this near the first one tells nothing more
SAME_RETURN_M = 0.2
# returns this little outside of a box are taken for the object's own: boxes are drawn by hand
BOX_MARGIN_M = 0.1
# the car itself, in its own frame: what the lasers see of it hides nothing
_CAR_LOW, _CAR_HIGH = np.array([-1.5, -1.2, 0.3]), np.array([4.3, 1.2, 2.6])


@dataclass(frozen=True, eq=False)
class Surface:
    """Bare triangles in world metres."""

    vertices: Float[np.ndarray, "vertices 3"]
    triangles: Int64[np.ndarray, "triangles 3"]


def scan_surface(
    scans: Iterable[Scan], world_from_vehicle: Float64[np.ndarray, "4 4"], boxes: Sequence[OrientedBox]
) -> Surface:
    """The surface that the scans of one timestamp tell of, without what lies in the boxes (world metres)."""
    pieces: list[Surface] = []
    for scan in scans:
        first, *others = [_keep(scan, image, world_from_vehicle, boxes) for image in scan.ranges_m]
        triangles = _join(scan, first)
        pieces.append(_placed(scan, first, triangles, world_from_vehicle))
        # a pixel inside one surface has six triangles around it; any other gets its plate
        around = np.bincount(triangles.reshape(-1), minlength=first.size).reshape(first.shape)
        pieces.append(_plates(scan, np.where(around < 6, first, 0), world_from_vehicle))
        for image in others:
            news = np.abs(image - scan.ranges_m[0]) > SAME_RETURN_M
            pieces.append(_plates(scan, np.where(news, image, 0), world_from_vehicle))
    return merge(pieces)


def merge(pieces: Sequence[Surface]) -> Surface:
    """All pieces as one."""
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    vertices = [np.empty((0, 3), dtype=np.float32), *(piece.vertices for piece in pieces)]
    moved = [piece.triangles + start for piece, start in zip(pieces, starts[:-1], strict=True)]
    return Surface(np.concatenate(vertices), np.concatenate([np.empty((0, 3), dtype=np.int64), *moved]))


def _keep(
    scan: Scan,
    ranges_m: Float32[np.ndarray, "rows columns"],
    world_from_vehicle: Float64[np.ndarray, "4 4"],
    boxes: Sequence[OrientedBox],
) -> Float32[np.ndarray, "rows columns"]:
    """The ranges, 0 where the return came from an annotated object or from the car itself."""
    rows, columns = np.nonzero(ranges_m > 0)
    points = scan.points(rows, columns, ranges_m[rows, columns])
    own = ((points >= _CAR_LOW) & (points <= _CAR_HIGH)).all(axis=1)
    own |= inside_any(_moved(points, world_from_vehicle), boxes, BOX_MARGIN_M)
    kept = ranges_m.copy()
    kept[rows[own], columns[own]] = 0
    return kept


def _join(scan: Scan, ranges_m: Float32[np.ndarray, "rows columns"]) -> Int64[np.ndarray, "triangles 3"]:
    """Triangles between neighbouring pixels of one surface; corners are numbered row by row. Columns go around."""
    height, width = ranges_m.shape
    number = np.arange(height * width).reshape(height, width)
    right, right_number = np.roll(ranges_m, -1, axis=1), np.roll(number, -1, axis=1)
    across_angle = np.broadcast_to(scan.column_step * np.cos(scan.inclination)[:, None], ranges_m.shape)
    across = _same_surface(ranges_m, right, across_angle)
    down_angle = np.broadcast_to(np.abs(np.diff(scan.inclination))[:, None], (height - 1, width))
    down = _same_surface(ranges_m[:-1], ranges_m[1:], down_angle)
    right_down = np.roll(down, -1, axis=1)
    upper, lower = across[:-1] & down, across[1:] & right_down
    top, top_right = number[:-1], right_number[:-1]
    bottom, bottom_right = number[1:], right_number[1:]
    # both triangles of a cell share the way from its top right to its bottom left
    return np.concatenate(
        [
            np.stack([top[upper], bottom[upper], top_right[upper]], axis=1),
            np.stack([top_right[lower], bottom[lower], bottom_right[lower]], axis=1),
        ]
    )


def _same_surface(
    first_m: Float32[np.ndarray, "rows columns"],
    second_m: Float32[np.ndarray, "rows columns"],
    angle: Float64[np.ndarray, "rows columns"],
) -> Bool[np.ndarray, "rows columns"]:
    nearer = np.minimum(first_m, second_m)
    step = np.clip(MAX_SLOPE * angle * nearer, MIN_STEP_M, MAX_STEP_M)
    return (nearer > 0) & (np.abs(first_m - second_m) <= step)


def _placed(
    scan: Scan,
    ranges_m: Float32[np.ndarray, "rows columns"],
    triangles: Int64[np.ndarray, "triangles 3"],
    world_from_vehicle: Float64[np.ndarray, "4 4"],
) -> Surface:
    """Triangles between pixels as surface, without the pixels that none uses."""
    used, compact = np.unique(triangles, return_inverse=True)
    rows, columns = np.divmod(used, ranges_m.shape[1])
    points = scan.points(rows, columns, ranges_m[rows, columns])
    return Surface(_moved(points, world_from_vehicle), compact.reshape(-1, 3))


def _plates(
    scan: Scan, ranges_m: Float32[np.ndarray, "rows columns"], world_from_vehicle: Float64[np.ndarray, "4 4"]
) -> Surface:
    """Two triangles for each return."""
    rows, columns = np.nonzero(ranges_m > 0)
    found_m = ranges_m[rows, columns]
    corners = [
        scan.points(rows, columns, found_m, up=up, left=left)
        for up, left in ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))
    ]
    vertices = _moved(np.stack(corners, axis=1).reshape(-1, 3), world_from_vehicle)
    first = 4 * np.arange(len(rows))[:, None]
    return Surface(vertices, np.concatenate([first + np.array([0, 1, 2]), first + np.array([0, 2, 3])]))


def _moved(points: Float64[np.ndarray, "n 3"], transform: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "n 3"]:
    return points @ transform[:3, :3].T + transform[:3, 3]
