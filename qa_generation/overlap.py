"""How much of the seen instance surface two views share: IoU of visible surface voxels, exact, by packed bits.

The surface is sampled once per scene, about one point per voxel, and each view asks which points it sees. So the
overlap depends on the voxel size but not on the view's resolution, and a surface at a grazing angle counts in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, UInt8

from qa_generation.blocks import Blocks
from qa_generation.compiled import compiled
from qa_generation.errors import SceneError
from qa_generation.ranks import ranked

MAX_SAMPLES = 10_000_000  # 4,000 square metres at 2 cm; more means that the units are wrong
_POINTS_PER_BLOCK = 128
_AT_ONCE = 1 << 14  # points handled at once: their arrays stay in the cache, which halves the time


@dataclass(frozen=True, eq=False)
class SurfaceSamples:
    """Points on the instances of a scene, with the voxel each lies in.

    Attributes:
        points: world metres, grouped by column; the first axis is x, y, z.
        voxels: voxel of every point, numbered 0 .. voxel_count - 1 over the scene.
        blocks: runs of points of one instance (table column) near each other.
    """

    points: Float32[np.ndarray, "3 points"]
    voxels: Int32[np.ndarray, " points"]
    voxel_count: int
    blocks: Blocks

    @property
    def columns(self) -> Int64[np.ndarray, " points"]:
        """Instance (table column) of every point."""
        return np.repeat(self.blocks.columns, np.diff(self.blocks.first))


def sample_instances(
    corners: Float[np.ndarray, "triangles 3 3"], columns: Int64[np.ndarray, " triangles"], voxel_m: float
) -> SurfaceSamples:
    """Samples at most ``voxel_m`` apart on all triangles, numbered by voxels of that size aligned with the world.

    Raises:
        SceneError: the surface is so large or so far spread that metres cannot be meant.
    """
    if not len(corners):
        points = np.empty((3, 0), dtype=np.float32)
        return SurfaceSamples(points, np.empty(0, dtype=np.int32), 0, Blocks.of(columns, points.T, points.T, 1))
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
    voxels, voxel_count = ranked((cells[0] * ny + cells[1]) * nz + cells[2])
    blocks = Blocks.of(columns[order][owner], stored.T, stored.T, _POINTS_PER_BLOCK)
    return SurfaceSamples(stored, voxels, voxel_count, blocks)


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
    for part in _parts(len(owner)):
        of, row = owner[part], point_row[part]
        low_here, foot_here = low[row], foot[of]
        along = foot_here * low_here + (column[part] + 0.5) / column_count[row] * (1.0 - low_here)
        roof = np.minimum(along / foot_here, (1.0 - along) / (1.0 - foot_here))
        rise = 0.5 * (low_here + np.minimum(low_here + 1.0 / row_count[of], roof))
        across = along - rise * foot_here
        for k, (corner, to_end, to_apex) in enumerate(axes):
            points[k, part] = corner[of] + across * to_end[of] + rise * to_apex[of]
    return points.T, owner


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE))


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


def overlap_percent(packed: UInt8[np.ndarray, "views bytes"]) -> Float64[np.ndarray, "views views"]:
    """100 IoU of every pair of rows of packed bits; two empty sets share 0, a row and itself 100."""
    words = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    shared = np.empty((len(words), len(words)), dtype=np.int64)
    _count_shared(words, shared)
    size = np.diagonal(shared)
    union = size[:, None] + size[None, :] - shared
    percent = 100.0 * shared / np.maximum(union, 1)
    np.fill_diagonal(percent, 100.0)
    return percent


@compiled
def _count_shared(words: np.ndarray, shared: np.ndarray) -> None:
    views, length = words.shape
    for i in range(views):
        for j in range(i, views):
            count = np.uint64(0)
            for k in range(length):
                count += _ones(words[i, k] & words[j, k])
            shared[i, j] = shared[j, i] = count


@compiled
def _ones(word: np.uint64) -> np.uint64:
    """Number of set bits, added up in twos, fours and bytes; LLVM knows this form and takes the processor's own."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)
