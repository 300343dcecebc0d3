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
# surface it would mean a view along it at less than four degrees ...
MAX_SLOPE = 14.0
MAX_STEP_M = 2.0
# ... unless it goes straight on from the pixel before, as the road far ahead does
STRAIGHT_COS = 0.99
MAX_STRAIGHT_STEP_M = 15.0
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
        joined, alone = _join(scan, first)
        pieces.append(Surface(_moved(joined.vertices, world_from_vehicle), joined.triangles))
        pieces.append(_plates(scan, np.where(alone, first, 0), world_from_vehicle))
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


def _join(
    scan: Scan, ranges_m: Float32[np.ndarray, "rows columns"]
) -> tuple[Surface, Bool[np.ndarray, "rows columns"]]:
    """Triangles between neighbouring pixels of one surface, in the car's frame, and the pixels that need a plate.

    Those are pixels without a triangle, and both sides of an edge: between them one could look through.
    """
    height, width = ranges_m.shape
    rows, columns = np.nonzero(ranges_m > 0)
    points = np.full((height, width, 3), np.nan)
    points[rows, columns] = scan.points(rows, columns, ranges_m[rows, columns])
    around = (scan.column_step * np.cos(scan.inclination))[:, None]
    # columns go all around the car: the last one is beside the first
    across, across_cut = _same_surface(ranges_m, points, around, axis=1)
    down, down_cut = _same_surface(ranges_m, points, np.abs(np.diff(scan.inclination, append=np.nan))[:, None], axis=0)
    upper = across & down
    lower = np.roll(across, -1, axis=0) & np.roll(down, -1, axis=1)
    lower[-1] = False
    number = np.arange(height * width).reshape(height, width)
    right, bottom = np.roll(number, -1, axis=1), np.roll(number, -1, axis=0)
    bottom_right = np.roll(bottom, -1, axis=1)
    # both triangles of a cell share the way from its top right to its bottom left
    triangles = np.concatenate(
        [
            np.stack([number[upper], bottom[upper], right[upper]], axis=1),
            np.stack([right[lower], bottom[lower], bottom_right[lower]], axis=1),
        ]
    )
    used, compact = np.unique(triangles, return_inverse=True)
    alone = across_cut | np.roll(across_cut, 1, axis=1) | down_cut | np.roll(down_cut, 1, axis=0)
    alone.reshape(-1)[np.setdiff1d(number, used)] = True
    return Surface(points.reshape(-1, 3)[used], compact.reshape(-1, 3)), alone & (ranges_m > 0)


def _same_surface(
    ranges_m: Float32[np.ndarray, "rows columns"],
    points: Float64[np.ndarray, "rows columns 3"],
    angle: Float64[np.ndarray, "rows one"],
    axis: int,
) -> tuple[Bool[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"]]:
    """For each pixel and the next one along an axis: whether both are of one surface, and whether there is an edge.

    ``angle`` is what lies between them, radians. Pixels without a return have neither.
    """
    after_m = np.roll(ranges_m, -1, axis=axis)
    nearer, step = np.minimum(ranges_m, after_m), np.abs(ranges_m - after_m)
    way = np.roll(points, -1, axis=axis) - points
    way /= np.maximum(np.linalg.norm(way, axis=2, keepdims=True), 1e-9)
    goes_on = np.einsum("rci,rci->rc", way, np.roll(way, -1, axis=axis)) >= STRAIGHT_COS  # False where one is missing
    straight = (goes_on | np.roll(goes_on, 1, axis=axis)) & (step <= MAX_STRAIGHT_STEP_M)
    both = nearer > 0
    if axis == 0:
        both[-1] = False
    same = both & (straight | (step <= np.clip(MAX_SLOPE * angle * nearer, MIN_STEP_M, MAX_STEP_M)))
    return same, both & ~same


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
