"""The numbers behind orbit questions found a second way, for the audit: nothing of `turn`, `facts` or `hull` is used.

Directions come from where each camera sees the middle of its mask, through rotations alone; the vertical from products
of image rows; distances and surface from sparse points that lie in the masks. They differ from the generator's numbers
by what masks and points are worth, so every comparison has a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial import cKDTree

from qa_generation.orbit.capture import ObjectCapture

# a point belongs to the object when most views that observed it have it in their mask
OBJECT_SHARE = 0.5
# fewer points say nothing about distance, and more are wanted to tell surface
FEWEST_POINTS, FEWEST_SURFACE_POINTS = 20, 150
NEIGHBOURS = 12


@dataclass(frozen=True, eq=False)
class SecondLook:
    """Measures of one capture, each worked out on first use."""

    capture: ObjectCapture

    @cached_property
    def bearings(self) -> Float64[np.ndarray, "views 3"]:
        """Unit vectors from the cameras to the object: towards the centroid of the mask's pixels."""
        found = []
        for lens, mask, pose in zip(self.capture.lenses, self.capture.masks, self._poses, strict=True):
            rows, columns = np.nonzero(mask.pixels())
            ray = lens.directions(np.array([columns.mean(), rows.mean()]))
            found.append(np.linalg.inv(pose[:3, :3]) @ (ray / np.linalg.norm(ray)))
        return np.stack(found)

    @cached_property
    def up(self) -> Float64[np.ndarray, "3"]:
        """The vertical: at right angles to every two image rows, over all pairs; image-up decides the sign."""
        rows, mean_up = self._poses[:, 0, :3], -self._poses[:, 1, :3].sum(axis=0)
        first, second = np.triu_indices(len(rows), k=1)
        products = np.cross(rows[first], rows[second])
        axis = np.linalg.svd(products, full_matrices=False)[2][0]
        return axis if axis @ mean_up > 0 else -axis

    @cached_property
    def center(self) -> Float64[np.ndarray, "3"]:
        """The point nearest to all optical axes, as the solution of d x p = d x c over all cameras."""
        left, right = [], []
        for pose in self._poses:
            axis, position = pose[2, :3], -np.linalg.inv(pose[:3, :3]) @ pose[:3, 3]
            x, y, z = axis
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            left.append(cross)
            right.append(cross @ position)
        return np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0]

    def angle_deg(self, a: int, b: int) -> float:
        """Angle between two cameras seen from the object, by bearings alone."""
        return _angle(self.bearings[a], self.bearings[b])

    def angle_at_center_deg(self, a: int, b: int) -> float:
        """The same at the middle of the object that the questions mean."""
        return _angle(self.position(a) - self.center, self.position(b) - self.center)

    def step_deg(self, a: int, b: int) -> float:
        """From camera ``a`` to ``b`` round the vertical, counter-clockwise as seen from above, in (-180, 180]."""
        first, second = (-self.bearings[i] - (-self.bearings[i] @ self.up) * self.up for i in (a, b))
        return float(np.degrees(np.arctan2(self.up @ np.cross(first, second), first @ second)))

    def elevation_deg(self, index: int) -> float:
        """Angle of a camera above the level of the object."""
        return float(np.degrees(np.arcsin(np.clip(-self.bearings[index] @ self.up, -1, 1))))

    def distance(self, index: int) -> float | None:
        """Median distance from a camera to the points of the object; None where there are too few."""
        points = self.capture.points[self.on_object]
        if len(points) < FEWEST_POINTS:
            return None
        return float(np.median(np.linalg.norm(points - self.position(index), axis=1)))

    def position(self, index: int) -> Float64[np.ndarray, "3"]:
        """Where a camera stands."""
        pose = self._poses[index]
        return np.linalg.solve(pose[:3, :3], -pose[:3, 3])

    @cached_property
    def on_object(self) -> Bool[np.ndarray, " points"]:
        """Points that most of their views have in the mask."""
        seen = self.capture.seen
        votes = (seen & self._in_mask).sum(axis=0)
        return votes > OBJECT_SHARE * np.maximum(seen.sum(axis=0), 1)

    def shown_part(self, of: int) -> Float64[np.ndarray, " views"] | None:
        """Share of the object's points that ``of`` shows which every view shows, by area and the smaller cosine.

        None where there are too few points. What hides a point that faces the camera is not known here.
        """
        if self.on_object.sum() < FEWEST_SURFACE_POINTS:
            return None
        cosine, area = self._facing
        shared = np.minimum(cosine, cosine[of]) @ area
        return shared / max(float(shared[of]), 1e-12)

    @cached_property
    def _poses(self) -> Float64[np.ndarray, "views 4 4"]:
        return np.stack([view.world_to_camera for view in self.capture.views])

    @cached_property
    def _in_mask(self) -> Bool[np.ndarray, "views points"]:
        points = self.capture.points
        found = np.zeros((len(self._poses), len(points)), dtype=bool)
        for index, (lens, mask) in enumerate(zip(self.capture.lenses, self.capture.masks, strict=True)):
            pose, pixels = self._poses[index], mask.pixels()
            at, inside = lens.project((pose @ np.column_stack([points, np.ones(len(points))]).T).T[:, :3])
            x, y = np.rint(at[inside]).astype(int).T
            found[index, inside] = pixels[y, x]
        return found

    @cached_property
    def _facing(self) -> tuple[Float64[np.ndarray, "views points"], Float64[np.ndarray, " points"]]:
        """Cosine at which every view faces every object point, 0 where turned away or not in the mask; and areas."""
        points, seen = self.capture.points[self.on_object], self.capture.seen[:, self.on_object]
        tree = cKDTree(points)
        reach, neighbours = tree.query(points, k=NEIGHBOURS)
        patches = points[neighbours] - points[neighbours].mean(axis=1, keepdims=True)
        normals = np.linalg.eigh(np.einsum("pki,pkj->pij", patches, patches))[1][:, :, 0]
        lines = np.stack([self.position(i) for i in range(len(seen))])[:, None] - points[None]
        lines /= np.linalg.norm(lines, axis=2, keepdims=True)
        cosine = np.einsum("vpi,pi->vp", lines, normals)
        outward = np.sign((cosine * seen).sum(axis=0))
        cosine = np.clip(cosine * np.where(outward == 0, 1, outward), 0, None)
        return cosine * self._in_mask[:, self.on_object], reach[:, -1] ** 2


def _angle(first: Float64[np.ndarray, "3"], second: Float64[np.ndarray, "3"]) -> float:
    """Angle between two vectors in degrees, by the half-angle formula, exact near 0 and 180."""
    a, b = first / np.linalg.norm(first), second / np.linalg.norm(second)
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))
