"""How much of the seen instance surface two views share: IoU of visible surface voxels, exact, by packed bits.

The surface is sampled once per scene, about one point per voxel, and each view asks which points it sees. So the
overlap depends on the voxel size but not on the view's resolution, and a surface at a grazing angle counts in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64, UInt8

from qa_generation.errors import SceneError
from qa_generation.raycast import NEAR_M

MAX_SAMPLES = 10_000_000  # 4,000 square metres at 2 cm; more means that the units are wrong
_BLOCK = 1 << 14  # points handled at once: their arrays stay in the cache, which halves the time


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points on the instances of a scene, with the voxel each lies in.

    Attributes:
        points: world metres, grouped by column; the first axis is x, y, z.
        columns: instance (table column) of every point.
        voxels: voxel of every point, numbered 0 .. voxel_count - 1 over the scene.
    """

    points: Float32[np.ndarray, "3 points"]
    columns: Int32[np.ndarray, " points"]
    voxels: Int32[np.ndarray, " points"]
    voxel_count: int


def sample_instances(
    corners: Float[np.ndarray, "triangles 3 3"], columns: Int64[np.ndarray, " triangles"], voxel_m: float
) -> SurfaceSamples:
    """Samples at most ``voxel_m`` apart on all triangles, numbered by voxels of that size aligned with the world.

    Raises:
        SceneError: the surface is so large or so far spread that metres cannot be meant.
    """
    if not len(corners):
        nothing = np.empty(0, dtype=np.int32)
        return SurfaceSamples(np.empty((3, 0), dtype=np.float32), nothing, nothing, 0)
    order = np.argsort(columns, kind="stable")
    points, owner = sample_triangles(corners[order], voxel_m)
    stored = np.ascontiguousarray(points.T, dtype=np.float32)
    cells = [np.floor(axis.astype(np.float64) / voxel_m).astype(np.int64) for axis in stored]
    for cell in cells:
        cell -= cell.min()
    nx, ny, nz = (int(cell.max()) + 1 for cell in cells)
    if nx * ny * nz >= 1 << 63:
        extent_m = [round(n * voxel_m) for n in (nx, ny, nz)]
        raise SceneError(f"instances spread over {extent_m} m, too far for voxels of {voxel_m} m")
    voxels, voxel_count = _numbered((cells[0] * ny + cells[1]) * nz + cells[2])
    return SurfaceSamples(stored, columns[order][owner].astype(np.int32), voxels, voxel_count)


def _numbered(keys: Int64[np.ndarray, " points"]) -> tuple[Int32[np.ndarray, " points"], int]:
    """Rank of every key among the different keys, and their number: what np.unique gives, in a third of the time."""
    bits = len(keys).bit_length()
    if int(keys.max()) >= 1 << (63 - bits):
        occupied, ranks = np.unique(keys, return_inverse=True)
        return ranks.astype(np.int32), len(occupied)
    # key and place in one number: sorting numbers is far faster than sorting places by key
    packed = np.sort((keys << bits) | np.arange(len(keys)))
    place, key = packed & ((1 << bits) - 1), packed >> bits
    rank = np.zeros(len(keys), dtype=np.int32)
    np.cumsum(key[1:] != key[:-1], out=rank[1:])
    ranks = np.empty_like(rank)
    ranks[place] = rank
    return ranks, int(rank[-1]) + 1


