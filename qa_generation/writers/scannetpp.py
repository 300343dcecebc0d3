"""Writes synthetic rooms in ScanNet++ v2's layout on disk, awkward cases included, so that its reader is exercised."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from qa_generation.errors import InputError
from qa_generation.synthetic.content import RenderedView, SyntheticScene
from qa_generation.writers.scannet_mesh import vertex_instances, vertex_segments, write_mesh_ply
from qa_generation.writers.scannetpp_depth import DepthCoding, DepthWriter
from qa_generation.writers.scannetpp_lens import RadialTangentialLens, fitting_fisheye, take
from qa_generation.writers.scannetpp_poses import arkit_entry, nerfstudio_matrix, write_colmap_text, write_transforms

QUALITY = 95


@dataclass(frozen=True)
class ScanNetPPOptions:
    """How a scene is written; the defaults are what the dataset's download and toolkit give together.

    Attributes:
        depth: coding of the iPhone's depth.
        colmap_prefix: what COLMAP's names of iPhone frames begin with: ``video/``, ``iphone/`` or nothing.
        without_colmap: frames that COLMAP did not pose, so that only ARKit's poses have them.
        lost: frames without finite ARKit pose.
        arkit_drift_m: how far ARKit's positions are off along x, while COLMAP's are exact.
        iphone_distortion: k1 k2 p1 p2 of the iPhone's lens, None for none.
        blurred: DSLR photographs that are marked ``is_bad``; they are black.
        swallowed: instance -> smaller instances whose segments its group names too.
        without_box: instances whose group has no ``obb``.
    """

    depth: DepthCoding = "lz4"
    colmap_prefix: str = "video/"
    without_colmap: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    arkit_drift_m: float = 0.0
    iphone_distortion: tuple[float, float, float, float] | None = None
    blurred: frozenset[int] = frozenset()
    swallowed: Mapping[int, Sequence[int]] = field(default_factory=dict)
    without_box: frozenset[int] = frozenset()


def write_scannetpp_scene(
    scene: SyntheticScene, out_root: Path, scene_id: str, options: ScanNetPPOptions | None = None
) -> Path:
    """Writes ``out_root/data/<scene_id>/`` and returns that folder; an older one of that name is replaced.

    View i becomes frame i of the iPhone's video and photograph i of the DSLR, once as a fisheye's and once undistorted.
    objectId is the instance id less 1.

    Raises:
        InputError: the room has no views, its views differ in size or intrinsics, or two instances share a vertex.
    """
    options = options or ScanNetPPOptions()
    final, partial = out_root / "data" / scene_id, out_root / "data" / f".{scene_id}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    _write_scans(partial / "scans", scene, scene_id, options)
    poses, first = _write_pictures(partial, scene, options)
    _write_iphone_poses(partial / "iphone", poses, first, options)
    _write_dslr_poses(partial / "dslr", poses, first, options)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final


def write_scannetpp_lists(
    out_root: Path, splits: Mapping[str, Sequence[str]], mapping: Mapping[str, tuple[str, str]]
) -> None:
    """Writes ``splits/<name>.txt`` and the metadata; ``mapping`` is (semantic, instance) class by raw label."""
    (out_root / "splits").mkdir(parents=True, exist_ok=True)
    for name, scene_ids in splits.items():
        (out_root / "splits" / f"{name}.txt").write_text("".join(f"{scene_id}\n" for scene_id in scene_ids))
    folder = out_root / "metadata" / "semantic_benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{label},1,{semantic},{instance}\n" for label, (semantic, instance) in mapping.items()]
    (folder / "map_benchmark.csv").write_text("class,count,semantic_map_to,instance_map_to\n" + "".join(rows))
    classes = "".join(f"{label}\n" for label in mapping)
    (folder.parent / "semantic_classes.txt").write_text(classes)
    (folder.parent / "instance_classes.txt").write_text(classes)


def _write_scans(folder: Path, scene: SyntheticScene, scene_id: str, options: ScanNetPPOptions) -> None:
    folder.mkdir(parents=True)
    mesh = scene.mesh
    owners, segments = vertex_instances(mesh, scene_id), vertex_segments(mesh)
    write_mesh_ply(folder / "mesh_aligned_0.05.ply", mesh.vertices.astype(np.float64), mesh)
    parameters = {"kThresh": "0.01", "segMinVerts": "20"}
    _write_json(folder / "segments.json", {"params": parameters, "sceneId": scene_id, "segIndices": segments.tolist()})
    groups = []
    for number, instance in sorted(scene.instances.items()):
        claimed = np.isin(owners, [number, *options.swallowed.get(number, ())])
        group: dict[str, Any] = {"id": number, "objectId": number - 1, "label": instance.category}
        group["segments"] = np.unique(segments[claimed]).tolist()
        if number in options.swallowed:
            low, high = mesh.vertices[claimed].min(axis=0), mesh.vertices[claimed].max(axis=0)
            group["obb"] = _obb((low + high) / 2, high - low, np.eye(3))
        elif number not in options.without_box:
            group["obb"] = _obb(instance.obb.center, instance.obb.extents, instance.obb.axes)
        groups.append(group)
    content = {"sceneId": f"scannetpp.{scene_id}", "appId": "STK.ScanAnnotator", "segGroups": groups}
    _write_json(folder / "segments_anno.json", content)


def _obb(center: np.ndarray, extents: np.ndarray, axes: np.ndarray) -> dict[str, list[float]]:
    """``normalizedAxes`` lists the first axis' three numbers, then the second's, then the third's."""
    lists: list[list[float]] = [np.asarray(part, np.float64).reshape(-1).tolist() for part in (center, extents, axes)]
    return {"centroid": lists[0], "axesLengths": lists[1], "normalizedAxes": lists[2]}


