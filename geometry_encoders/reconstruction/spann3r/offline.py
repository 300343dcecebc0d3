"""Unordered frames: the surest pair first, then always the frame that fits best (arXiv:2408.16061, section 3.4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from tqdm import tqdm

from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.online import (
    Frames,
    ResultArrays,
    SequenceReconstruction,
    encode_in_chunks,
    reconstruct_online,
)
from geometry_encoders.reconstruction.spann3r.sequence import Positions, SequencePass, Step, Tokens

if TYPE_CHECKING:
    from geometry_encoders.reconstruction.spann3r.configuration_spann3r import Spann3rConfig
    from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel


def mean_sureness(confidence: Float[Tensor, "batch height width"], config: Spann3rConfig) -> Float[Tensor, " batch"]:
    """Mean confidence of each picture on the scale 0 to 1; for the published mode (c - 1) / c, a sigmoid."""
    low = float(config.conf_min)
    if config.conf_mode == "exp":
        sureness = (confidence - low) / (confidence - low + 1)
    else:
        high = math.inf if config.conf_max is None else float(config.conf_max)
        sureness = (confidence - low) / (high - low)
    return sureness.flatten(1).mean(dim=1)


@torch.inference_mode()
def pair_sureness(
    model: Spann3rModel,
    tokens: Float[Tensor, "views tokens channels"],
    positions: Positions,
    shape: tuple[int, int],
    chunk_frames: int = 8,
    progress: bool = False,
) -> Float64[np.ndarray, "views views"]:
    """How sure the network is of each pair (reference, target): the sum of both pictures' mean sureness; diagonal 0."""
    views = len(tokens)
    pairs = [(i, j) for i in range(views) for j in range(views) if i != j]
    scores = np.zeros((views, views))
    chunks = [pairs[start : start + chunk_frames] for start in range(0, len(pairs), chunk_frames)]
    for chunk in tqdm(chunks, desc="pairs", unit="batch", disable=None if progress else True):
        reference, target = ([pair[side] for pair in chunk] for side in (0, 1))
        layers1, layers2 = model.dust3r.decode(tokens[reference], positions, tokens[target], positions)
        total = sum(
            mean_sureness(model.dust3r.pointmap(head, layers, shape)[1], model.config)
            for head, layers in ((1, layers1), (2, layers2))
        )
        assert isinstance(total, Tensor)
        scores[reference, target] = total.double().cpu().numpy()
    return scores


@torch.inference_mode()
def reconstruct_offline(
    model: Spann3rModel, frames: Frames, options: MemoryConfig, chunk_frames: int, progress: bool
) -> SequenceReconstruction:
    """Frames in an order that the network finds itself; ``order`` tells it, its first frame is the reference.

    Every frame is encoded once and every directed pair decoded once. Each step decodes all frames that are left
    against the memory and takes the surest; its decoding is the step, nothing is computed twice.
    """
    views, shape = len(frames), (frames.shape[-2], frames.shape[-1])
    if views == 1:
        return reconstruct_online(model, frames, options, chunk_frames, progress)
    encoded = list(encode_in_chunks(model, frames, chunk_frames))
    tokens, positions = torch.cat([each for each, _ in encoded]), encoded[0][1]
    scores = pair_sureness(model, tokens, positions, shape, chunk_frames, progress)
    first, second = (int(index) for index in np.unravel_index(int(scores.argmax()), scores.shape))
    result, run, order = ResultArrays(views, shape), model.new_pass(shape, options), [first, second]
    run.start(tokens[first : first + 1])
    step = run.decode(run.fuse(), tokens[second : second + 1], positions)
    remaining = [view for view in range(views) if view not in order]
    for _ in tqdm(range(views - 1), desc="steps", disable=None if progress else True):
        pointmap = run.reference_pointmap(step)
        result.put(order[-2], pointmap)
        if not remaining:
            break
        run.remember(step, pointmap[0])
        run.advance(step, tokens[order[-1] : order[-1] + 1])
        step, best = _best_next(run, tokens, positions, remaining, chunk_frames)
        order.append(best)
        remaining.remove(best)
    result.put(order[-1], run.target_pointmap(step))
    return SequenceReconstruction(result.pointmaps, result.confidence, tuple(order))


def _best_next(
    run: SequencePass,
    tokens: Float[Tensor, "views tokens channels"],
    positions: Positions,
    remaining: list[int],
    chunk_frames: int,
) -> tuple[Step, int]:
    """The step to the remaining frame that the network is surest of, and that frame; the first of equals."""
    fused = run.fuse()
    best: tuple[float, Step, int] | None = None
    for start in range(0, len(remaining), chunk_frames):
        views = remaining[start : start + chunk_frames]
        step = run.decode(fused.expand(len(views), -1, -1), tokens[views], positions)
        scores = _step_sureness(run, step)
        row = int(scores.argmax())
        if best is None or float(scores[row]) > best[0]:
            best = float(scores[row]), _row(step, row), views[row]
    assert best is not None, "there is a frame left"
    return best[1], best[2]


def _step_sureness(run: SequencePass, step: Step) -> Float[Tensor, " batch"]:
    config = run.model.config
    return mean_sureness(run.reference_pointmap(step)[1], config) + mean_sureness(run.target_pointmap(step)[1], config)


def _row(step: Step, row: int) -> Step:
    layers: list[list[Tokens]] = [
        [layer[row : row + 1].clone() for layer in side] for side in (step.layers1, step.layers2)
    ]
    return Step(step.fused[row : row + 1], *layers)
