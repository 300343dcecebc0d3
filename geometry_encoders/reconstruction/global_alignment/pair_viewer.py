"""Two views without any optimisation: focal lengths and the relative pose straight from the predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.alignment import Alignment, graph_from_predictions
from geometry_encoders.reconstruction.global_alignment.config import KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import pixel_grid
from geometry_encoders.reconstruction.global_alignment.optimiser import History
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.spanning_tree import pair_focal
from geometry_encoders.reconstruction.pnp import solve_pnp
from geometry_encoders.reconstruction.result import Reconstruction


def view_pair(
    pairs_output: Mapping[str, Mapping[str, Any]], names: Sequence[str] | None = None, min_confidence: float = 3.0
) -> Reconstruction:
    """The scene of two views whose pair was predicted in both directions; the surer direction sets the frame.

    Args:
        pairs_output: of `dust3r.inference.reconstruct_pairs` for the pairs (0, 1) and (1, 0) in any order.
        min_confidence: of the pixels that the relative pose is estimated from.

    Raises:
        InputError: not two views in both directions, or values that are not finite.
    """
    return view_pair_graph(graph_from_predictions(pairs_output), min_confidence).reconstruction(names)


def view_pair_graph(graph: PairGraph, min_confidence: float = 3.0) -> Alignment:
    """As `view_pair`, for a graph."""
    if sorted(graph.edges) != [(0, 1), (1, 0)]:
        raise InputError(f"pairs {list(graph.edges)}: expected (0, 1) and (1, 0)")
    number_of = {edge: number for number, edge in enumerate(graph.edges)}
    focals = [pair_focal(graph, number_of[view, 1 - view], KnownCameras()) for view in (0, 1)]
    intrinsics = np.stack([_matrix(focal, *size) for focal, size in zip(focals, graph.sizes, strict=True)])
    scores = graph.scores()
    first = 0 if scores[number_of[0, 1]] > scores[number_of[1, 0]] else 1
    second = 1 - first
    number = number_of[first, second]
    other_to_first = _second_camera(graph, number, intrinsics[second], min_confidence)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[second] = other_to_first
    first_to_other = np.linalg.inv(other_to_first)
    depths: list[ndarray] = [np.empty(0)] * 2
    depths[first] = graph.points(number, 0)[:, 2]
    depths[second] = graph.points(number, 1) @ first_to_other[2, :3] + first_to_other[2, 3]
    depths = [depth.reshape(size).astype(np.float32) for depth, size in zip(depths, graph.sizes, strict=True)]
    points = [_points(depth, matrix, pose) for depth, matrix, pose in zip(depths, intrinsics, poses, strict=True)]
    confidence = tuple(
        values.reshape(size).copy() for values, size in zip(graph.image_confidence, graph.sizes, strict=True)
    )
    return Alignment(
        graph.images, tuple(points), tuple(depths), confidence, confidence, poses, intrinsics, History((), (), np.nan)
    )  # fmt: skip


def _matrix(focal: float, height: int, width: int) -> Float[ndarray, "3 3"]:
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _second_camera(
    graph: PairGraph, number: int, intrinsics: Float[ndarray, "3 3"], min_confidence: float
) -> Float[ndarray, "4 4"]:
    """Pose of a pair's second camera in its first one; the identity where there is none."""
    second = graph.edges[number][1]
    sure = graph.image_confidence[second] > min_confidence
    pixels = pixel_grid(*graph.sizes[second]).numpy().T
    found = solve_pnp(graph.points(number, 1)[sure], pixels[sure], intrinsics)
    return found.camera_to_world if found else np.eye(4)


def _points(
    depth: Float[ndarray, "height width"], intrinsics: Float[ndarray, "3 3"], camera_to_world: Float[ndarray, "4 4"]
) -> Float[ndarray, "height width 3"]:
    """World points of a depth map."""
    height, width = depth.shape
    pixels = np.concatenate([pixel_grid(height, width).numpy(), np.ones((1, height * width))])
    camera = (np.linalg.inv(intrinsics) @ pixels) * depth.reshape(-1)
    world = camera_to_world[:3, :3] @ camera + camera_to_world[:3, 3:]
    return np.ascontiguousarray(world.T.reshape(height, width, 3), dtype=np.float32)
