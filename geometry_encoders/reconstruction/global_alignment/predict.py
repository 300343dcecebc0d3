"""Runs the network over the pairs of many views and stores what it says piece by piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from geometry_encoders.reconstruction.dust3r import Dust3rModel
from geometry_encoders.reconstruction.dust3r.inference import reconstruct_pairs
from geometry_encoders.reconstruction.dust3r.pairs import make_pairs
from geometry_encoders.reconstruction.global_alignment.alignment import align_graph
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.edges import choose_edges
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph, read_predictions, to_uint8
from geometry_encoders.reconstruction.result import Reconstruction


def reconstruct_views(
    model: Dust3rModel,
    views: Sequence[Mapping[str, Any]],
    scene_graph: str = "complete",
    names: Sequence[str] | None = None,
    known: KnownCameras | None = None,
    config: AlignmentConfig | None = None,
    batch_size: int = 8,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> Reconstruction:
    """The scene of some views: predicts the pairs of a scene graph, then aligns them.

    Unlike `align` it never holds the predictions of all pairs in full precision, so that a hundred views fit.

    Args:
        model: in evaluation mode.
        views: as `image_loading.load_images` gives them.
        checkpoint: of the alignment, see `optimiser.optimise`; the pairs are predicted anew.
        scene_graph: see `dust3r.pairs.make_pairs`, e.g. ``complete``, ``swin-5``, ``logwin-4``, ``oneref-0``.

    Raises:
        InputError: as `align`.
    """
    config = config or AlignmentConfig()
    graph = predict_graph(model, views, make_pairs(len(views), scene_graph), config, batch_size, progress)
    return align_graph(graph, known, config, progress, checkpoint).reconstruction(names)


def predict_graph(
    model: Dust3rModel,
    views: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[int, int]],
    config: AlignmentConfig | None = None,
    batch_size: int = 8,
    progress: bool = False,
) -> PairGraph:
    """What the network says about directed pairs of views, stored as ``config`` says.

    ``config.max_edges`` does not apply: which pairs are surest is known only afterwards.
    """
    config = config or AlignmentConfig()
    every = choose_edges(pairs, np.zeros(len(pairs)), len(views), replace(config, max_edges=None))
    edges = [pairs[number] for number in every]
    images = [to_uint8(view["img"][0]) for view in views]
    numbered = [{"img": view["img"], "idx": number} | _shape(view) for number, view in enumerate(views)]
    graph = PairGraph(edges, images, config.storage, config.device)
    bar = tqdm(range(0, len(edges), batch_size), desc="pairs", unit="batch", disable=None if progress else True)
    for first in bar:
        output = reconstruct_pairs(model, numbered, edges[first : first + batch_size], batch_size)
        for number, prediction in enumerate(read_predictions(output), start=first):
            graph.put(number, prediction)
    return graph


def _shape(view: Mapping[str, Any]) -> dict[str, Any]:
    return {"true_shape": view["true_shape"]} if "true_shape" in view else {}
