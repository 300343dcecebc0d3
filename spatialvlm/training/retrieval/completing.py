"""A trained network, its encoders and its database at work: files completed, held-out windows evaluated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.bridge import PADDING, RoomFrame, scene_of_points
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.distance_fields import DistanceQuery, Lattice, distance_field, lattice_around
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.evaluation import Tally, window_surface
from geometry_encoders.retrieval.meshes import (
    MESH_FILES,
    Y_UP_FROM_Z_UP,
    TriangleMesh,
    checked_mesh,
    without_ceiling,
)
from geometry_encoders.retrieval.points import points_in_box
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.retrieved import RetrievedWindows, composing_retriever
from geometry_encoders.retrieval.scale import WINDOW, GridScale
from geometry_encoders.retrieval.scenes import CoarseScene, PointScene, SceneInput, refine_scene
from geometry_encoders.retrieval.surfaces import extract_surface, save_surface
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from spatialvlm.training.retrieval.sources import split_scenes

POINTS_PER_WINDOW = 1000  # of surfaces that are given as meshes to a network of points


@dataclass(frozen=True)
class Geometry:
    """What a file holds, y up: a surface, or points where ``mesh`` is None."""

    points: np.ndarray
    mesh: TriangleMesh | None


def read_geometry(path: Path, up: str, ceiling: float | None = None) -> Geometry:
    """A mesh, or the points of a point cloud; without what is wholly higher than ``ceiling`` above the lowest point.

    Raises:
        InputError: another kind of file, an unreadable one, or one without finite points.
    """
    import trimesh

    if up not in ("y", "z"):
        raise InputError(f"--up is {up!r}, expected 'y' or 'z'")
    if path.suffix.lower() not in MESH_FILES or not path.is_file():
        raise InputError(f"{path}: no such file, expected a mesh or a point cloud ({', '.join(MESH_FILES)})")
    try:
        found: Any = trimesh.load(path, process=False)
        if isinstance(found, trimesh.Scene):
            found = found.to_geometry()
        points = np.asarray(found.vertices, np.float64)
    except Exception as error:  # every format has its own kinds of errors
        raise InputError(f"{path}: not readable ({' '.join(str(error).split())[:200]})") from error
    rotation = Y_UP_FROM_Z_UP if up == "z" else np.eye(3)
    if len(getattr(found, "faces", ())):
        mesh = checked_mesh(points, np.asarray(found.faces), path).moved(rotation)
        if ceiling is not None:
            mesh = without_ceiling(mesh, ceiling, path)
        return Geometry(mesh.vertices[np.unique(mesh.triangles)], mesh)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise InputError(f"{path}: holds no finite points, expected a mesh or a point cloud")
    points = points @ rotation.T
    if ceiling is not None:
        points = points[points[:, 1] - points[:, 1].min() <= ceiling]
    return Geometry(points, None)


def scene_of(geometry: Geometry, scale: GridScale, seed: int = 0) -> tuple[SceneInput, Lattice]:
    """What a network of that scale is given of the geometry, and where its grid lies.

    A mesh is reduced to what the network takes: its distances at the coarse nodes, or 1000 points per window.
    """
    bounds = np.stack([geometry.points.min(0), geometry.points.max(0)])
    lattice = lattice_around(bounds, scale.voxel, PADDING)
    if geometry.mesh is None:
        return scene_of_points(geometry.points, RoomFrame(np.eye(4), lattice), scale), lattice
    if scale.input_kind == "distance":
        coarse = distance_field(DistanceQuery(geometry.mesh), lattice.strided(scale.upsampling))
        return CoarseScene(torch.from_numpy(coarse), scale), lattice
    windows = int(np.prod([-(-side // WINDOW) for side in lattice.shape]))
    low, high = bounds[0] - scale.voxel, bounds[1] + scale.voxel
    count = POINTS_PER_WINDOW * windows
    points = points_in_box(geometry.mesh.corners, low, high, count, np.random.default_rng(seed))
    return PointScene(torch.from_numpy(lattice.to_voxels(points).copy()).float(), lattice.shape, scale), lattice


def complete_file(
    source: Path,
    out: Path,
    model_folder: Path,
    encoder_folder: Path | None = None,
    database_folder: Path | None = None,
    k: int | None = None,
    stride: int = WINDOW,
    up: str = "y",
    ceiling: float | None = None,
) -> TriangleMesh:
    """The completed surface of a mesh or point cloud, written to ``out`` in the frame of the file.

    Args:
        ceiling: leave out what lies higher above the floor, as the networks learned it.
        model_folder: of a trained refinement network.
        encoder_folder, database_folder: where known chunks come from; left out for a network that fuses none.
        k: candidates, None = as the network was trained.

    Raises:
        InputError: files or folders that cannot be used, or a network that needs a database and has none.
    """
    model = load_own_folder(model_folder, RetrievalFuseModel)
    geometry = read_geometry(source, up, ceiling)
    wanted = 0 if model.config.fusion == "none" else model.config.candidates if k is None else k
    retriever = None
    if wanted:
        if encoder_folder is None or database_folder is None:
            raise InputError(f"{model_folder}: fuses {wanted} candidates, expected --encoder and --database with it")
        encoder = load_own_folder(encoder_folder, ChunkEncoder)
        retriever = composing_retriever(encoder, ChunkDatabase.load(database_folder, encoder), wanted)
    scene, lattice = scene_of(geometry, model.scale)
    distance = refine_scene(model, scene, retriever, stride)
    mesh = extract_surface(distance.numpy(), model.scale.occupied, lattice)
    if not len(mesh.triangles):
        raise InputError(f"{source}: the network finds no surface; check the unit, its voxel is {model.scale.voxel:g}")
    if up == "z":
        mesh = mesh.moved(Y_UP_FROM_Z_UP.T)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_surface(mesh, str(out))
    return mesh


@torch.no_grad()
def evaluate_windows(
    windows_folder: Path,
    retrieved_folder: Path,
    model_folder: Path | None = None,
    held_out: float = 0.15,
    count: int = 24,
    samples: int = 30000,
) -> dict[str, Any]:
    """Means over held-out windows of what was retrieved alone and of the network, against the true windows.

    Returns:
        ``windows`` and per method ``iou``, ``chamfer`` (unit of the scale), ``f1``, ``normal_consistency``; Chamfer
        distance and normals leave out windows without a predicted surface.

    Raises:
        InputError: folders that cannot be used, or no held-out windows.
    """
    retrieved = RetrievedWindows(retrieved_folder)
    scale, store = retrieved.database.scale, WindowStore(windows_folder)
    model = None if model_folder is None else load_own_folder(model_folder, RetrievalFuseModel)
    windows = WindowDataset(store, scale, split_scenes(store.scenes(), held_out)[1], keep_empty=False)
    if not len(windows):
        raise InputError(f"{windows_folder}: no held-out windows, expected some; see --held-out")
    tallies = {"retrieved": Tally(scale)} | ({} if model is None else {"refined": Tally(scale)})
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(count, len(windows))).astype(int)).tolist()
    for index in tqdm(chosen, unit="window", desc="evaluation", disable=None):
        item = windows[index]
        true = window_surface(item["target"], scale, samples, seed=1)
        if true is None:
            continue
        candidates = retrieved.read(item["name"])
        tallies["retrieved"].add(item["name"], window_surface(candidates[0], scale, samples), true)
        if model is not None:
            fused = scale.normalise_target(candidates[: model.config.candidates])[None]
            found = model(scale.normalise_input(item["input"])[None, None], fused).distance[0]
            tallies["refined"].add(item["name"], window_surface(found, scale, samples), true)
    figures = {
        name: {**tally.means(), "without_surface": len(tally.without_surface)} for name, tally in tallies.items()
    }
    return {"windows": len(chosen), "methods": figures}


def write_report(report: dict[str, Any], out: Path) -> None:
    """Writes figures as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1), encoding="utf-8")
