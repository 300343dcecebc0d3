"""What stands still while the car drives on, and which pictures show nothing that moves.

Views of different moments may only be asked about together where every object is at one place in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qa_generation.raycast import NEAR_M
from qa_generation.readers.waymo_boxes import AnnotatedBox
from qa_generation.scene import OrientedBox, View

# boxes of parked cars are drawn anew at every timestamp and differ by less than this
STILL_M = 0.2
# an object that was annotated at a smaller share of the timestamps may move while nobody looks
LEAST_SHARE = 0.5

Moments = Mapping[int, Sequence[AnnotatedBox]]


@dataclass(frozen=True, eq=False)
class Motion:
    """Annotated objects between the first and the last moment of a scene, by object id.

    Attributes:
        still: one box for each object that stays where it is, that of the moment nearest to the middle.
        moving: every moment's box of each object that moves, or that is seen too seldom to tell.
    """

    still: Mapping[str, AnnotatedBox]
    moving: Mapping[str, Mapping[int, OrientedBox]]


def split_motion(moments: Moments, middle: int) -> Motion:
    """Tells what stands still; ``moments`` holds all timestamps of the scene, the boxes in world metres."""
    tracks: dict[str, dict[int, AnnotatedBox]] = {}
    for timestamp, boxes in sorted(moments.items()):
        for box in boxes:
            tracks.setdefault(box.object_id, {})[timestamp] = box
    still: dict[str, AnnotatedBox] = {}
    moving: dict[str, dict[int, OrientedBox]] = {}
    for object_id, track in sorted(tracks.items()):
        centers = np.array([box.box.center for box in track.values()])
        moved_m = float(np.linalg.norm(np.ptp(centers, axis=0)))
        if moved_m < STILL_M and len(track) >= LEAST_SHARE * len(moments):
            still[object_id] = track[min(track, key=lambda timestamp: abs(timestamp - middle))]
        else:
            moving[object_id] = {timestamp: box.box for timestamp, box in track.items()}
    return Motion(still, moving)


def shows_motion(view: View, timestamp: int, motion: Motion) -> bool:
    """Whether something that moves may be in the picture; boxes are taken as balls, and hiding is left out of account.

    An object without a box at the timestamp is looked for where its nearest box in time is.
    """
    return any(
        may_show(view, track[min(track, key=lambda moment: abs(moment - timestamp))])
        for track in motion.moving.values()
    )


def may_show(view: View, box: OrientedBox) -> bool:
    """False only where the ball around the box lies outside of what the view can see."""
    center = view.world_to_camera[:3, :3] @ box.center + view.world_to_camera[:3, 3]
    radius = float(np.linalg.norm(box.extents)) / 2
    if center[2] + radius <= NEAR_M:
        return False
    (width, height), to_ray = view.size, np.linalg.inv(view.intrinsics)
    pixels = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    rays = np.column_stack([pixels, np.ones(4)]) @ to_ray.T
    # the four sides of the viewing pyramid, normals pointing into it
    normals = np.cross(rays, np.roll(rays, -1, axis=0))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return bool((normals @ center > -radius).all())
