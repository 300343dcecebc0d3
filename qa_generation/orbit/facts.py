"""`OrbitFacts`: everything about a capture that questions are decided by, with how far each number can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from qa_generation.errors import SceneError
from qa_generation.orbit.capture import ObjectCapture
from qa_generation.orbit.hull import CELLS, Hull, carve
from qa_generation.orbit.turn import Turn, angle_between, nearest_to_lines, turn_of

# an outline that matches the masks worse than this on average: masks and poses contradict each other
MIN_SILHOUETTE_IOU = 0.4
# from here on the hull tells about surface
TRUSTED_SILHOUETTE_IOU = 0.92
# seen from so far above, a camera's azimuth says little
MAX_ELEVATION_DEG = 65.0


@dataclass(frozen=True, eq=False)
class OrbitFacts:
    """What questions about one capture rest on.

    Attributes:
        capture: the capture.
        turn: cameras about the middle of the object.
        other_turn: the same about another estimate of the middle, from the masks instead of the optical axes.
        hull: the visual hull.
    """

    capture: ObjectCapture
    turn: Turn
    other_turn: Turn
    hull: Hull

    @cached_property
    def doubt_deg(self) -> Float64[np.ndarray, "views views"]:
        """By how much the direction of either camera of a pair depends on where the middle of the object is taken."""
        own = np.diag(angle_between(self.turn.directions, self.other_turn.directions))
        return own[:, None] + own[None]

    @cached_property
    def angle_deg(self) -> Float64[np.ndarray, "views views"]:
        """Angle between every two cameras, seen from the object."""
        return self.turn.angle_deg()

    @cached_property
    def azimuth_step_deg(self) -> Float64[np.ndarray, "views views"]:
        """From the row's camera to the column's, counter-clockwise as seen from above, the shorter way."""
        return self.turn.azimuth_step_deg()

    @cached_property
    def level(self) -> Bool[np.ndarray, " views"]:
        """Cameras whose azimuth means something."""
        return (np.abs(self.turn.elevation_deg) <= MAX_ELEVATION_DEG) & self.turn.up_is_known

    @cached_property
    def distances(self) -> Float64[np.ndarray, "2 views"]:
        """From the cameras to the object for both estimates of its middle, in the capture's own unit."""
        return np.stack([self.turn.distance, self.other_turn.distance])

    @cached_property
    def surface_is_known(self) -> bool:
        """Whether the hull is near enough to the object to tell which surface two views share."""
        return self.turn.is_full and bool(self.hull.silhouette_iou.mean() >= TRUSTED_SILHOUETTE_IOU)

    @cached_property
    def cut_off_share(self) -> Float64[np.ndarray, " views"]:
        """Share of the object's surface that lies outside the picture, 0-1."""
        return ((~self.hull.inside_frame) @ self.hull.area) / max(float(self.hull.area.sum()), 1e-12)


def gather_facts(capture: ObjectCapture, cells: int = CELLS) -> OrbitFacts:
    """The facts of a capture, its hull carved from a grid of so many cells per side.

    Raises:
        SceneError: masks and poses contradict each other.
    """
    try:
        turn = capture.turn
        other = turn_of(capture.world_to_camera, masks_center(capture))
        hull = carve(capture, cells)
    except ValueError as error:
        raise SceneError(f"capture {capture.scene_id}: {error}") from None
    match = float(hull.silhouette_iou.mean())
    if match < MIN_SILHOUETTE_IOU:
        raise SceneError(
            f"capture {capture.scene_id}: masks and poses contradict each other, outlines of the common shape match "
            f"the masks by {match:.2f}, expected at least {MIN_SILHOUETTE_IOU}"
        )
    # one vertical for both: the estimates differ in the middle of the object only
    return OrbitFacts(capture, turn, replace(other, up=turn.up), hull)


def masks_center(capture: ObjectCapture) -> Float64[np.ndarray, "3"]:
    """The point nearest to the lines through the middles of the masks; raises ``ValueError`` for parallel lines."""
    origins = np.stack([view.camera_center for view in capture.views])
    return nearest_to_lines(origins, mask_bearings(capture))


def mask_bearings(capture: ObjectCapture) -> Float64[np.ndarray, "views 3"]:
    """World directions in which every camera sees the middle of its mask."""
    middles = np.stack([np.add(mask.box[:2], mask.box[2:]) / 2 - 0.5 for mask in capture.masks])
    bearings = []
    for lens, middle, pose in zip(capture.lenses, middles, capture.world_to_camera, strict=True):
        bearings.append(lens.directions(middle) @ pose[:3, :3])
    return np.stack(bearings)
