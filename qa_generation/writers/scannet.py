"""Writes synthetic rooms in ScanNet v2's layout on disk, so that its reader is exercised as by the real thing."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int32
from PIL import Image

from qa_generation.errors import InputError
from qa_generation.synthetic.content import RenderedView, SyntheticScene
from qa_generation.writers.label_table import write_label_table
from qa_generation.writers.scannet_mesh import vertex_instances, vertex_segments, write_label_ply, write_mesh_ply
from qa_generation.writers.sens_writer import Sensor, SensorFrame, write_sens

LABEL_TABLE = "scannetv2-labels.combined.tsv"
# the published scans put this many metres at most between a scan's origin and its aligned one
MAX_SHIFT_M = 6.0


def scannet_name(index: int) -> str:
    """The name of scan ``index`` (from 0): a space of its own, and its first scan."""
    return f"scene{index:04d}_00"


def write_scannet_scene(
    scene: SyntheticScene, out_root: Path, name: str, *, depth_size: tuple[int, int] | None = None
) -> Path:
    """Writes ``out_root/scans/<name>/`` and returns that folder; an older one of that name is replaced.

    The files are the official ones: ``.sens``, ``.txt``, ``_vh_clean_2.ply``, ``_vh_clean_2.labels.ply``, the segments
    and the aggregation. As in a real scan, mesh and poses are in a frame of their own, and ``axisAlignment`` leads from
    it to the frame of ``scene``. objectId is the instance id less 1. The folder appears once all of it is written.

    Args:
        name: ``scene0000_00`` and so on, see ``scannet_name``.
        depth_size: (width, height) to write depth in, by default that of the pictures.

    Raises:
        InputError: the name is of another form, the room has no views, or two instances share a vertex.
    """
    if not re.fullmatch(r"scene\d{4,}_\d{2}", name):
        raise InputError(f"{name!r} is no name of a ScanNet scan, expected one like scene0000_00")
    final, partial = out_root / "scans" / name, out_root / "scans" / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    alignment = scan_alignment(name)
    to_scan = np.linalg.inv(alignment)
    sensor = _write_frames(partial / f"{name}.sens", scene, to_scan, depth_size)
    _write_info(partial / f"{name}.txt", sensor, len(scene.views), alignment)
    _write_annotated_mesh(partial, name, scene, to_scan)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final


def write_scannet_labels(out_root: Path) -> Path:
    """Writes the label table for all scans that are under ``out_root/scans`` by now, and returns its path."""
    counts: Counter[str] = Counter()
    for aggregation in sorted(out_root.glob("scans/scene*/*.aggregation.json")):
        counts.update(group["label"] for group in json.loads(aggregation.read_text())["segGroups"])
    path = out_root / LABEL_TABLE
    write_label_table(path, counts)
    return path


def scan_alignment(name: str) -> Float64[np.ndarray, "4 4"]:
    """The transform from the frame of scan ``name`` to aligned coordinates: a turn about z and a shift, of its own.

    Rounded to six decimals, as the file states it, so that writing loses nothing more.
    """
    rng = np.random.default_rng(
        int.from_bytes(hashlib.sha256(f"axis alignment {name}".encode()).digest()[:8], "little")
    )
    angle = rng.uniform(-math.pi, math.pi)
    alignment = np.eye(4)
    alignment[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    alignment[:3, 3] = rng.uniform(-MAX_SHIFT_M, MAX_SHIFT_M, size=3) * [1.0, 1.0, 0.05]
    return alignment.round(6)


def _write_frames(
    path: Path, scene: SyntheticScene, to_scan: Float64[np.ndarray, "4 4"], depth_size: tuple[int, int] | None
) -> Sensor:
    views = iter(scene.views)
    first = next(views, None)
    if first is None:
        raise InputError(f"{path}: room {scene.scene_id} has no views to write")
    sensor = Sensor(
        name="synthetic room",
        color_intrinsics=first.intrinsics,
        depth_intrinsics=_resized(first.intrinsics, first.size, depth_size or first.size),
        color_size=first.size,
        depth_size=depth_size or first.size,
    )

    def frames() -> Iterator[SensorFrame]:
        yield _sensor_frame(first, sensor, to_scan)
        for view in views:
            yield _sensor_frame(view, sensor, to_scan)

    write_sens(path, sensor, frames(), len(scene.views))
    return sensor


def _sensor_frame(view: RenderedView, sensor: Sensor, to_scan: Float64[np.ndarray, "4 4"]) -> SensorFrame:
    if not np.allclose(view.intrinsics, sensor.color_intrinsics):
        raise InputError(f"view {view.view_id} has intrinsics of its own, a .sens file holds one camera for all frames")
    depth = view.depth_m
    if depth.shape[::-1] != sensor.depth_size:
        depth = np.asarray(Image.fromarray(depth).resize(sensor.depth_size, Image.Resampling.NEAREST))
    return SensorFrame(view.rgb, depth, to_scan @ np.linalg.inv(view.world_to_camera))


def _resized(
    intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int], new_size: tuple[int, int]
) -> Float64[np.ndarray, "3 3"]:
    """Intrinsics after resizing; pixel centres at integers, so the corner of the picture is at -0.5."""
    result = np.array(intrinsics, dtype=np.float64)
    for row in range(2):
        factor = new_size[row] / size[row]
        result[row] *= factor
        result[row, 2] = (intrinsics[row, 2] + 0.5) * factor - 0.5
    return result


def _write_info(path: Path, sensor: Sensor, frame_count: int, alignment: Float64[np.ndarray, "4 4"]) -> None:
    lines = {"axisAlignment": " ".join(f"{number:.6f}" for number in alignment.flatten()) + " "}
    for camera, size in (("color", sensor.color_size), ("depth", sensor.depth_size)):
        matrix = sensor.color_intrinsics if camera == "color" else sensor.depth_intrinsics
        lines |= {f"{camera}Width": str(size[0]), f"{camera}Height": str(size[1])}
        entries = {"fx": matrix[0, 0], "fy": matrix[1, 1], "mx": matrix[0, 2], "my": matrix[1, 2]}
        lines |= {f"{entry}_{camera}": f"{number:.6f}" for entry, number in entries.items()}
    lines["colorToDepthExtrinsics"] = " ".join(f"{number:.6f}" for number in np.eye(4).flatten()) + " "
    lines |= {"numColorFrames": str(frame_count), "numDepthFrames": str(frame_count)}
    lines |= {"numIMUmeasurements": str(frame_count), "sceneType": "Synthetic"}
    path.write_text("".join(f"{key} = {lines[key]}\n" for key in sorted(lines)), encoding="utf-8")


def _write_annotated_mesh(folder: Path, name: str, scene: SyntheticScene, to_scan: Float64[np.ndarray, "4 4"]) -> None:
    owners = vertex_instances(scene.mesh, name)
    segments = vertex_segments(scene.mesh)
    vertices = scene.mesh.vertices.astype(np.float64) @ to_scan[:3, :3].T + to_scan[:3, 3]
    categories = {number: instance.category for number, instance in scene.instances.items()}
    write_mesh_ply(folder / f"{name}_vh_clean_2.ply", vertices, scene.mesh)
    write_label_ply(folder / f"{name}_vh_clean_2.labels.ply", vertices, scene.mesh, owners, categories)
    segment_file = f"{name}_vh_clean_2.0.010000.segs.json"
    parameters = {"kThresh": "0.01", "segMinVerts": "20", "minPoints": "750", "maxPoints": "30000"}
    _write_json(folder / segment_file, {"params": parameters, "sceneId": name, "segIndices": segments.tolist()})
    groups = [
        {"id": place, "objectId": number - 1, "segments": _segments_of(number, owners, segments), "label": category}
        for place, (number, category) in enumerate(sorted(categories.items()))
    ]
    aggregation = {"sceneId": f"scannet.{name}", "appId": "Aggregator.v2", "segGroups": groups}
    _write_json(folder / f"{name}.aggregation.json", aggregation | {"segmentsFile": f"scannet.{segment_file}"})


def _segments_of(
    instance_id: int, owners: Int32[np.ndarray, " vertices"], segments: Int32[np.ndarray, " vertices"]
) -> list[int]:
    found: list[int] = np.unique(segments[owners == instance_id]).tolist()
    return found


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
