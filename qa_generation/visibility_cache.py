"""Keeps visibility tables on disk, one file per scene content and settings, so that each is computed once."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np

from qa_generation.errors import OutputError
from qa_generation.scene import Scene
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_table import VisibilityTable

CODE_VERSION = 4  # raise it whenever annotate would give another table for the same scene

logger = logging.getLogger(__name__)


def load_or_annotate(scene: Scene, cache_dir: Path, config: VisibilityConfig | None = None) -> VisibilityTable:
    """The table of the scene, read from ``cache_dir`` when it was computed before, else computed and kept there.

    A file that cannot be read in full or tells of another scene is reported by a warning and computed anew.

    Raises:
        SceneError: the scene cannot be annotated.
        OutputError: ``cache_dir`` cannot be written.
    """
    config = config or VisibilityConfig()
    path = cache_path(scene, cache_dir, config)
    if path.exists():
        try:
            return _load_checked(path, scene)
        except Exception as error:  # whatever is wrong with a cache file, the answer is the same
            logger.warning("%s cannot be used and is computed again: %s", path, error)
    table = annotate(scene, config)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        table.save(path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    return table


def cache_path(scene: Scene, cache_dir: Path, config: VisibilityConfig) -> Path:
    """Where the table of this scene under these settings is kept; the hash decides, the id is for people."""
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", scene.scene_id)[:80]
    return cache_dir / f"{readable}.{fingerprint(scene, config)}.npz"


def fingerprint(scene: Scene, config: VisibilityConfig) -> str:
    """32 hexadecimal digits that change with anything ``annotate`` reads: cameras, instances, mesh, settings, code."""
    header = {
        "version": CODE_VERSION,
        "config": asdict(config),
        "scene": scene.scene_id,
        "views": [[view.view_id, *map(int, view.size)] for view in scene.views],
        "instances": sorted(map(int, scene.instances)),
    }
    digest = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    mesh = scene.mesh
    cameras = [array for view in scene.views for array in (view.intrinsics, view.world_to_camera)]
    for array in (*cameras, mesh.vertices, mesh.triangles, mesh.triangle_instances):
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _load_checked(path: Path, scene: Scene) -> VisibilityTable:
    """The table in the file; raises when it is damaged or its names and shapes are not those of the scene."""
    table = VisibilityTable.load(path)
    names = (table.scene_id, table.view_ids, table.instance_ids)
    expected = (scene.scene_id, tuple(view.view_id for view in scene.views), tuple(sorted(scene.instances)))
    if names != expected:
        raise ValueError("it tells of other views or instances")
    views, instances = len(table.view_ids), len(table.instance_ids)
    shapes = {
        "sizes": (views, 2),
        "visible_pixels": (views, instances),
        "frame_pixels": (views, instances),
        "canvas_pixels": (views, instances),
        "boxes": (views, instances, 4),
        "centroid_depth": (views, instances),
        "median_depth": (views,),
        "overlap": (views, views),
        "glimpsed": (views, instances),
    }
    for name, shape in shapes.items():
        if getattr(table, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(table, name).shape}, expected {shape}")
    return table
