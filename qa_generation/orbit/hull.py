"""The visual hull of a masked object: samples of its surface, and which view sees which sample.

Sparse points tell badly which surface two views share: they sit where texture is, and a track needs matching, which
fails at steep angles. The hull follows from silhouettes alone, so that its samples are spread by area and a view's
right to a sample by geometry: it faces the camera, nothing of the hull stands before it, and it lies in the mask.
Hollows are filled in a hull, so only questions with a wide margin may rest on it.

How much two views share is measured by the cosine at which both face the surface (the smaller of the two), not by a
yes or no per sample: whether a wall at a grazing angle is "shown" is a matter of taste, and large flat walls would then
decide everything. With the cosine, the ranking of frames found on hulls is that found on the true meshes.

Hulls live in a frame of their own, so that they do not depend on the capture's arbitrary axes and scale: the middle of
the object is the origin, the first camera gives the axes, and the mean distance of the cameras is the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage

from qa_generation.orbit.capture import ObjectCapture
from qa_generation.orbit.lens import Lens

CELLS = 48  # per side of the carved cube
# masks are looked at on a grid of at most so many pixels per side; a cell covers several of them
MASK_SIDE = 320
# a cell stays in spite of this share of the views that have it outside their mask: single masks are wrong at times
TOLERATED_MISSES = 0.1
# steps, in cells, along the line to the camera; the first ones are skipped, the sample's own surface is there
STEP_CELLS, FIRST_STEP_CELLS = 0.75, 2.0


@dataclass(frozen=True, eq=False)
class Hull:
    """Surface samples and who sees them.

    Attributes:
        points, normals: positions and outward unit normals.
        area: what each sample stands for, squared units.
        cosine: of the angle between normal and the line to the camera; 0 where the view does not see the sample: it is
            turned away, outside the picture or the mask, or the hull stands before it.
        inside_frame: which sample projects into the picture.
        silhouette_iou: how well the hull's outline matches each mask, 0-1.
        outline_pixels: size of the hull's outline in each view, as far as it lies in the picture, pixels.
        hidden_share: share of the outline's inside that is not in the mask: something stands before the object.
        occupied: the carved grid; its lowest corner is at ``origin``, its cells have sides of ``cell``.
    """

    points: Float64[np.ndarray, "samples 3"]
    normals: Float64[np.ndarray, "samples 3"]
    area: Float64[np.ndarray, " samples"]
    cosine: Float64[np.ndarray, "views samples"]
    inside_frame: Bool[np.ndarray, "views samples"]
    silhouette_iou: Float64[np.ndarray, " views"]
    outline_pixels: Float64[np.ndarray, " views"]
    hidden_share: Float64[np.ndarray, " views"]
    occupied: Bool[np.ndarray, "cells cells cells"]
    origin: Float64[np.ndarray, "3"]
    cell: float

    @cached_property
    def shared_area(self) -> Float64[np.ndarray, "views views"]:
        """Area that both views show, each part of it times the smaller of its two cosines."""
        return np.stack([np.minimum(self.cosine, own) @ self.area for own in self.cosine])

    @cached_property
    def shown_part(self) -> Float64[np.ndarray, "views views"]:
        """Of what the column's view shows, the share that the row's view shows too, 0-1."""
        return self.shared_area / np.maximum(np.diag(self.shared_area), 1e-12)[None]

    @cached_property
    def overlap(self) -> Float64[np.ndarray, "views views"]:
        """Area shown by both views over area shown by either, 0-1, symmetric."""
        own = np.diag(self.shared_area)
        return self.shared_area / np.maximum(own[:, None] + own[None] - self.shared_area, 1e-12)


@dataclass(frozen=True, eq=False)
class _Silhouette:
    """One view's mask on a coarse grid."""

    lens: Lens
    pose: Float64[np.ndarray, "4 4"]
    pixels: Bool[np.ndarray, "height width"]
    step: int

    def look_up(
        self, points: Float64[np.ndarray, "points 3"]
    ) -> tuple[Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
        """Which points lie in the picture, and which of those in the mask."""
        camera = points @ self.pose[:3, :3].T + self.pose[:3, 3]
        pixels, inside = self.lens.project(camera)
        index = np.rint(np.where(inside[:, None], pixels, 0.0)).astype(np.int64) // self.step
        return inside, inside & self.pixels[index[:, 1], index[:, 0]]


def carve(capture: ObjectCapture, cells: int = CELLS) -> Hull:
    """The hull of the capture's object.

    Raises:
        ValueError: nothing is left after carving; masks and poses contradict each other.
    """
    silhouettes = [_silhouette(capture, index, pose) for index, pose in enumerate(_own_poses(capture))]
    low, side = _first_cube(capture)
    for count in (cells // 2, cells):  # a coarse carving finds where the object is, the second fills the grid with it
        origin, cell = low, side / count
        occupied = _carve_cube(silhouettes, origin, cell, count)
        filled = np.argwhere(occupied)
        if not len(filled):
            raise ValueError("no part of space lies inside the masks, masks and poses contradict each other")
        first, last = filled.min(axis=0) - 1.5, filled.max(axis=0) + 2.5
        middle, side = origin + (first + last) / 2 * cell, float((last - first).max() * cell)
        low = middle - side / 2
    points, normals, area = _surface(occupied, origin, cell)
    return _seen(silhouettes, occupied, origin, cell, points, normals, area)


def _own_poses(capture: ObjectCapture) -> Float64[np.ndarray, "views 4 4"]:
    """From the hull's frame to every camera, camera coordinates in units of the mean distance too."""
    turn, poses = capture.turn, capture.world_to_camera.copy()
    middle = np.einsum("vij,j->vi", poses[:, :3, :3], turn.center) + poses[:, :3, 3]
    poses[:, :3, 3] = middle / turn.distance.mean()
    poses[:, :3, :3] = poses[:, :3, :3] @ capture.world_to_camera[0, :3, :3].T
    return poses


def _silhouette(capture: ObjectCapture, index: int, pose: Float64[np.ndarray, "4 4"]) -> _Silhouette:
    mask = capture.masks[index]
    step = max(1, -(-max(mask.size) // MASK_SIDE))
    pixels = mask.pixels()
    if step > 1:  # a coarse pixel is in the mask when most of its pixels are
        height, width = (-(-n // step) * step for n in pixels.shape)
        padded = np.zeros((height, width), dtype=np.float32)
        padded[: pixels.shape[0], : pixels.shape[1]] = pixels
        pixels = padded.reshape(height // step, step, width // step, step).mean(axis=(1, 3)) >= 0.5
    return _Silhouette(capture.lenses[index], pose, pixels, step)


def _first_cube(capture: ObjectCapture) -> tuple[Float64[np.ndarray, "3"], float]:
    """Lowest corner and side of a cube round the middle that holds every mask that the picture does not cut off."""
    turn = capture.turn
    reach = []
    for lens, mask, pose, distance in zip(
        capture.lenses, capture.masks, capture.world_to_camera, turn.distance, strict=True
    ):
        x0, y0, x1, y1 = mask.box
        corners = lens.directions(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], dtype=np.float64))
        middle = pose[:3, :3] @ turn.center + pose[:3, 3]
        cosine = (corners @ middle) / (np.linalg.norm(corners, axis=1) * np.linalg.norm(middle))
        reach.append(distance * np.sqrt(1 - np.clip(cosine, 0, 1) ** 2).max())
    radius = 1.2 * float(np.median(reach) + 0.5 * np.ptp(reach))
    radius /= float(turn.distance.mean())
    return np.full(3, -radius), 2 * radius


def _carve_cube(
    silhouettes: list[_Silhouette], origin: Float64[np.ndarray, "3"], cell: float, cells: int
) -> Bool[np.ndarray, "cells cells cells"]:
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    seen, missed = np.zeros(len(grid), dtype=np.int64), np.zeros(len(grid), dtype=np.int64)
    left = np.arange(len(grid))
    most = int(TOLERATED_MISSES * len(silhouettes))
    for silhouette in silhouettes:
        inside, masked = silhouette.look_up(origin + (grid[left] + 0.5) * cell)
        seen[left] += inside
        missed[left] += inside & ~masked
        left = left[missed[left] <= most]
    kept = np.zeros(len(grid), dtype=bool)
    # cells that hardly any view has in its picture are not carved by the others
    kept[left] = (missed[left] <= TOLERATED_MISSES * seen[left]) & (seen[left] >= 0.5 * len(silhouettes))
    return _largest_part(kept.reshape(cells, cells, cells))


def _largest_part(occupied: Bool[np.ndarray, "cells cells cells"]) -> Bool[np.ndarray, "cells cells cells"]:
    labels, count = ndimage.label(occupied)
    if count <= 1:
        return occupied
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


def _surface(
    occupied: Bool[np.ndarray, "cells cells cells"], origin: Float64[np.ndarray, "3"], cell: float
) -> tuple[Float64[np.ndarray, "samples 3"], Float64[np.ndarray, "samples 3"], Float64[np.ndarray, " samples"]]:
    """Centres of the cells at the surface, outward normals of the smoothed hull, and areas."""
    padded = np.pad(occupied, 3)
    index = np.argwhere(padded & ~ndimage.binary_erosion(padded))
    smooth = ndimage.gaussian_filter(padded.astype(np.float64), 1.5)
    slope = -np.stack([g[tuple(index.T)] for g in np.gradient(smooth)], axis=-1)
    length = np.linalg.norm(slope, axis=1)
    good = length > 1e-6
    normals = slope[good] / length[good, None]
    # a digital plane has one surface cell per cell face of the axis that it is most level with
    area = cell**2 / np.abs(normals).max(axis=1)
    return origin + (index[good] - 3 + 0.5) * cell, normals, area


def _seen(
    silhouettes: list[_Silhouette],
    occupied: Bool[np.ndarray, "cells cells cells"],
    origin: Float64[np.ndarray, "3"],
    cell: float,
    points: Float64[np.ndarray, "samples 3"],
    normals: Float64[np.ndarray, "samples 3"],
    area: Float64[np.ndarray, " samples"],
) -> Hull:
    cosine = np.zeros((len(silhouettes), len(points)))
    framed = np.zeros(cosine.shape, dtype=bool)
    outlines = np.zeros((len(silhouettes), 3))
    cells = origin + (np.argwhere(occupied) + 0.5) * cell
    for index, silhouette in enumerate(silhouettes):
        line = -silhouette.pose[:3, :3].T @ silhouette.pose[:3, 3] - points
        line /= np.linalg.norm(line, axis=1, keepdims=True)
        facing: np.ndarray = (normals * line).sum(axis=1)
        framed[index], masked = silhouette.look_up(points)
        asked = np.flatnonzero(masked & (facing > 0))
        clear = asked[~_hidden(occupied, (points[asked] - origin) / cell, line[asked])]
        cosine[index, clear] = facing[clear]
        outlines[index] = _compare_outline(silhouette, cells, cell)
    return Hull(
        points=points,
        normals=normals,
        area=area,
        cosine=cosine,
        inside_frame=framed,
        silhouette_iou=outlines[:, 0],
        outline_pixels=outlines[:, 1],
        hidden_share=outlines[:, 2],
        occupied=occupied,
        origin=origin,
        cell=cell,
    )


def _hidden(
    occupied: Bool[np.ndarray, "cells cells cells"],
    starts: Float64[np.ndarray, "samples 3"],
    directions: Float64[np.ndarray, "samples 3"],
) -> Bool[np.ndarray, " samples"]:
    """Whether the line from each start (grid coordinates) runs into an occupied cell after its first steps."""
    cells = occupied.shape[0]
    hidden = np.zeros(len(starts), dtype=bool)
    active: Int64[np.ndarray, " active"] = np.arange(len(starts))
    step = FIRST_STEP_CELLS
    while len(active):
        at = np.floor(starts[active] + step * directions[active]).astype(np.int64)
        within = ((at >= 0) & (at < cells)).all(axis=1)
        active, at = active[within], at[within]
        hit = occupied[tuple(at.T)]
        hidden[active[hit]] = True
        active = active[~hit]
        step += STEP_CELLS
    return hidden


def _compare_outline(
    silhouette: _Silhouette, cells: Float64[np.ndarray, "cells 3"], cell: float
) -> tuple[float, float, float]:
    """The hull's outline in a view against its mask: pixels in both over in either, its size, its hidden share."""
    camera = cells @ silhouette.pose[:3, :3].T + silhouette.pose[:3, 3]
    pixels, inside = silhouette.lens.project(camera)
    drawn = np.zeros_like(silhouette.pixels)
    index = np.rint(pixels[inside]).astype(np.int64) // silhouette.step
    drawn[index[:, 1], index[:, 0]] = True
    # a cell covers this many coarse pixels; closing joins the dots of its centre
    focal = silhouette.lens.intrinsics[0, 0]
    reach = 1 + int(np.ceil(0.5 * focal * cell / np.median(camera[:, 2]) / silhouette.step))
    # away from the edge, so that closing also joins dots along it
    drawn = ndimage.binary_closing(np.pad(drawn, reach, mode="edge"), iterations=reach)[reach:-reach, reach:-reach]
    inner = ndimage.binary_erosion(drawn, iterations=reach, border_value=1)
    both, either = (drawn & silhouette.pixels).sum(), (drawn | silhouette.pixels).sum()
    hidden = (inner & ~silhouette.pixels).sum() / max(inner.sum(), 1)
    return float(both / max(either, 1)), float(drawn.sum() * silhouette.step**2), float(hidden)
