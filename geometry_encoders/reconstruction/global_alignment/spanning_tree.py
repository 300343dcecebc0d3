"""A first layout of the scene: pairs are laid on each other along the surest spanning tree of the pair graph."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.focal import estimate_focal
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.objective import pixel_grid
from geometry_encoders.reconstruction.global_alignment.pair_graph import Edge, PairGraph
from geometry_encoders.reconstruction.pnp import solve_pnp
from geometry_encoders.reconstruction.registration import Similarity, fit_similarity


@dataclass
class Layout:
    """Views laid out in one frame.

    Attributes:
        tree: edges of the spanning tree in the order they were laid.
        points: world points of every view.
        camera_to_world: rigid poses.
        focals: in pixels.
    """

    tree: list[Edge] = field(default_factory=list)
    points: dict[int, Float[ndarray, "pixels 3"]] = field(default_factory=dict)
    camera_to_world: dict[int, Float[ndarray, "4 4"]] = field(default_factory=dict)
    focals: dict[int, float] = field(default_factory=dict)


def spanning_tree(edges: tuple[Edge, ...], scores: Float[ndarray, " edges"], views: int) -> list[int]:
    """Numbers of the edges of the tree with the largest scores, best first; equal scores by (row, column)."""
    rank = 1 + np.unique(scores, return_inverse=True)[1]  # only the order matters, and zero would mean "no edge"
    number_of = {edge: number for number, edge in enumerate(edges)}
    rows, columns = np.array(edges).T
    graph = coo_matrix((-rank.astype(np.float64), (rows, columns)), (views, views))
    graph.sum_duplicates()
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    order = sorted(zip(tree.data, tree.row, tree.col, strict=True), key=lambda entry: (-entry[0], entry[1], entry[2]))
    return [number_of[int(row), int(column)] for _, row, column in reversed(order)]


def lay_out(graph: PairGraph, config: AlignmentConfig, known: KnownCameras) -> Layout:
    """Points, poses and focal lengths of all views; known focal lengths are kept, known poses not yet looked at."""
    layout = Layout()
    for view in range(len(graph)):
        focal = known.focal(view)
        if focal is not None:
            layout.focals[view] = focal
    _lay_tree(graph, config, known, layout)
    _fill_focals(graph, known, layout)
    for view in range(len(graph)):
        if view not in layout.camera_to_world:
            layout.camera_to_world[view] = _pose_from_points(graph, config, known, layout, view)
    return layout


def register_pair(graph: PairGraph, number: int, side: int, target: Float[ndarray, "pixels 3"]) -> Similarity:
    """The similarity that lays one side of a pair on world points of that view.

    Raises:
        InputError: the points of the pair, or their targets, are all in one place.
    """
    edge = graph.edges[number]
    try:
        similarity = fit_similarity(graph.points(number, side), target, graph.confidence(number, side))
    except InputError as error:
        raise InputError(f"pair {edge}, view {edge[side]}: {error}") from error
    if not similarity.scale > 0:
        raise InputError(f"pair {edge}, view {edge[side]}: points all in one place, expected some that lie apart")
    return similarity


def pair_focal(graph: PairGraph, number: int, known: KnownCameras) -> float:
    """Focal length of the first view of a pair from its pointmap; that of a 60 degree view where there is none."""
    view = graph.edges[number][0]
    height, width = graph.sizes[view]
    points = torch.from_numpy(np.ascontiguousarray(graph.points(number, 0))).view(1, height, width, 3)
    middle = points.new_tensor([known.principal_point(view, height, width)])
    focal = estimate_focal(points, middle).item()
    return focal if np.isfinite(focal) and focal > 0 else default_focal(height, width)


def default_focal(height: int, width: int) -> float:
    """Focal length of a picture whose longer side spans 60 degrees."""
    return max(height, width) / (2 * np.tan(np.radians(30)))


def _lay_tree(graph: PairGraph, config: AlignmentConfig, known: KnownCameras, layout: Layout) -> None:
    queue = deque(spanning_tree(graph.edges, graph.scores(), len(graph)))
    number = queue.popleft()
    i, j = graph.edges[number]
    layout.tree.append((i, j))
    layout.points[i], layout.points[j] = graph.points(number, 0), graph.points(number, 1)
    layout.camera_to_world[i] = np.eye(4)
    layout.focals.setdefault(i, pair_focal(graph, number, known))
    previous = number
    while queue:
        number = queue.popleft()
        i, j = graph.edges[number]
        if i not in layout.focals:  # the original takes the pointmap of the edge before, by a stale variable
            layout.focals[i] = _stale_focal(graph, previous) if config.compat else pair_focal(graph, number, known)
        if i not in layout.points and j not in layout.points:
            queue.append(number)
            continue
        placed = 0 if i in layout.points else 1
        similarity = register_pair(graph, number, placed, layout.points[(i, j)[placed]])
        layout.points[(i, j)[1 - placed]] = similarity.apply(graph.points(number, 1 - placed))
        layout.camera_to_world.setdefault(i, _pose(similarity))
        layout.tree.append((i, j))
        previous = number


def _stale_focal(graph: PairGraph, previous: int) -> float:
    return pair_focal(graph, previous, KnownCameras())


def _pose(similarity: Similarity) -> Float[ndarray, "4 4"]:
    """The rigid part: rotation and translation without the scale."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = similarity.rotation, similarity.translation
    return pose


def _fill_focals(graph: PairGraph, known: KnownCameras, layout: Layout) -> None:
    """Focal lengths of views that were never first in an edge of the tree, from their surest edge."""
    for number in np.argsort(-graph.scores(), kind="stable"):
        i = graph.edges[number][0]
        if i not in layout.focals:
            layout.focals[i] = pair_focal(graph, number, known)


def _pose_from_points(
    graph: PairGraph, config: AlignmentConfig, known: KnownCameras, layout: Layout, view: int
) -> Float[ndarray, "4 4"]:
    """Pose of a view by PnP on its points; its focal length too where no pair has the view first."""
    height, width = graph.sizes[view]
    middle = known.principal_point(view, height, width)
    sure = graph.image_confidence[view] > config.min_confidence
    if not config.compat and sure.sum() < len(sure) // 10:  # the surest tenth rather than next to nothing
        confidence = graph.image_confidence[view]
        sure = confidence >= np.partition(confidence, -max(len(confidence) // 10, 1))[-max(len(confidence) // 10, 1)]
    focal = layout.focals.get(view)
    matrix = None
    if focal is not None:
        matrix = np.array([[focal, 0, middle[0]], [0, focal * known.aspect(view), middle[1]], [0, 0, 1]])
    pixels = pixel_grid(height, width).numpy().T
    found = solve_pnp(
        layout.points[view][sure],
        pixels[sure],
        matrix,
        (width, height),
        middle,
        iterations=config.pnp_iterations,
        reprojection_error_px=config.pnp_limit_px(height, width),
        refine_focal=not config.compat,
    )
    if focal is None:
        layout.focals[view] = found.focal if found else default_focal(height, width)
    return found.camera_to_world if found else np.eye(4)