def _write_pictures(
    folder: Path, scene: SyntheticScene, options: ScanNetPPOptions
) -> tuple[list[Float64[np.ndarray, "4 4"]], RenderedView]:
    """Writes all pictures, masks and depth; the world-to-camera poses and the first view."""
    for name in ("iphone/rgb", *(f"dslr/{part}" for part in _DSLR_FOLDERS)):
        (folder / name).mkdir(parents=True)
    first: RenderedView | None = None
    poses = []
    depth_writer = DepthWriter(folder / "iphone", options.depth)
    for number, view in enumerate(scene.views):
        first = first or view
        if view.size != first.size or not np.allclose(view.intrinsics, first.intrinsics):
            raise InputError(f"view {view.view_id} has another camera than the first, a scene here has one for all")
        poses.append(view.world_to_camera)
        phone = _phone_lens(options, view)
        rgb, depth_m = view.rgb, view.depth_m
        if phone is not None:
            rgb, depth_m = take(phone, rgb, view.intrinsics), take(phone, depth_m, view.intrinsics, order=0)
        _write_jpeg(folder / "iphone" / "rgb" / f"frame_{number:06d}.jpg", rgb)
        depth_writer.add(depth_m)
        _write_photograph(folder / "dslr", number, view, number in options.blurred)
    depth_writer.finish()
    if first is None:
        raise InputError(f"room {scene.scene_id} has no views to write")
    return poses, first


_DSLR_FOLDERS = ("resized_images", "resized_anon_masks", "resized_undistorted_images", "resized_undistorted_masks")


def _photograph(number: int) -> str:
    return f"DSC{1000 + 3 * number:05d}.JPG"


def _write_photograph(folder: Path, number: int, view: RenderedView, blurred: bool) -> None:
    rgb = np.zeros_like(view.rgb) if blurred else view.rgb
    fisheye = take(fitting_fisheye(view.intrinsics, view.size), rgb, view.intrinsics)
    mask = np.full(rgb.shape[:2], 255, np.uint8)
    for kind, picture in (("resized", fisheye), ("resized_undistorted", rgb)):
        _write_jpeg(folder / f"{kind}_images" / _photograph(number), picture)
        masks = folder / ("resized_anon_masks" if kind == "resized" else "resized_undistorted_masks")
        Image.fromarray(mask).save(masks / Path(_photograph(number)).with_suffix(".png"))


