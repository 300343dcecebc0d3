"""Writes synthetic rooms in ARKitScenes' layouts on disk, awkward cases included, so that its reader is exercised."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from PIL import Image
from scipy.spatial.transform import Rotation

from qa_generation.errors import InputError
from qa_generation.synthetic.content import RenderedView, SyntheticScene
from qa_generation.writers.scannet_mesh import write_mesh_ply

DEPTH_SIZE = (256, 192)
FIRST_MS, FRAME_MS = 6_790_123, 100
# how an upright camera's axes become those of a device held so that its pictures need n clockwise quarter turns
_COUNTER_CLOCKWISE = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class ARKitScenesOptions:
    """How a video is written.

    Attributes:
        layout: ``3dod`` or ``raw``.
        split: ``Training`` or ``Validation``.
        camera: ``lowres_wide``, ``vga_wide`` or ``wide``; the pictures keep the views' size whichever it is called.
        turns: clockwise quarter turns that the stored pictures need to be upright.
        pincam_offsets_ms: what the calibrations' names are off by, in turn; None for a calibration that is missing.
        off_poses: frames without a pose of their own: two, 20 ms before and after, have to be interpolated.
        lost: frames with no pose for a second around them.
        confidence: whether to write confidence; then depth in the corner is wrong and of confidence 0.
        phantom: also annotate a box in mid-air.
        skipped: mark the annotation as unusable.
    """

    layout: Literal["3dod", "raw"] = "3dod"
    split: Literal["Training", "Validation"] = "Training"
    camera: str = "lowres_wide"
    turns: int = 0
    pincam_offsets_ms: Sequence[int | None] = (0, -1, 1)
    off_poses: frozenset[int] = frozenset({1, 2})
    lost: frozenset[int] = frozenset()
    confidence: bool = False
    phantom: bool = False
    skipped: bool = False


def write_arkitscenes_scene(
    scene: SyntheticScene, out_root: Path, video_id: str, options: ARKitScenesOptions | None = None
) -> Path:
    """Writes ``out_root/<layout>/<split>/<video_id>/`` and returns that folder; an older one is replaced.

    View i becomes the frame at 6790.123 s plus 0.1 s (4 s where frames are lost) times i. Boxes are annotated in order
    of instance ids.

    Raises:
        InputError: the room has no views.
    """
    options = options or ARKitScenesOptions()
    final = out_root / options.layout / options.split / video_id
    partial = final.with_name(f".{video_id}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    frames = partial / f"{video_id}_frames" if options.layout == "3dod" else partial
    poses: list[tuple[int, Float64[np.ndarray, "4 4"]]] = []
    step_ms = 4000 if options.lost else FRAME_MS
    for number, view in enumerate(scene.views):
        time_ms = FIRST_MS + step_ms * number
        _write_frame(frames, f"{video_id}_", time_ms, number, view, options)
        poses += _poses_around(time_ms, number, view, options)
    if not poses:
        raise InputError(f"room {scene.scene_id} has no views to write")
    lines = [_trajectory_line(time_ms / 1000, pose) for time_ms, pose in poses]
    (frames / "lowres_wide.traj").write_text("".join(lines), encoding="utf-8")
    write_mesh_ply(partial / f"{video_id}_3dod_mesh.ply", scene.mesh.vertices.astype(np.float64), scene.mesh)
    (partial / f"{video_id}_3dod_annotation.json").write_text(json.dumps(_annotation(scene, options)))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final


def write_arkitscenes_metadata(folder: Path, visits: Mapping[str, int | None]) -> Path:
    """Writes ``metadata.csv`` into ``3dod/`` or ``raw/``: visit by video, None where it is not known."""
    header = "video_id,visit_id,fold,has_laser_scanner_point_clouds,is_in_upsampling,sky_direction\n"
    rows = [
        f"{float(video)},{'' if visit is None else float(visit)},Training,False,False,Up\n"
        for video, visit in visits.items()
    ]
    path = folder / "metadata.csv"
    path.write_text(header + "".join(rows), encoding="utf-8")
    return path


def _write_frame(
    folder: Path, prefix: str, time_ms: int, number: int, view: RenderedView, options: ARKitScenesOptions
) -> None:
    name = f"{prefix}{time_ms // 1000}.{time_ms % 1000:03d}"
    # what the device stored lies a quarter turn counter-clockwise for each clockwise one that is missing
    rgb, depth_m = (np.ascontiguousarray(np.rot90(layer, options.turns)) for layer in (view.rgb, view.depth_m))
    _save(folder / options.camera / f"{name}.png", rgb)
    if depth_m.shape != DEPTH_SIZE[::-1]:
        depth_m = np.asarray(Image.fromarray(depth_m).resize(DEPTH_SIZE, Image.Resampling.NEAREST))
    millimetres = np.rint(depth_m.astype(np.float64) * 1000).astype(np.uint16)
    if options.confidence:
        levels = np.full(depth_m.shape, 2, np.uint8)
        levels[:40, :40], millimetres[:40, :40] = 0, 30_000
        _save(folder / "confidence" / f"{name}.png", levels)
    _save(folder / "lowres_depth" / f"{name}.png", millimetres)
    offset = options.pincam_offsets_ms[number % len(options.pincam_offsets_ms)]
    if offset is not None:
        named_ms = time_ms + offset
        path = folder / f"{options.camera}_intrinsics" / f"{prefix}{named_ms // 1000}.{named_ms % 1000:03d}.pincam"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_pincam(view, options.turns))


def _pincam(view: RenderedView, turns: int) -> str:
    """``w h fx fy cx cy`` of the stored picture."""
    (width, height), (focal_x, focal_y) = view.size, (view.intrinsics[0, 0], view.intrinsics[1, 1])
    center_x, center_y = view.intrinsics[0, 2], view.intrinsics[1, 2]
    for _ in range(turns):  # counter-clockwise: what was right is now on top
        center_x, center_y = center_y, width - 1 - center_x
        width, height, focal_x, focal_y = height, width, focal_y, focal_x
    return f"{width} {height} {focal_x:.6f} {focal_y:.6f} {center_x:.6f} {center_y:.6f}"


def _poses_around(
    time_ms: int, number: int, view: RenderedView, options: ARKitScenesOptions
) -> list[tuple[int, Float64[np.ndarray, "4 4"]]]:
    """World-to-camera poses near a frame's time that give its own there."""
    if number in options.lost:
        return []
    exact = np.eye(4)
    turn = np.linalg.matrix_power(_COUNTER_CLOCKWISE, options.turns)
    exact[:3, :3], exact[:3, 3] = turn @ view.world_to_camera[:3, :3], turn @ view.world_to_camera[:3, 3]
    if number not in options.off_poses:
        return [(time_ms + 3, exact)]
    to_world = np.linalg.inv(exact)
    swing, move = np.array([0.02, -0.01, 0.03]), np.array([0.04, 0.02, -0.01])
    around = []
    for sign in (-1, 1):
        moved = np.eye(4)
        moved[:3, :3] = to_world[:3, :3] @ Rotation.from_rotvec(sign * swing).as_matrix()
        moved[:3, 3] = to_world[:3, 3] + sign * move
        around.append((time_ms + 20 * sign, np.linalg.inv(moved)))
    return around


