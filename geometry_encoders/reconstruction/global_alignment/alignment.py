"""From predictions of pairs to one scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.cleaning import clean_confidence
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.edges import choose_edges
from geometry_encoders.reconstruction.global_alignment.objective import Objective
from geometry_encoders.reconstruction.global_alignment.optimiser import History, optimise
from geometry_encoders.reconstruction.global_alignment.pair_graph import (
    PairGraph,
    PairPrediction,
    read_images,
    read_predictions,
)
from geometry_encoders.reconstruction.global_alignment.parameters import AlignmentParameters
from geometry_encoders.reconstruction.global_alignment.sky import sky_mask
from geometry_encoders.reconstruction.global_alignment.start import encode_start, find_start
from geometry_encoders.reconstruction.registration import Similarity
from geometry_encoders.reconstruction.result import Reconstruction


@dataclass(frozen=True)
class Alignment:
    """An aligned scene; poses are camera-to-world with OpenCV axes.

    Attributes:
        depths: along the viewing direction, per view.
        confidence: per view the largest of all pairs, 0 where cleaning or sky removed the pixel.
        raw_confidence: the same before cleaning.
        history: losses and learning rates.
    """

    images: tuple[ndarray, ...]
    pointmaps: tuple[Float[ndarray, "height width 3"], ...]
    depths: tuple[Float[ndarray, "height width"], ...]
    confidence: tuple[Float[ndarray, "height width"], ...]
    raw_confidence: tuple[Float[ndarray, "height width"], ...]
    camera_to_world: Float64[ndarray, "views 4 4"]
    intrinsics: Float64[ndarray, "views 3 3"]
    history: History

    def moved(self, motion: Similarity) -> Alignment:
        """The scene in another frame."""
        return replace(
            self,
            pointmaps=tuple(motion.apply(points).astype(np.float32) for points in self.pointmaps),
            depths=tuple((motion.scale * depth).astype(np.float32) for depth in self.depths),
            camera_to_world=motion.apply_to_poses(self.camera_to_world),
        )

    def in_first_camera(self) -> Alignment:
        """The scene in the frame of its first camera."""
        motion = np.linalg.inv(self.camera_to_world[0])
        moved = self.moved(Similarity(1.0, motion[:3, :3], motion[:3, 3]))
        moved.camera_to_world[0] = np.eye(4)
        return moved

    def reconstruction(self, names: Sequence[str] | None = None, metric: bool = False) -> Reconstruction:
        """The scene as a `Reconstruction`; views are numbered where they have no names."""
        if names is None:
            names = [f"view_{number:04d}" for number in range(len(self.images))]
        return Reconstruction(
            names=tuple(names),
            images=self.images,
            pointmaps=self.pointmaps,
            confidence=self.confidence,
            camera_to_world=self.camera_to_world,
            intrinsics=self.intrinsics,
            metric=metric,
        )


def align(
    pairs_output: Mapping[str, Mapping[str, Any]],
    names: Sequence[str] | None = None,
    known: KnownCameras | None = None,
    config: AlignmentConfig | None = None,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> Reconstruction:
    """One scene from the output of `dust3r.inference.reconstruct_pairs` (DUSt3R, arXiv:2312.14132, section 3.4).

    Poses, focal lengths and depth maps of all views are those that agree best with what the network says about the
    pairs. The world is the first camera unless poses are known; lengths have no unit unless two poses are known.

    Args:
        names: of the views; numbers by default.
        known: poses, intrinsics or focal lengths, of all or some views, that shall stay as they are.
        progress: show a bar when stderr is a terminal.
        checkpoint: file that an interrupted alignment goes on from, see `optimiser.optimise`.

    Raises:
        InputError: pairs that do not join all views, values that are not finite, known cameras that are none.
    """
    config = config or AlignmentConfig()
    graph = graph_from_predictions(pairs_output, config)
    return align_graph(graph, known, config, progress, checkpoint).reconstruction(names)


def graph_from_predictions(
    pairs_output: Mapping[str, Mapping[str, Any]], config: AlignmentConfig | None = None
) -> PairGraph:
    """The pairs that take part in the alignment, stored as ``config`` says."""
    config = config or AlignmentConfig()
    predictions = list(read_predictions(pairs_output))
    return build_graph(predictions, read_images(pairs_output), config)


def build_graph(predictions: Sequence[PairPrediction], images: Sequence[ndarray], config: AlignmentConfig) -> PairGraph:
    """The graph of some predictions."""
    edges = [prediction.edge for prediction in predictions]
    scores = np.array([_score(prediction) for prediction in predictions], dtype=np.float32)
    numbers = choose_edges(edges, scores, len(images), config)
    graph = PairGraph([edges[number] for number in numbers], images, config.storage, config.device)
    for slot, number in enumerate(numbers):
        graph.put(slot, predictions[number])
    return graph


def align_graph(
    graph: PairGraph,
    known: KnownCameras | None = None,
    config: AlignmentConfig | None = None,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> Alignment:
    """As `align`, for a graph, with everything that there is to know about the result."""
    config, known = config or AlignmentConfig(), known or KnownCameras()
    known.check(len(graph))
    parameters = encode_start(graph, config, known, find_start(graph, config, known))
    history = optimise(graph, parameters, config, known, progress, checkpoint)
    scene = read_scene(graph, parameters, config, history)
    if config.first_camera_identity and not known.camera_to_world and not config.compat:
        scene = scene.in_first_camera()
    return _believe(scene, config)


@torch.no_grad()
def read_scene(
    graph: PairGraph, parameters: AlignmentParameters, config: AlignmentConfig, history: History
) -> Alignment:
    """The scene that parameters stand for, before cleaning."""
    cameras, objective = parameters.cameras(), Objective(graph, config)
    pointmaps, depths = [], []
    for view, (height, width) in enumerate(graph.sizes):
        points = objective.world_points(view, parameters.im_depthmaps[view], *(value[view] for value in cameras))
        pointmaps.append(points.T.reshape(height, width, 3).cpu().numpy().copy())
        depths.append(parameters.im_depthmaps[view].exp().view(height, width).cpu().numpy())
        if not np.isfinite(pointmaps[-1]).all():
            raise InputError(f"alignment: points of view {view} are not finite, expected predictions with some extent")
    confidence = tuple(
        values.reshape(size).copy() for values, size in zip(graph.image_confidence, graph.sizes, strict=True)
    )
    rotations, centres, focals, middles = (value.double().cpu().numpy() for value in cameras)
    poses, intrinsics = np.tile(np.eye(4), (len(graph), 1, 1)), np.tile(np.eye(3), (len(graph), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotations, centres
    intrinsics[:, [0, 1], [0, 1]], intrinsics[:, :2, 2] = focals, middles
    return Alignment(
        graph.images, tuple(pointmaps), tuple(depths), confidence, confidence, poses, intrinsics, history
    )  # fmt: skip


def _believe(scene: Alignment, config: AlignmentConfig) -> Alignment:
    """The scene with confidences lowered by cleaning and sky."""
    confidence: Iterable[ndarray] = scene.confidence
    if config.clean:
        confidence = clean_confidence(
            scene.confidence, scene.pointmaps, scene.depths, scene.camera_to_world, scene.intrinsics
        )
    if config.sky:
        confidence = [
            np.where(sky_mask(image, config.compat), np.float32(0), values)
            for image, values in zip(scene.images, confidence, strict=True)
        ]
    return replace(scene, confidence=tuple(confidence))


def _score(prediction: PairPrediction) -> float:
    first, second = (values.float().mean().item() for values in prediction.confidence)
    return first * second
