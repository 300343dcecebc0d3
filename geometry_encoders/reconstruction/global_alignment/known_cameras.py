"""The start of an alignment whose cameras are all known: scale of every pair, depth of every view."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import pixel_grid
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.pose_alignment import align_cameras
from geometry_encoders.reconstruction.pnp import solve_pnp
from geometry_encoders.reconstruction.registration import Similarity


def start_pairs_from_cameras(
    graph: PairGraph, config: AlignmentConfig, known: KnownCameras
) -> tuple[Float[ndarray, "views 4 4"], Float[ndarray, " views"], list[Similarity], list[Float[ndarray, " pixels"]]]:
    """Poses, focal lengths, similarities of all pairs into the world, and depth maps.

    Raises:
        InputError: no pair has two cameras that stand apart, so nothing has a scale.
    """
    poses = np.stack([np.asarray(known.camera_to_world[view], dtype=np.float64) for view in range(len(graph))])
    focals = np.array([known.focal(view) for view in range(len(graph))])
    found = [_pair_into_world(graph, config, known, number, poses) for number in range(len(graph.edges))]
    scales = [similarity.scale for similarity in found if similarity is not None]
    if not scales:
        raise InputError("known poses: no pair of cameras stands apart, expected some that do")
    usual = float(np.exp(np.mean(np.log(scales))))
    pairs = [
        similarity or Similarity(usual, poses[i, :3, :3], poses[i, :3, 3])
        for similarity, (i, _) in zip(found, graph.edges, strict=True)
    ]
    depths = [_depth(graph, view, poses, pairs) for view in range(len(graph))]
    return poses, focals, pairs, depths


def _pair_into_world(
    graph: PairGraph, config: AlignmentConfig, known: KnownCameras, number: int, poses: Float[ndarray, "views 4 4"]
) -> Similarity | None:
    """The pair's two cameras, the second one found by PnP, laid on the known ones; None where that has no scale."""
    i, j = graph.edges[number]
    height, width = graph.sizes[j]
    lens = i if config.compat else j
    x, y = known.principal_point(lens, *graph.sizes[lens])
    focal = known.focal(lens)
    assert focal is not None
    matrix = np.array([[focal, 0, x], [0, focal * known.aspect(lens), y], [0, 0, 1]])
    pixels = pixel_grid(height, width).numpy().T
    sure = np.ones(height * width, dtype=bool) if config.compat else _surer_half(graph.confidence(number, 1))
    found = solve_pnp(
        graph.points(number, 1)[sure],
        pixels[sure],
        matrix,
        iterations=config.pnp_iterations,
        reprojection_error_px=config.pnp_limit_px(height, width),
    )
    if found is None:
        return None
    return align_cameras(np.stack([np.eye(4), found.camera_to_world]), poses[[i, j]])


def _surer_half(confidence: Float[ndarray, " pixels"]) -> Float[ndarray, " pixels"]:
    return confidence >= np.median(confidence)


def _depth(
    graph: PairGraph, view: int, poses: Float[ndarray, "views 4 4"], pairs: list[Similarity]
) -> Float[ndarray, " pixels"]:
    """Depth of a view by the surest pair that has it first, or second where there is none."""
    side = 0 if any(side == 0 for _, side in graph.pieces[view]) else 1
    numbers = [number for number, own in graph.pieces[view] if own == side]
    number = max(numbers, key=lambda number: graph.mean_confidence[number, side])
    points = graph.points(number, side)
    if side == 0:
        return pairs[number].scale * points[:, 2]
    return (pairs[number].apply(points) - poses[view, :3, 3]) @ poses[view, :3, 2]
