"""What only the scenes can tell about a record: outlines of the visible masks, and lines along measured distances."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from qa_generation.browser.measured_lines import drawn, measured_segment
from qa_generation.browser.outlines import outline_path
from qa_generation.orbit.capture import OBJECT_ID, ObjectCapture
from qa_generation.readers.base import SceneReader
from qa_generation.records import QARecord
from qa_generation.scene import Scene, View

# longer side of the grid that masks are drawn on, pixels
MASK_SIDE = 400


@dataclass
class Wanted:
    """What the shown records of one scene ask for: view -> instances, and numeric questions."""

    views: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    measured: list[QARecord] = field(default_factory=list)

    def add(self, record: QARecord, instance_ids: Iterable[int]) -> None:
        """Takes note of one record and the instances that its marks name."""
        ids = set(instance_ids)
        for view_id in record.frames:
            self.views[view_id] |= ids
        if record.unit in ("m", "cm"):
            # its long texts are not needed here
            self.measured.append(replace(record, question="", options=(), images=(), evidence="[]"))


@dataclass(frozen=True)
class MarkJob:
    """All that a worker needs besides the scene id."""

    reader: SceneReader
    wanted: Mapping[str, Wanted]


def scene_marks(job: MarkJob, scene_id: str) -> dict[str, Any]:
    """``{"masks": {view: {instance: {"d", "box", "name"}}}, "lines": {record: {"label", "frames"}}}``, in percent.

    Raises:
        SceneError: the scene cannot be read.
    """
    scene, wanted = job.reader.read(scene_id), job.wanted[scene_id]
    if isinstance(scene, ObjectCapture):
        return {"masks": _object_masks(scene, wanted.views), "lines": {}}
    views = {view.view_id: view for view in scene.views}
    # the ray caster is heavy to import
    from qa_generation.raycast import RayCaster

    caster = RayCaster.of_mesh(scene.mesh)
    masks: dict[str, dict[str, Any]] = {}
    for view_id, ids in sorted(wanted.views.items()):
        if view_id in views:
            masks[view_id] = _outlines(instance_map(caster, scene, views[view_id]), ids, scene)
    lines = {record.id: found for record in wanted.measured if (found := _lines(record, scene, views))}
    return {"masks": masks, "lines": lines}


def _object_masks(capture: ObjectCapture, views: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The stored masks of the one object, thinned to the grid of the others."""
    masks = {view.view_id: mask for view, mask in zip(capture.views, capture.masks, strict=True)}
    found = {}
    for view_id in sorted(set(views) & set(masks)):
        step = -(-max(masks[view_id].size) // MASK_SIDE)
        mask = masks[view_id].pixels()[step // 2 :: step, step // 2 :: step]
        if mask.any() and (path := outline_path(mask)):
            found[view_id] = {str(OBJECT_ID): {"d": path, "box": _box(mask), "name": capture.category}}
    return found


def instance_map(caster: Any, scene: Scene, view: View) -> Int32[np.ndarray, "height width"]:
    """Which instance each pixel of a small picture shows, 0 for none."""
    from qa_generation.raycast import Region, scale_intrinsics, view_rays

    scale = MASK_SIDE / max(view.size)
    size = (max(1, round(view.size[0] * scale)), max(1, round(view.size[1] * scale)))
    intrinsics = scale_intrinsics(view.intrinsics, view.size, size)
    _, triangle = caster.first_hits(view_rays(intrinsics, view.world_to_camera, Region.frame(size)))
    return np.where(triangle >= 0, scene.mesh.triangle_instances[np.maximum(triangle, 0)], 0).astype(np.int32)


def _outlines(instances: Int32[np.ndarray, "height width"], ids: set[int], scene: Scene) -> dict[str, Any]:
    found = {}
    for instance_id in sorted(ids):
        mask = instances == instance_id
        if instance_id > 0 and mask.any() and (path := outline_path(mask)):
            known = scene.instances.get(instance_id)
            found[str(instance_id)] = {"d": path, "box": _box(mask), "name": known.category if known else ""}
    return found


def _box(mask: Bool[np.ndarray, "height width"]) -> list[float]:
    """[left, top, width, height] in percent."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    left, top = 100 * columns[0] / width, 100 * rows[0] / height
    right, bottom = 100 * (columns[-1] + 1) / width, 100 * (rows[-1] + 1) / height
    return [round(float(n), 2) for n in (left, top, right - left, bottom - top)]


def _lines(record: QARecord, scene: Scene, views: Mapping[str, View]) -> dict[str, Any]:
    frames = [view_id for view_id in record.frames if view_id in views]
    if record.question_type == "obj_distance_occ_na" and record.query_frame not in views:
        return {}
    segment = measured_segment(record, scene)
    if segment is None:
        return {}
    # seen from the asking camera the line is a point: its own end
    found = {view_id: line for view_id in frames if (line := drawn(segment, views[view_id]))}
    return {"label": f"{record.ground_truth} {record.unit}", "frames": found} if found else {}
