"""How many pixels every instance covers when it is drawn alone, inside the frame and on the three times larger canvas.

The counts equal those of casting all 9 W H canvas rays against each instance alone, at a small part of the price: every
projected triangle is drawn twice, once shrunk and once grown by ``MARGIN_PX``. Pixels in a shrunk triangle are surely
covered, pixels in no grown one surely are not, and the few between, along edges, are settled by casting their rays.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Int32, Int64

from qa_generation.compiled import compiled
from qa_generation.occluders import MARGIN_PX
from qa_generation.raycast import NEAR_M
from qa_generation.scene_surface import Matrix, in_row_order, project
from qa_generation.sight import Sight

_CANVAS_PIXELS = 1 << 22  # held in memory at once, one byte each; a larger canvas is drawn in bands
Edge = tuple[float, float, float, bool]
_SURE, _DOUBTFUL = 1, 2  # of which one bit each is set


def silhouette_counts(
    sight: Sight, winners: Int32[np.ndarray, "height width"], of: Bool[np.ndarray, " columns"]
) -> tuple[Int64[np.ndarray, " columns"], Int64[np.ndarray, " columns"]]:
    """#A and #A+ of these instances in one view; the pixels an instance wins always belong to its #A.

    ``winners`` names the column that wins each pixel of the frame in the full scene, -1 for none.
    """
    surface, (width, height) = sight.surface, sight.size
    shown = sight.canvas_blocks & np.append(of, False)[surface.blocks.columns]  # bare surface is column -1
    placed, lens = sight.placed(shown), in_row_order(sight.intrinsics)
    counts = np.zeros((2, surface.column_count), dtype=np.int64)
    columns = np.flatnonzero(np.bincount(surface.blocks.columns[shown], minlength=surface.column_count)).tolist()
    doubtful = [np.empty((0, 2), dtype=np.int64)]
    for column in columns:
        mine = slice(*surface.first_block[column : column + 2])
        pixels, counts[0, column], counts[1, column] = _covered(
            column,
            winners,
            surface.triangles,
            surface.blocks.first[mine.start : mine.stop + 1],
            shown[mine],
            placed.camera,
            placed.pixels,
            placed.nearest_m[mine],
            placed.rects[mine],
            lens,
            _CANVAS_PIXELS,
        )
        doubtful.append(pixels)
    places = np.concatenate(doubtful)
    rays, start = sight.rays.through(places), 0
    inside = (places[:, 0] >= 0) & (places[:, 0] < width) & (places[:, 1] >= 0) & (places[:, 1] < height)
    for column, pixels in zip(columns, doubtful[1:], strict=True):
        if not len(pixels):
            continue
        mine = slice(start, start + len(pixels))
        hit = surface.caster_of(column).hits(rays[mine])
        counts[:, column] += np.count_nonzero(hit & inside[mine]), np.count_nonzero(hit)
        start = mine.stop
    return counts[0], counts[1]


@compiled
def _covered(
    column: int,
    winners: np.ndarray,
    triangles: np.ndarray,
    first_triangle: np.ndarray,
    shown: np.ndarray,
    camera: np.ndarray,
    pixels: np.ndarray,
    nearest_m: np.ndarray,
    rects: np.ndarray,
    intrinsics: Matrix,
    most_pixels: int,
) -> tuple[np.ndarray, int, int]:
    """(x, y) of the pixels in doubt, and how many surely belong to the silhouette, in the frame and on the canvas."""
    height, width = winners.shape
    x0, y0, x1, y1 = _window(shown, rects, width, height)
    doubtful = np.empty((256, 2), dtype=np.int64)
    in_doubt, in_frame, on_canvas = 0, 0, 0
    rows = max(most_pixels // max(x1 - x0, 1), 1)
    for top in range(y0, y1, rows):
        bottom = min(top + rows, y1)
        canvas = np.zeros((bottom - top, x1 - x0), dtype=np.uint8)
        left, right = max(x0, 0), min(x1, width)  # of the part inside the frame
        for y in range(max(top, 0), min(bottom, height)):
            for x in range(left, right):
                canvas[y - top, x - x0] = winners[y, x] == column
        _draw(canvas, x0, top, triangles, first_triangle, shown, camera, pixels, nearest_m, intrinsics)
        for y in range(top, bottom):
            line = canvas[y - top]
            in_line = 0
            for x in range(len(line)):
                on_canvas += line[x] & _SURE
                in_line += line[x] >> 1
            if 0 <= y < height:
                for x in range(left - x0, right - x0):
                    in_frame += line[x] & _SURE
            if in_line:
                while in_doubt + in_line > len(doubtful):
                    doubtful = np.concatenate((doubtful, np.empty_like(doubtful)))
                for x in range(len(line)):
                    if line[x] == _DOUBTFUL:
                        doubtful[in_doubt, 0], doubtful[in_doubt, 1] = x0 + x, y
                        in_doubt += 1
    return doubtful[:in_doubt], in_frame, on_canvas


@compiled
def _window(shown: np.ndarray, rects: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """[x0, y0, x1, y1) of the canvas pixels that these blocks may cover."""
    x0, y0, x1, y1 = math.inf, math.inf, -math.inf, -math.inf
    for block in range(len(shown)):
        if shown[block]:
            x0, x1 = min(x0, rects[block, 0]), max(x1, rects[block, 2])
            y0, y1 = min(y0, rects[block, 1]), max(y1, rects[block, 3])
    left, right = max(x0 - MARGIN_PX, -1.0 * width), min(x1 + MARGIN_PX, 2.0 * width - 1.0)
    top, bottom = max(y0 - MARGIN_PX, -1.0 * height), min(y1 + MARGIN_PX, 2.0 * height - 1.0)
    if not (left <= right and top <= bottom):
        return 0, 0, 0, 0
    return math.ceil(left), math.ceil(top), math.floor(right) + 1, math.floor(bottom) + 1


@compiled
def _draw(
    canvas: np.ndarray,
    left: int,
    top: int,
    triangles: np.ndarray,
    first_triangle: np.ndarray,
    shown: np.ndarray,
    camera: np.ndarray,
    pixels: np.ndarray,
    nearest_m: np.ndarray,
    intrinsics: Matrix,
) -> None:
    """Marks what the parts of triangles beyond the near plane surely cover, and what they may cover where nothing is
    marked yet."""
    last_row, last_column = canvas.shape[0] - 1.0, canvas.shape[1] - 1.0
    corners = np.empty((4, 2))
    for block in range(len(shown)):
        if not shown[block]:
            continue
        for triangle in range(first_triangle[block], first_triangle[block + 1]):
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            number = 3
            if nearest_m[block] <= NEAR_M and min(camera[a, 2], camera[b, 2], camera[c, 2]) <= NEAR_M:
                number = _clip_near(camera, a, b, c, intrinsics, corners)
            else:
                corners[0, 0], corners[0, 1] = pixels[a, 0], pixels[a, 1]
                corners[1, 0], corners[1, 1] = pixels[b, 0], pixels[b, 1]
                corners[2, 0], corners[2, 1] = pixels[c, 0], pixels[c, 1]
            for part in range(1, number - 1):
                ax, ay = corners[0, 0] - left, corners[0, 1] - top
                bx, by = corners[part, 0] - left, corners[part, 1] - top
                cx, cy = corners[part + 1, 0] - left, corners[part + 1, 1] - top
                low_x, high_x = max(min(ax, bx, cx) - MARGIN_PX, 0.0), min(max(ax, bx, cx) + MARGIN_PX, last_column)
                low_y, high_y = max(min(ay, by, cy) - MARGIN_PX, 0.0), min(max(ay, by, cy) + MARGIN_PX, last_row)
                if not (low_x <= high_x and low_y <= high_y):
                    continue
                start, end = math.ceil(low_x), math.floor(high_x)
                first, last = math.ceil(low_y), math.floor(high_y)
                # what is covered already, as by the near side of a thing, and what lies between pixel centres ends here
                news = False
                for y in range(first, last + 1):
                    for x in range(start, end + 1):
                        news = news or canvas[y, x] != _SURE
                if not news:
                    continue
                turn = 1.0 if (bx - ax) * (cy - by) >= (by - ay) * (cx - bx) else -1.0
                edges = (_edge(ax, ay, bx, by, turn), _edge(bx, by, cx, cy, turn), _edge(cx, cy, ax, ay, turn))
                for y in range(first, last + 1):
                    outer_start, inner_start, inner_end, outer_end = _span(edges, y, start, end)
                    for x in range(outer_start, outer_end):
                        if inner_start <= x < inner_end:
                            canvas[y, x] = _SURE
                        elif canvas[y, x] == 0:
                            canvas[y, x] = _DOUBTFUL


@compiled
def _clip_near(camera: np.ndarray, a: int, b: int, c: int, intrinsics: Matrix, corners: np.ndarray) -> int:
    """Number of corners of the part of a triangle beyond the near plane, and in ``corners`` their places, pixels."""
    count = 0
    for start, end in ((a, b), (b, c), (c, a)):
        begins, ends = camera[start, 2] > NEAR_M, camera[end, 2] > NEAR_M
        for share in (0.0, (NEAR_M - camera[start, 2]) / (camera[end, 2] - camera[start, 2])):
            if (share == 0.0 and not begins) or (share != 0.0 and begins == ends):
                continue
            x = camera[start, 0] + share * (camera[end, 0] - camera[start, 0])
            y = camera[start, 1] + share * (camera[end, 1] - camera[start, 1])
            z = camera[start, 2] + share * (camera[end, 2] - camera[start, 2])
            corners[count, 0], corners[count, 1] = project(x, y, z, intrinsics)
            count += 1
    return count


@compiled
def _span(edges: tuple[Edge, Edge, Edge], y: int, start: int, end: int) -> tuple[int, int, int, int]:
    """[outer start, inner start, inner end, outer end) of the pixels of row ``y`` in a triangle, grown and shrunk."""
    outer_low, outer_high = float(start), float(end)
    inner_low, inner_high = outer_low, outer_high
    for at_top, slope, reach, is_left in edges:
        crossing = at_top + slope * y
        if is_left:
            outer_low, inner_low = max(outer_low, crossing - reach), max(inner_low, crossing + reach)
        else:
            outer_high, inner_high = min(outer_high, crossing + reach), min(inner_high, crossing - reach)
    if outer_low > outer_high:
        return 0, 0, 0, 0
    outer_start, outer_end = math.ceil(outer_low), math.floor(outer_high) + 1
    if inner_low > inner_high:
        return outer_start, outer_end, outer_end, outer_end
    return outer_start, math.ceil(inner_low), math.floor(inner_high) + 1, outer_end


@compiled
def _edge(px: float, py: float, qx: float, qy: float, turn: float) -> Edge:
    """Where the line from p to q crosses row 0 and how far it moves per row, pixels; how far the margin reaches along
    a row; and whether the triangle lies to its right."""
    across, down = qx - px, qy - py
    if abs(down) <= 1e-12 * abs(across) or down == 0.0:
        down = 1e-12 * max(abs(across), 1e-12)
    per_row = across / down
    # along the row, at least the margin across the line: |across| + |down| is no less than the line's length
    return px - per_row * py, per_row, MARGIN_PX * (abs(per_row) + 1.0), turn * down < 0.0
