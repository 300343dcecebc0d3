"""Small parts for tests of retrieval: box scenes, windows of random boxes, narrow encoders."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from geometry_encoders.retrieval.encoders import ChunkEncoder, ChunkEncoderConfig
from geometry_encoders.retrieval.meshes import TriangleMesh, checked_mesh
from geometry_encoders.retrieval.scale import WINDOW, GridScale
from geometry_encoders.retrieval.window_store import MemoryWindows, low_resolution

SCALE = GridScale(0.05, 8, "distance", 0.6, 0.4, 0.13, 0.04)


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> TriangleMesh:
    """The twelve triangles of a box."""
    x, y, z = zip(low, high, strict=True)
    vertices = np.array([[a, b, c] for a in x for b in y for c in z], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return checked_mesh(vertices, triangles, "box")


def box_distance(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Unsigned distance to the surface of a box, from the formula."""
    centre, half = (low + high) / 2, (high - low) / 2
    outside = np.abs(points - centre) - half
    away = np.linalg.norm(np.maximum(outside, 0), axis=-1)
    return np.abs(away + np.minimum(outside.max(axis=-1), 0))


def box_windows(names: list[str], seed: int = 0, scale: GridScale = SCALE) -> MemoryWindows:
    """One window per name ``<scene>__64__...`` with a box of random size in it."""
    axes = np.arange(WINDOW) * scale.voxel
    nodes = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1)
    items = []
    for number, name in enumerate(names):
        generator = np.random.default_rng([seed, number])
        low = generator.uniform(0.3, 1.0, 3)
        distance = box_distance(nodes, low, low + generator.uniform(0.5, 1.7, 3)).astype(np.float32)
        coarse = torch.from_numpy(distance[::4, ::4, ::4].copy())
        target = torch.from_numpy(distance).clamp(max=scale.truncation)
        scene = name.rsplit("__", 2)[0]
        items.append({"name": name, "scene": scene, "target": target, "input": low_resolution(coarse, scale)})
    return MemoryWindows(items, scale)


def window_names(scenes: int, windows: int = 1) -> list[str]:
    """Names like those of stored windows."""
    return [f"scene{s}__64__{64 * w:03d}_000_000" for s in range(scenes) for w in range(windows)]


def small_encoder(seed: int = 0, **settings: int | str) -> ChunkEncoder:
    """Narrow encoders with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes: dict[str, int | str] = {"nf_input": 2, "nf_target": 1, "network_target": "16+4", "latent_dim": 16}
    return ChunkEncoder(ChunkEncoderConfig(**(sizes | settings), scale=asdict(SCALE))).eval()
