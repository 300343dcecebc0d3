"""Writes synthetic rooms in the layout of our own: JSON, one npz with the mesh, and plain picture files.

SCENES/<scene_id>/scene.json               format, seed, settings, instances with boxes, views with cameras
                  mesh.npz                 vertices, triangles, triangle_instances, vertex_colors
                  images/frame_000000.jpg  picture
                  depth/frame_000000.png   uint16 millimetres along z, 0 = missing
                  instance/frame_000000.png  uint16 instance ids, 0 = none
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from qa_generation.scene import Instance
from qa_generation.synthetic.content import RenderedView, SyntheticScene

FORMAT = "spatialvlm-room"
VERSION = 1
JPEG_QUALITY = 92
# deeper zlib levels make rooms no smaller than a few per cent, and are slow
PNG_LEVEL = 2


def write_native_scene(scene: SyntheticScene, out_root: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Writes ``out_root/<scene_id>/`` and returns that folder, which appears once all of it is written.

    ``settings`` (anything JSON can hold) is kept in ``scene.json`` so that a later run can tell what made the room.
    """
    final, partial = out_root / scene.scene_id, out_root / f".{scene.scene_id}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name in ("images", "depth", "instance"):
        (partial / name).mkdir(parents=True)
    views = [_write_view(view, partial) for view in scene.views]
    _write_mesh(scene, partial / "mesh.npz")
    description = {
        "format": FORMAT,
        "version": VERSION,
        "scene_id": scene.scene_id,
        "seed": scene.seed,
        "settings": dict(settings or {}),
        "instances": [_instance_entry(instance) for _, instance in sorted(scene.instances.items())],
        "views": views,
    }
    (partial / "scene.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    return final


def _write_view(view: RenderedView, folder: Path) -> dict[str, Any]:
    Image.fromarray(view.rgb).save(folder / f"images/{view.view_id}.jpg", quality=JPEG_QUALITY, subsampling=0)
    millimetres = np.round(np.clip(view.depth_m * 1000, 0, 65535)).astype(np.uint16)
    Image.fromarray(millimetres).save(folder / f"depth/{view.view_id}.png", compress_level=PNG_LEVEL)
    ids = view.instance.astype(np.uint16)
    Image.fromarray(ids).save(folder / f"instance/{view.view_id}.png", compress_level=PNG_LEVEL)
    return {
        "id": view.view_id,
        "size": list(view.size),
        "intrinsics": view.intrinsics.tolist(),
        "world_to_camera": view.world_to_camera.tolist(),
    }


def _instance_entry(instance: Instance) -> dict[str, Any]:
    box = instance.obb
    return {
        "id": instance.instance_id,
        "category": instance.category,
        "obb": {"center": box.center.tolist(), "axes": box.axes.tolist(), "extents": box.extents.tolist()},
    }


def _write_mesh(scene: SyntheticScene, path: Path) -> None:
    mesh = scene.mesh
    colors = mesh.vertex_colors if mesh.vertex_colors is not None else np.full(mesh.vertices.shape, 200, np.uint8)
    np.savez_compressed(
        path,
        vertices=mesh.vertices.astype(np.float32),
        triangles=mesh.triangles.astype(np.int32),
        triangle_instances=mesh.triangle_instances.astype(np.int32),
        vertex_colors=colors.astype(np.uint8),
    )
