"""Whether anything lies on the way from the camera to a place: places compared with the triangles around them.

Rays that miss or hit by a clear margin are settled here in float64; the rest, a few percent, are for the ray caster.
So the answers are the caster's own, at a part of its price: many places of one view are settled by one walk over the
triangles before the camera, most of which are left out by their distance or because no place lies near them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float64, Int8

from qa_generation.compiled import compiled
from qa_generation.raycast import NEAR_M
from qa_generation.scene_surface import FRONT_M, Matrix, Placed, SceneSurface, bounds_in_front, in_row_order

Corner = tuple[float, float, float]
OPEN, HIDDEN, DOUBTFUL = 0, 1, 2
# places are kept by cells, so many along the longer side of the frame but not more than so many per pixel: small ones
# compare fewer places with a triangle, many take long to clear. What lies before no place of a square is left out
_CELLS, _CELLS_PER_PIXEL, _SQUARE = 640, 4.0, 4
# how far from an edge a place must lie to be decided without a ray; float32 casting errs by less than a tenth
MARGIN_PX = 0.01
# of the depth of a hit that float32 casting finds, in units of what its rounding moves a triangle by
_DEPTH_ERROR = 4e-6
# triangles that begin so much (in metres and as a share) beyond a place are not looked at; far above that error
_BEYOND = 1e-3


def settle(
    surface: SceneSurface,
    shown: Bool[np.ndarray, " blocks"],
    placed: Placed,
    intrinsics: Float64[np.ndarray, "3 3"],
    size: tuple[int, int],
    places: Float64[np.ndarray, "places 2"],
    least_m: Float64[np.ndarray, " places"],
) -> Int8[np.ndarray, " places"]:
    """``OPEN`` where nothing lies between the near plane and depth ``least_m`` on the ray through a place, ``HIDDEN``
    where something does, ``DOUBTFUL`` where rounding might decide.

    Args:
        shown: blocks of triangles that the frame may show.
        placed: these blocks before the camera.
        intrinsics: pinhole matrix of the frame's pixel grid.
        size: (width, height) of the frame.
        places: pixels (x, y) inside the frame, pixel centres at integers.
        least_m: depth of each, metres.
    """
    lens = np.linalg.inv(intrinsics)
    corners = lens @ [[-0.5, size[0], -0.5, size[0]], [-0.5, -0.5, size[1], size[1]], [1.0, 1.0, 1.0, 1.0]]
    longest_ray = float(np.linalg.norm(corners, axis=0).max())
    per_pixel = min(_CELLS_PER_PIXEL, _CELLS / max(size))
    columns, rows = (math.ceil(side * per_pixel) for side in size)
    order, first, farthest, ordered = _binned(places, least_m, columns, rows, per_pixel)
    found = np.zeros(len(places), dtype=np.int8)
    _settle(
        surface.triangles,
        surface.blocks.first,
        shown,
        placed.camera,
        placed.pixels,
        placed.nearest_m,
        placed.rects,
        in_row_order(intrinsics),
        in_row_order(lens),
        longest_ray,
        farthest,
        first,
        columns,
        per_pixel,
        order,
        ordered,
        found,
    )
    return found


@compiled
def _binned(
    places: np.ndarray, least_m: np.ndarray, columns: int, rows: int, per_pixel: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The places in order of cells, row by row; the first one of every cell, and at the end their number; the greatest
    reach in every square of cells, minus infinity where there is no place; [x, y, least depth, reach] of the places.

    Triangles are compared with a place as far as it reaches, a little beyond its depth.
    """
    cells = np.empty(len(places), dtype=np.int32)
    first = np.zeros(rows * columns + 1, dtype=np.int32)
    farthest = np.full(((rows - 1) // _SQUARE + 1, (columns - 1) // _SQUARE + 1), -math.inf)
    for place in range(len(places)):
        column = min(int((places[place, 0] + 0.5) * per_pixel), columns - 1)
        row = min(int((places[place, 1] + 0.5) * per_pixel), rows - 1)
        cells[place] = row * columns + column
        first[cells[place] + 1] += 1
        down, right = row // _SQUARE, column // _SQUARE
        farthest[down, right] = max(farthest[down, right], _reach(least_m[place]))
    for cell in range(rows * columns):
        first[cell + 1] += first[cell]
    order, ordered, next_one = np.empty(len(places), dtype=np.int32), np.empty((len(places), 4)), first[:-1].copy()
    for place in range(len(places)):
        to = next_one[cells[place]]
        next_one[cells[place]] += 1
        order[to] = place
        ordered[to, 0], ordered[to, 1] = places[place, 0], places[place, 1]
        ordered[to, 2], ordered[to, 3] = least_m[place], _reach(least_m[place])
    return order, first, farthest, ordered


@compiled
def _reach(least_m: float) -> float:
    return least_m + _BEYOND * (1.0 + abs(least_m))


@compiled
def _settle(
    triangles: np.ndarray,
    first_triangle: np.ndarray,
    shown: np.ndarray,
    camera: np.ndarray,
    pixels: np.ndarray,
    block_nearest_m: np.ndarray,
    rects: np.ndarray,
    intrinsics: Matrix,
    lens: Matrix,
    longest_ray: float,
    farthest: np.ndarray,
    first: np.ndarray,
    columns: int,
    per_pixel: float,
    order: np.ndarray,
    ordered: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fills ``found``; the reach of what is hidden ends, so that it is not looked at again."""
    rows = (len(first) - 1) // columns
    for block in range(len(shown)):
        if not shown[block]:
            continue
        rect = _cells(rects[block, 0], rects[block, 1], rects[block, 2], rects[block, 3], columns, rows, per_pixel)
        if not _reaches(block_nearest_m[block], rect, farthest):
            continue
        for triangle in range(first_triangle[block], first_triangle[block + 1]):
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            nearest_m = min(camera[a, 2], camera[b, 2], camera[c, 2])
            if nearest_m > FRONT_M:
                x0, x1 = min(pixels[a, 0], pixels[b, 0], pixels[c, 0]), max(pixels[a, 0], pixels[b, 0], pixels[c, 0])
                y0, y1 = min(pixels[a, 1], pixels[b, 1], pixels[c, 1]), max(pixels[a, 1], pixels[b, 1], pixels[c, 1])
            elif max(camera[a, 2], camera[b, 2], camera[c, 2]) > FRONT_M:
                x0, y0, x1, y1 = bounds_in_front(camera, a, b, c, intrinsics)
            else:
                continue
            left, top, right, bottom = _cells(x0, y0, x1, y1, columns, rows, per_pixel)
            reaches = False
            for row in range(top // _SQUARE, (bottom + _SQUARE - 1) // _SQUARE):
                for column in range(left // _SQUARE, (right + _SQUARE - 1) // _SQUARE):
                    reaches = reaches or nearest_m < farthest[row, column]
            if not reaches:
                continue
            corners = (
                (camera[a, 0], camera[a, 1], camera[a, 2]),
                (camera[b, 0], camera[b, 1], camera[b, 2]),
                (camera[c, 0], camera[c, 1], camera[c, 2]),
            )
            ready, planes = False, (0.0,) * 14
            for row in range(top, bottom):
                for place in range(first[row * columns + left], first[row * columns + right]):
                    if nearest_m >= ordered[place, 3]:
                        continue
                    u, v = ordered[place, 0], ordered[place, 1]
                    if u < x0 - MARGIN_PX or u > x1 + MARGIN_PX or v < y0 - MARGIN_PX or v > y1 + MARGIN_PX:
                        continue
                    if not ready:
                        ready, planes = True, _planes(corners, lens)
                    met = _meets(planes, u, v, longest_ray, ordered[place, 2])
                    if met != OPEN:
                        found[order[place]] = met
                    if met == HIDDEN:
                        ordered[place, 3] = -math.inf


@compiled
def _cells(
    x0: float, y0: float, x1: float, y1: float, columns: int, rows: int, per_pixel: float
) -> tuple[int, int, int, int]:
    """[left, top, right, bottom) of the cells that a rectangle in pixels touches with its margin; the first begins half
    a pixel before the centre of the first pixel."""
    left, top = max((x0 + 0.5 - MARGIN_PX) * per_pixel, 0.0), max((y0 + 0.5 - MARGIN_PX) * per_pixel, 0.0)
    right = min((x1 + 0.5 + MARGIN_PX) * per_pixel, columns - 1.0)
    bottom = min((y1 + 0.5 + MARGIN_PX) * per_pixel, rows - 1.0)
    if not (left < columns and top < rows and right >= 0.0 and bottom >= 0.0):
        return 0, 0, 0, 0
    return int(left), int(top), int(right) + 1, int(bottom) + 1


@compiled
def _reaches(nearest_m: float, cells: tuple[int, int, int, int], farthest: np.ndarray) -> bool:
    """Whether a place in the squares of these cells lies beyond ``nearest_m``."""
    left, top, right, bottom = cells
    if left < right and top < bottom:
        for row in range(top // _SQUARE, (bottom - 1) // _SQUARE + 1):
            for column in range(left // _SQUARE, (right - 1) // _SQUARE + 1):
                if nearest_m < farthest[row, column]:
                    return True
    return False


@compiled
def _planes(
    corners: tuple[Corner, Corner, Corner], lens: Matrix
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """A triangle as functions of the pixel (u, v), for ``_meets``.

    For each edge, [p, q, r, margin] of the plane through it and the camera: p u + q v + r is negative on one side of
    the edge, and ``margin`` is its value at ``MARGIN_PX`` from it. The sum of the three is the triangle's normal times
    the ray, so that the depth of the hit is the last but one number over that sum, and its error the last one over it.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
    x1, y1, z1 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    x2, y2, z2 = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    x3, y3, z3 = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    p1, q1, r1 = _on_pixels(x1, y1, z1, lens)
    p2, q2, r2 = _on_pixels(x2, y2, z2, lens)
    p3, q3, r3 = _on_pixels(x3, y3, z3, lens)
    normal = math.sqrt((x1 + x2 + x3) ** 2 + (y1 + y2 + y3) ** 2 + (z1 + z2 + z3) ** 2)
    away = math.sqrt(ax * ax + ay * ay + az * az)
    to_b = (bx - ax) ** 2 + (by - ay) ** 2 + (bz - az) ** 2
    to_c = (cx - ax) ** 2 + (cy - ay) ** 2 + (cz - az) ** 2
    longest = math.sqrt(max(to_b, to_c))
    return (
        *(p1, q1, r1, MARGIN_PX * (abs(p1) + abs(q1))),
        *(p2, q2, r2, MARGIN_PX * (abs(p2) + abs(q2))),
        *(p3, q3, r3, MARGIN_PX * (abs(p3) + abs(q3))),
        ax * x2 + ay * y2 + az * z2,
        # rounding moves corners by a share of their distance, and tilts thin triangles more than wide ones
        _DEPTH_ERROR * (away * normal + longest * longest * longest),
    )


@compiled
def _on_pixels(x: float, y: float, z: float, lens: Matrix) -> tuple[float, float, float]:
    """[p, q, r] with p u + q v + r the product of (x, y, z) and the ray through pixel (u, v)."""
    return (
        x * lens[0] + y * lens[3],
        x * lens[1] + y * lens[4],
        x * lens[2] + y * lens[5] + z,
    )


@compiled
def _meets(plane: tuple[float, ...], u: float, v: float, longest_ray: float, least_m: float) -> int:
    """Whether the ray through place (u, v) meets the triangle between the near plane and ``least_m``."""
    side1 = plane[0] * u + plane[1] * v + plane[2]
    side2 = plane[4] * u + plane[5] * v + plane[6]
    side3 = plane[8] * u + plane[9] * v + plane[10]
    above = side1 > plane[3] or side2 > plane[7] or side3 > plane[11]
    below = side1 < -plane[3] or side2 < -plane[7] or side3 < -plane[11]
    if above and below:
        return OPEN
    if abs(side1) <= plane[3] or abs(side2) <= plane[7] or abs(side3) <= plane[11]:
        return DOUBTFUL
    total = side1 + side2 + side3
    depth_m = plane[12] / total
    error_m = longest_ray * plane[13] / abs(total) + _DEPTH_ERROR * abs(depth_m)
    if depth_m > least_m + error_m or depth_m < NEAR_M - error_m:
        return OPEN
    if NEAR_M + error_m < depth_m < least_m - error_m:
        return HIDDEN
    return DOUBTFUL