def _write_iphone_poses(
    folder: Path, poses: Sequence[Float64[np.ndarray, "4 4"]], first: RenderedView, options: ScanNetPPOptions
) -> None:
    entries = {}
    for number, pose in enumerate(poses):
        camera_to_world = np.linalg.inv(pose)
        camera_to_world[0, 3] += options.arkit_drift_m
        if number in options.lost:
            camera_to_world[:] = np.nan
        entries[f"frame_{number:06d}"] = arkit_entry(number, camera_to_world, first.intrinsics, first.size)
    _write_json(folder / "pose_intrinsic_imu.json", entries)
    named = {
        f"{options.colmap_prefix}frame_{number:06d}.jpg": pose
        for number, pose in enumerate(poses)
        if number not in options.without_colmap
    }
    # 1920x1440 as in the dataset, whatever size the extracted pictures have
    scale = 1920 / first.size[0]
    phone = _phone_lens(options, first)
    focal = np.array([first.intrinsics[0, 0], first.intrinsics[1, 1]]) if phone is None else np.repeat(phone.focal, 2)
    center = first.intrinsics[:2, 2] + 0.5 if phone is None else np.array(first.size) / 2
    params = [*(focal * scale), *(center * scale), *(options.iphone_distortion or [0.0] * 4)]
    size = (1920, round(first.size[1] * scale))
    write_colmap_text(folder / "colmap", "OPENCV", size, params, dict(reversed(named.items())))
    _write_json(folder / "exif.json", {f"{number}.0": {} for number in range(len(poses))})


def _phone_lens(options: ScanNetPPOptions, view: RenderedView) -> RadialTangentialLens | None:
    if options.iphone_distortion is None:
        return None
    # a little longer than the pinhole, so that what it sees is in the pinhole's picture
    return RadialTangentialLens(1.15 * float(view.intrinsics[0, 0]), options.iphone_distortion)


def _write_dslr_poses(
    folder: Path, poses: Sequence[Float64[np.ndarray, "4 4"]], first: RenderedView, options: ScanNetPPOptions
) -> None:
    fisheye = fitting_fisheye(first.intrinsics, first.size)
    middle = [first.size[0] / 2, first.size[1] / 2]
    params = [fisheye.focal, fisheye.focal, *middle, *fisheye.coefficients]
    named = {_photograph(number): pose for number, pose in enumerate(poses)}
    write_colmap_text(folder / "colmap", "OPENCV_FISHEYE", first.size, params, named)
    frames = [
        {
            "file_path": name,
            "mask_path": f"{Path(name).stem}.png",
            "transform_matrix": nerfstudio_matrix(pose),
            "is_bad": number in options.blurred,
        }
        for number, (name, pose) in enumerate(named.items())
    ]
    pinhole = first.intrinsics
    undistorted = _transforms_camera("PINHOLE", (pinhole[0, 0], pinhole[1, 1]), pinhole[:2, 2] + 0.5, first.size)
    distorted = _transforms_camera("OPENCV_FISHEYE", (fisheye.focal, fisheye.focal), middle, first.size)
    distorted |= {f"k{place}": value for place, value in enumerate(fisheye.coefficients, start=1)}
    undistorted |= {f"k{place}": 0.0 for place in range(1, 5)}
    # the last one is held out for testing; the official undistortion lists it among the others as well
    write_transforms(folder / "nerfstudio" / "transforms_undistorted.json", undistorted, frames, frames[-1:])
    write_transforms(folder / "nerfstudio" / "transforms.json", distorted, frames[:-1], frames[-1:])
    names = list(named)
    _write_json(folder / "train_test_lists.json", {"train": names[:-1], "test": names[-1:], "has_masks": True})


def _transforms_camera(
    model: str, focal: tuple[float, float], center: Sequence[float] | np.ndarray, size: tuple[int, int]
) -> dict[str, Any]:
    camera: dict[str, Any] = {"fl_x": float(focal[0]), "fl_y": float(focal[1])}
    return camera | {"cx": float(center[0]), "cy": float(center[1]), "w": size[0], "h": size[1], "camera_model": model}


def _write_jpeg(path: Path, rgb: UInt8[np.ndarray, "height width 3"]) -> None:
    Image.fromarray(rgb).save(path, "JPEG", quality=QUALITY, subsampling=0)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