def _trajectory_line(seconds: float, world_to_camera: Float64[np.ndarray, "4 4"]) -> str:
    numbers = [*Rotation.from_matrix(world_to_camera[:3, :3]).as_rotvec(), *world_to_camera[:3, 3]]
    return " ".join([f"{seconds:.9f}", *(f"{number:.12f}" for number in numbers)]) + "\n"


def _annotation(scene: SyntheticScene, options: ARKitScenesOptions) -> Mapping[str, Any]:
    data = []
    for number, instance in sorted(scene.instances.items()):
        box = instance.obb
        data.append(_entry(number, instance.category, box.center, box.extents, box.axes))
    if options.phantom:
        data.append(_entry(len(data) + 1, "tv monitor", np.array([2.5, 3.9, 2.3]), np.full(3, 0.1), np.eye(3)))
    return {"stats": {"nEntities": len(data)}, "skipped": options.skipped, "data": data}


def _entry(number: int, category: str, center: np.ndarray, extents: np.ndarray, axes: np.ndarray) -> Mapping[str, Any]:
    box = {
        "centroid": np.asarray(center, np.float64).tolist(),
        "axesLengths": np.asarray(extents, np.float64).tolist(),
        "normalizedAxes": np.asarray(axes, np.float64).reshape(9).tolist(),
    }
    segments = {"obb": box, "obbAligned": box}
    return {"uid": f"{number:08x}", "label": category.replace(" ", "_"), "modelId": number, "segments": segments}


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
