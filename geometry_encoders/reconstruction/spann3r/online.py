"""Ordered frames: one pass, the encoder run over several frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.orientation import Pointmap
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.sequence import Positions, Tokens

if TYPE_CHECKING:
    from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel

Frames = Float[Tensor, "views 3 height width"]


@dataclass(frozen=True)
class Joint:
    """How two fragments of a long sequence were joined.

    Attributes:
        first_frame: number of the first frame they share.
        shared_frames: how many they share.
        scale: what the later fragment's lengths were multiplied by.
        inlier_share: part of the shared points that agree with the fit.
    """

    first_frame: int
    shared_frames: int
    scale: float
    inlier_share: float


@dataclass(frozen=True)
class SequenceReconstruction:
    """Pointmaps of all frames in one common frame, numbered as the frames were given.

    Attributes:
        pointmaps: in the camera frame of frame ``order[0]``, in the network's own unit.
        confidence: 1 and more, larger is surer.
        order: frames in the order they were visited.
        joints: where fragments were joined; empty for a single pass.
    """

    pointmaps: Float32[np.ndarray, "views height width 3"]
    confidence: Float32[np.ndarray, "views height width"]
    order: tuple[int, ...]
    joints: tuple[Joint, ...] = ()


class ResultArrays:
    """Room for the results of all frames, filled frame by frame."""

    def __init__(self, views: int, shape: tuple[int, int]) -> None:
        self.pointmaps = np.empty((views, *shape, 3), dtype=np.float32)
        self.confidence = np.empty((views, *shape), dtype=np.float32)

    def put(self, view: int, pointmap: Pointmap) -> None:
        """Stores a batch of one; raises `InputError` where the network left the range of numbers."""
        points, confidence = (values[0].float().cpu().numpy() for values in pointmap)
        if not (np.isfinite(points).all() and np.isfinite(confidence).all()):
            raise InputError(
                f"frame {view}: the network's points are not finite, expected weights that were trained on such frames"
            )
        self.pointmaps[view], self.confidence[view] = points, confidence


def encode_in_chunks(model: Spann3rModel, frames: Frames, chunk_frames: int) -> Iterator[tuple[Tokens, Positions]]:
    """Encoder tokens (1, tokens, channels) and positions of one frame after the other."""
    for start in range(0, len(frames), chunk_frames):
        tokens, positions = model.dust3r.encode(frames[start : start + chunk_frames].to(model.device))
        for row in range(len(tokens)):
            yield tokens[row : row + 1], positions[:1]


@torch.inference_mode()
def reconstruct_online(
    model: Spann3rModel, frames: Frames, options: MemoryConfig, chunk_frames: int, progress: bool
) -> SequenceReconstruction:
    """Frames in the order they come; a frame that is alone is paired with itself."""
    views, shape = len(frames), (frames.shape[-2], frames.shape[-1])
    result, run = ResultArrays(views, shape), model.new_pass(shape, options)
    encoded = tqdm(
        encode_in_chunks(model, frames, chunk_frames),
        desc="frames",
        total=views,
        disable=None if progress else True,
    )
    step = None
    for view, (tokens, positions) in enumerate(encoded):
        if view == 0:
            run.start(tokens)
            if views == 1:
                result.put(0, run.reference_pointmap(run.decode(tokens, tokens, positions)))
            continue
        step, pointmap = run.follow(tokens, positions, last=view == views - 1)
        result.put(view - 1, pointmap)
    if step is not None:
        result.put(views - 1, run.target_pointmap(step))
    return SequenceReconstruction(result.pointmaps, result.confidence, tuple(range(views)))