def sample_triangles(
    corners: Float[np.ndarray, "triangles 3 3"], spacing_m: float
) -> tuple[Float64[np.ndarray, "points 3"], Int64[np.ndarray, " points"]]:
    """Points spread evenly over each triangle, and the triangle of each; no random choice.

    Rows run along the longest side and divide the height evenly, columns divide each row evenly, and a point stands in
    the middle of what its column has inside the triangle. So no place is farther than 1.12 ``spacing_m`` from a point.

    Raises:
        SceneError: more than ``MAX_SAMPLES`` points would be needed.
    """
    corners = np.asarray(corners, dtype=np.float64)
    sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    order = (np.argmax(sides, axis=1)[:, None] + np.arange(3)) % 3
    start, end, apex = np.moveaxis(np.take_along_axis(corners, order[..., None], axis=1), 1, 0)
    base, up = end - start, apex - start
    length = np.maximum(sides.max(axis=1), 1e-12)
    height = np.linalg.norm(np.cross(base, up), axis=1) / length
    foot = np.clip(np.einsum("ni,ni->n", base, up) / length**2, 1e-12, 1.0 - 1e-12)  # of the apex, share of the base

    row_count = np.maximum(np.ceil(height / spacing_m), 1)
    row_owner, row = _expand(row_count, spacing_m)
    low = row / row_count[row_owner]  # 0 on the base, 1 at the apex
    column_count = np.maximum(np.ceil(length[row_owner] * (1.0 - low) / spacing_m), 1)
    point_row, column = _expand(column_count, spacing_m)
    owner = row_owner[point_row]
    points = np.empty((3, len(owner)))
    axes = list(zip(*(np.ascontiguousarray(a.T) for a in (start, base, up)), strict=True))
    for block in _blocks(len(owner)):
        of, row = owner[block], point_row[block]
        low_here, foot_here = low[row], foot[of]
        along = foot_here * low_here + (column[block] + 0.5) / column_count[row] * (1.0 - low_here)
        roof = np.minimum(along / foot_here, (1.0 - along) / (1.0 - foot_here))
        rise = 0.5 * (low_here + np.minimum(low_here + 1.0 / row_count[of], roof))
        across = along - rise * foot_here
        for k, (corner, to_end, to_apex) in enumerate(axes):
            points[k, block] = corner[of] + across * to_end[of] + rise * to_apex[of]
    return points.T, owner


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _expand(counts: Float64[np.ndarray, " groups"], spacing_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Group of every member and its number inside the group."""
    if not counts.sum() <= MAX_SAMPLES:
        raise SceneError(
            f"instance surface needs {counts.sum():.3g} samples at a spacing of {spacing_m} m, "
            f"expected at most {MAX_SAMPLES:.3g}; are the vertices in metres?"
        )
    whole = counts.astype(np.int64)
    group = np.repeat(np.arange(len(whole)), whole)
    return group, np.arange(len(group)) - (np.cumsum(whole) - whole)[group]


@dataclass(frozen=True, eq=False)
class DepthAround:
    """Depth of what a view sees, at its pixel centres and by a ray anywhere between them; metres, infinity = nothing.

    Attributes:
        nearest, farthest: least and largest depth at the four pixel centres around each place; element [j, i] is for
            places from pixel (i - 1, j - 1) to (i, j), the rim repeating the outermost pixels.
        at: depth at any places (x, y) in pixels, pixel centres at integers.
    """

    nearest: Float32[np.ndarray, "rows columns"]
    farthest: Float32[np.ndarray, "rows columns"]
    at: Callable[[Float64[np.ndarray, "places 2"]], Float32[np.ndarray, " places"]]

    @classmethod
    def of(
        cls,
        depth_m: Float32[np.ndarray, "height width"],
        at: Callable[[Float64[np.ndarray, "places 2"]], Float32[np.ndarray, " places"]],
    ) -> DepthAround:
        """From the depth at all pixel centres and the depth of any ray, both 0 where nothing was hit."""
        rim = np.pad(np.where(depth_m > 0, depth_m, np.float32(np.inf)), 1, mode="edge")
        four = (rim[:-1, :-1], rim[1:, :-1], rim[:-1, 1:], rim[1:, 1:])
        nearest, farthest = np.minimum.reduce(four), np.maximum.reduce(four)

        def between(places: Float64[np.ndarray, "places 2"]) -> Float32[np.ndarray, " places"]:
            found = at(places)
            return np.where(found > 0, found, np.float32(np.inf))

        return cls(nearest, farthest, between)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture, pixels."""
        return self.nearest.shape[1] - 1, self.nearest.shape[0] - 1


def visible_points(
    points: Float[np.ndarray, "3 points"],
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    depth: DepthAround,
    tolerance_m: float,
    tolerance_ratio: float,
) -> Int64[np.ndarray, " visible"]:
    """Numbers of the points that a view sees: in front, in the frame, and at most max(tolerance_m, tolerance_ratio z)
    behind the first thing on the way to them (specs 4.3).

    Where the four pixels around a point agree, they tell; at rims and on grazing surfaces they do not, and a ray does.
    Points that needed one come last.
    """
    width, height = depth.size
    projection = intrinsics @ world_to_camera[:3]
    found, doubtful, places, least_m = [np.empty(0, dtype=np.int64)], [], [], []
    for block in _blocks(points.shape[1]):
        x, y, z = projection[:, :3] @ points[:, block] + projection[:, 3:]
        with np.errstate(divide="ignore", invalid="ignore"):  # what is not in front falls out
            u, v = x / z + 0.5, y / z + 0.5  # pixel centres are at integers, so pixel 0 reaches from 0 to 1 here
            inside = np.flatnonzero((z > NEAR_M) & (u >= 0) & (u < width) & (v >= 0) & (v < height))
        u, v, z = u[inside], v[inside], z[inside]
        cell = (v + 0.5).astype(np.int64), (u + 0.5).astype(np.int64)
        allowed = z - np.maximum(tolerance_m, tolerance_ratio * z)
        clear = allowed <= depth.nearest[cell]
        found.append(inside[clear] + block.start)
        unsure = np.flatnonzero(~clear & (allowed <= depth.farthest[cell]))
        doubtful.append(inside[unsure] + block.start)
        places.append(np.stack([u[unsure], v[unsure]], axis=1) - 0.5)
        least_m.append(allowed[unsure])
    if doubtful:
        seen = np.concatenate(least_m) <= depth.at(np.concatenate(places))
        found.append(np.concatenate(doubtful)[seen])
    return np.concatenate(found)


def seen_voxels(
    samples: SurfaceSamples,
    columns_in_view: Bool[np.ndarray, " columns"],
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    depth: DepthAround,
    tolerance_m: float,
    tolerance_ratio: float,
) -> Bool[np.ndarray, " voxels"]:
    """The voxels that hold a visible point of an instance which has at least one pixel in the view."""
    looked_at = (intrinsics, world_to_camera, depth, tolerance_m, tolerance_ratio)
    voxels = np.zeros(samples.voxel_count, dtype=bool)
    for seen in _seen_samples(samples, columns_in_view, *looked_at):
        voxels[samples.voxels[seen]] = True
    return voxels


def shown_columns(
    samples: SurfaceSamples,
    columns: Bool[np.ndarray, " columns"],
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    depth: DepthAround,
    tolerance_m: float,
    tolerance_ratio: float,
) -> Bool[np.ndarray, " columns"]:
    """Those of the ``columns`` of which a sample is visible."""
    looked_at = (intrinsics, world_to_camera, depth, tolerance_m, tolerance_ratio)
    shown = np.zeros(len(columns), dtype=bool)
    for seen in _seen_samples(samples, columns, *looked_at):
        shown[samples.columns[seen]] = True
    return shown


def _seen_samples(
    samples: SurfaceSamples,
    columns: Bool[np.ndarray, " columns"],
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    depth: DepthAround,
    tolerance_m: float,
    tolerance_ratio: float,
) -> Iterator[Int64[np.ndarray, " visible"]]:
    """Numbers of the visible samples of these columns, in parts."""
    # points are grouped by column, so neighbouring columns are one slice
    change = np.flatnonzero(np.diff(columns, prepend=False, append=False))
    for first, last in np.searchsorted(samples.columns, change).reshape(-1, 2).tolist():
        points = samples.points[:, first:last]
        yield first + visible_points(points, intrinsics, world_to_camera, depth, tolerance_m, tolerance_ratio)


def overlap_percent(packed: UInt8[np.ndarray, "views bytes"]) -> Float64[np.ndarray, "views views"]:
    """100 IoU of every pair of rows of packed bits; two empty sets share 0, a row and itself 100."""
    words = np.pad(packed, ((0, 0), (0, 8 - packed.shape[1] % 8))).view(np.uint64)
    views = len(words)
    shared = np.zeros((views, views), dtype=np.int64)
    for i in range(views):
        shared[i, i:] = np.bitwise_count(words[i] & words[i:]).sum(axis=1, dtype=np.int64)
    shared = np.maximum(shared, shared.T)
    size = np.diagonal(shared)
    union = size[:, None] + size[None, :] - shared
    percent = 100.0 * shared / np.maximum(union, 1)
    np.fill_diagonal(percent, 100.0)
    return percent
