"""Geometry encoders as the benchmark runs them: Spann3R with its memory settings, DUSt3R anchored or aligned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.reconstruction.alignment import transform_points
from benchmarks.reconstruction.evaluate import Prediction
from benchmarks.reconstruction.frames import PosedFrame
from geometry_encoders.reconstruction import Dust3rModel, Spann3rModel

Order = Literal["online", "offline"]


@dataclass(frozen=True)
class Spann3rReconstructor:
    """Spann3R over all frames in one pass; ``memory`` changes single settings of its memory.

    With ``order`` offline the frame the network starts from becomes the reference of the evaluation.
    """

    name: str
    model: Spann3rModel
    image_px: int
    order: Order = "online"
    memory: Mapping[str, Any] = field(default_factory=dict)

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        found = self.model.reconstruct(as_pixel_values(frames), self.order, dtype="float32", **self.memory)
        return Prediction(found.pointmaps, found.order[0])


@dataclass(frozen=True)
class AnchoredReconstructor:
    """DUSt3R pairing the first frame with each other one; nothing brings the pairs together."""

    name: str
    model: Dust3rModel
    image_px: int
    chunk_frames: int = 8

    @torch.inference_mode()
    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        pixels = as_pixel_values(frames)
        parts: list[np.ndarray] = []
        for start in range(1, len(frames), self.chunk_frames):
            chunk = torch.cat([pixels[:1], pixels[start : start + self.chunk_frames]])
            points = self.model.encode_views(chunk[None].to(self.model.device)).pointmaps
            assert points is not None, "asked for by default"
            # the first frame's own points come from its pair with the second
            parts.append(points[0, 0 if start == 1 else 1 :].float().cpu().numpy())
        return Prediction(np.concatenate(parts))


@dataclass(frozen=True)
class AlignedReconstructor:
    """DUSt3R over the pairs of a scene graph, brought into one scene by global alignment."""

    name: str
    model: Dust3rModel
    image_px: int
    scene_graph: str = "complete"
    compat: bool = False

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        from geometry_encoders.reconstruction.global_alignment import AlignmentConfig, reconstruct_views

        views = [{"img": pixels[None]} for pixels in as_pixel_values(frames)]
        config = AlignmentConfig(compat=self.compat)
        found = reconstruct_views(self.model, views, self.scene_graph, [frame.name for frame in frames], config=config)
        pointmaps = np.stack(found.pointmaps)
        if found.camera_to_world is not None:
            pointmaps = transform_points(pointmaps, np.linalg.inv(found.camera_to_world[0])).astype(np.float32)
        return Prediction(pointmaps)


def as_pixel_values(frames: Sequence[PosedFrame]) -> Float[Tensor, "frames 3 height width"]:
    """The pictures in -1..1, as the networks take them."""
    images = torch.from_numpy(np.stack([frame.view.image for frame in frames]))
    return (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def trained_image_px(model: Dust3rModel | Spann3rModel) -> int:
    """The longer side of the pictures that the configuration names."""
    return int(max(model.config.image_size))


def weights_digest(model: torch.nn.Module) -> str:
    """A short name for the weights: the same bytes give the same name."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
