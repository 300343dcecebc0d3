"""Where the optimisation starts: parameters from the spanning tree, or from cameras that are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.known_cameras import start_pairs_from_cameras
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.parameters import AlignmentParameters
from geometry_encoders.reconstruction.global_alignment.pose_alignment import align_cameras
from geometry_encoders.reconstruction.global_alignment.spanning_tree import Layout, lay_out, register_pair
from geometry_encoders.reconstruction.registration import Similarity


@dataclass(frozen=True)
class Start:
    """Everything that `AlignmentParameters` encode, in plain numbers.

    Attributes:
        layout: what the spanning tree gave, in its own frame; None where all cameras are known.
    """

    camera_to_world: Float[ndarray, "views 4 4"]
    focals: Float[ndarray, " views"]
    pairs: list[Similarity]
    depths: list[Float[ndarray, " pixels"]]
    layout: Layout | None = None


def find_start(graph: PairGraph, config: AlignmentConfig, known: KnownCameras) -> Start:
    """The start: known cameras as they are, the rest from the predictions.

    Raises:
        InputError: predictions without any extent.
    """
    if known.fix_everything(len(graph)):
        poses, focals, pairs, depths = start_pairs_from_cameras(graph, config, known)
        return Start(poses, focals, pairs, depths)
    return _start_from_tree(graph, config, known)


def encode_start(graph: PairGraph, config: AlignmentConfig, known: KnownCameras, start: Start) -> AlignmentParameters:
    """The start as parameters."""
    views = range(len(graph))
    base_scale = None if len(known.camera_to_world) > 1 else config.base_scale
    parameters = AlignmentParameters(graph.sizes, len(graph.edges), config.focal_break, base_scale, config.compat)
    middles = np.array([known.principal_point(view, *graph.sizes[view]) for view in views])
    aspects = np.array([known.aspect(view) for view in views])
    parameters.set_cameras(start.camera_to_world, start.focals, middles, aspects)
    parameters.set_pairs(start.pairs)
    for view in views:
        parameters.set_depth(view, log_depth(start.depths[view], config.compat))
    return parameters.to(graph.device)


def log_depth(depth: Float[ndarray, " pixels"], compat: bool) -> Float[ndarray, " pixels"]:
    """Logarithm of a depth map; points that are not in front of the camera get the median depth of those that are.

    The original (``compat``) gives them depth 1, whatever the scale of the scene.
    """
    front = np.isfinite(depth) & (depth > 0)
    fallback = 1.0 if compat or not front.any() else float(np.median(depth[front]))
    return np.log(np.where(front, depth, fallback))


def _start_from_tree(graph: PairGraph, config: AlignmentConfig, known: KnownCameras) -> Start:
    layout = lay_out(graph, config, known)
    world = _world_from_layout(layout, known.camera_to_world)
    points = {view: world.apply(layout.points[view]) for view in range(len(graph))}
    poses = np.stack([world.apply_to_poses(layout.camera_to_world[view]) for view in range(len(graph))])
    pairs = [register_pair(graph, number, 0, points[edge[0]]) for number, edge in enumerate(graph.edges)]
    if len(known.camera_to_world) < 2:
        factor = config.base_scale / float(np.exp(np.mean([np.log(pair.scale) for pair in pairs])))
        resize = Similarity(factor, np.eye(3), np.zeros(3))
        points = {view: resize.apply(values) for view, values in points.items()}
        poses = resize.apply_to_poses(poses)
        pairs, points, poses = _move_to_only_pose(known.camera_to_world, resize, pairs, points, poses)
    for view, pose in known.camera_to_world.items():
        poses[view] = pose
    depths = [_depth(points[view], poses[view]) for view in range(len(graph))]
    return Start(poses, np.array([layout.focals[view] for view in range(len(graph))]), pairs, depths, layout)


def _world_from_layout(layout: Layout, known: Mapping[int, Float[ndarray, "4 4"]]) -> Similarity:
    """From the frame of the tree into that of two or more known poses."""
    if len(known) < 2:
        return Similarity(1.0, np.eye(3), np.zeros(3))
    views = sorted(known)
    found = align_cameras(
        np.stack([layout.camera_to_world[view] for view in views]),
        np.stack([np.asarray(known[view], dtype=np.float64) for view in views]),
    )
    if found is None:
        raise InputError("known poses: all cameras stand in one place, expected at least two that stand apart")
    return found


def _move_to_only_pose(
    known: Mapping[int, Float[ndarray, "4 4"]],
    resize: Similarity,
    pairs: list[Similarity],
    points: dict[int, Float[ndarray, "pixels 3"]],
    poses: Float[ndarray, "views 4 4"],
) -> tuple[list[Similarity], dict[int, Float[ndarray, "pixels 3"]], Float[ndarray, "views 4 4"]]:
    """Moves the whole scene rigidly so that the one known camera stands where it should; nothing without one."""
    for view, pose in known.items():
        motion = np.asarray(pose, dtype=np.float64) @ np.linalg.inv(poses[view])
        rigid = Similarity(1.0, motion[:3, :3], motion[:3, 3])
        pairs = [rigid.after(resize).after(pair) for pair in pairs]
        points = {number: rigid.apply(values) for number, values in points.items()}
        poses = rigid.apply_to_poses(poses)
    return pairs, points, poses


def _depth(points: Float[ndarray, "pixels 3"], camera_to_world: Float[ndarray, "4 4"]) -> Float[ndarray, " pixels"]:
    return (points - camera_to_world[:3, 3]) @ camera_to_world[:3, 2]
