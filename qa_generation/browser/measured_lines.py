"""Where the line that a numeric question measures runs in the pictures: nearest points, and the longest side of a box.

For looking only; the numbers beside the lines are the record's own.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from qa_generation.open3d_native import open3d
from qa_generation.records import QARecord
from qa_generation.scene import Mesh, OrientedBox, Scene, View

Segment = Float64[np.ndarray, "2 3"]
NEAR_M = 0.05
_STEPS = 8


class _Surface:
    """Triangles of one instance, asked for the place nearest to a point."""

    def __init__(self, mesh: Mesh, instance_id: int) -> None:
        corners = mesh.triangles_of(instance_id).astype(np.float32)
        self.points = corners.reshape(-1, 3)
        self._scene = open3d().t.geometry.RaycastingScene(nthreads=1)
        self._tensor = open3d().core.Tensor.from_numpy
        triangles = np.arange(len(self.points), dtype=np.uint32).reshape(-1, 3)
        self._scene.add_triangles(self._tensor(self.points), self._tensor(triangles))

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """The place of the surface nearest to each point."""
        wanted = self._tensor(np.ascontiguousarray(points, dtype=np.float32))
        return self._scene.compute_closest_points(wanted, nthreads=1)["points"].numpy()


def measured_segment(record: QARecord, scene: Scene) -> Segment | None:
    """Both ends in world metres of what a distance or size question measures; None for other questions."""
    known = [i for i in (*record.target_ids, *record.reference_ids) if i in scene.instances]
    if record.question_type == "obj_distance_occ_na" and known:
        camera = scene.view(record.query_frame).camera_center
        return np.stack([camera, _Surface(scene.mesh, known[0]).nearest(camera[None])[0]]).astype(np.float64)
    if record.question_type == "obj_obj_distance_occ_na" and len(known) >= 2:
        return between(_Surface(scene.mesh, known[0]), _Surface(scene.mesh, known[-1]))
    if record.question_type == "obj_size_occ_na" and known:
        return longest_side(scene.instances[known[0]].obb)
    return None


def between(first: _Surface, second: _Surface) -> Segment:
    """Places of two surfaces that are near each other: from the best corner, moved to and fro until they rest."""
    from_first, from_second = second.nearest(first.points), first.nearest(second.points)
    gaps = [np.linalg.norm(from_first - first.points, axis=1), np.linalg.norm(from_second - second.points, axis=1)]
    if gaps[0].min() <= gaps[1].min():
        start = first.points[int(gaps[0].argmin())]
    else:
        start = from_second[int(gaps[1].argmin())]
    for _ in range(_STEPS):
        end = second.nearest(start[None])[0]
        start = first.nearest(end[None])[0]
    return np.stack([start, end]).astype(np.float64)


def longest_side(box: OrientedBox) -> Segment:
    """The longest edge of the box that stands lowest and comes first; both ends, metres."""
    axis = int(np.argmax(box.extents))
    others = [i for i in range(3) if i != axis]
    half = box.extents[:, None] * box.axes / 2
    corner = box.center - half[others].sum(axis=0)
    return np.stack([corner - half[axis], corner + half[axis]])


def drawn(segment: Segment, view: View) -> dict[str, list] | None:
    """The part inside the picture, whether or not something hides it; None where none is.

    ``at`` is [x0, y0, x1, y1] in percent, ``ends`` tells which of its ends are the segment's own.
    """
    ends = segment @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    depth_m = ends[:, 2]
    if (depth_m <= NEAR_M).all():
        return None
    cut = ends.copy()
    for here, other in ((0, 1), (1, 0)):
        if depth_m[here] <= NEAR_M:
            share = (NEAR_M - depth_m[here]) / (depth_m[other] - depth_m[here])
            cut[here] = ends[here] + share * (ends[other] - ends[here])
    pixels = cut @ view.intrinsics.T
    flat = (pixels[:, :2] / pixels[:, 2:] + 0.5) * 100 / np.array(view.size)
    part = clipped(flat)
    if part is None:
        return None
    low, high = part
    at = [round(float(n), 2) for share in part for n in flat[0] + share * (flat[1] - flat[0])]
    return {"at": at, "ends": [bool(low == 0 and depth_m[0] > NEAR_M), bool(high == 1 and depth_m[1] > NEAR_M)]}


def clipped(ends: Float64[np.ndarray, "2 2"]) -> tuple[float, float] | None:
    """Which part of a line, as shares of it, lies within 0..100 both ways (Liang and Barsky 1984); None for no part."""
    start, along = ends[0], ends[1] - ends[0]
    low, high = 0.0, 1.0
    for axis in range(2):
        for edge, sign in ((0.0, -1.0), (100.0, 1.0)):
            speed, room = float(sign * along[axis]), float(sign * (edge - start[axis]))
            if abs(speed) < 1e-12:
                if room < 0:
                    return None
                continue
            low, high = (max(low, room / speed), high) if speed < 0 else (low, min(high, room / speed))
    return (low, high) if low <= high else None
