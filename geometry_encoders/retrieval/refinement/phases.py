"""The four phases of training the refinement network: what is trained in each, and by which loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from geometry_encoders.retrieval.refinement.losses import (
    LossSettings,
    ShapeLoss,
    TrueShape,
    patch_agreement,
    shape_loss,
)
from geometry_encoders.retrieval.refinement.modeling import RetrievalFuseModel
from geometry_encoders.retrieval.scale import CHUNK, WINDOW

Phase = Literal["unet", "retrieval", "attention", "full"]
PHASES: tuple[Phase, ...] = ("unet", "retrieval", "attention", "full")


@dataclass(frozen=True)
class PhaseLoss:
    """The loss of a phase and the terms it is made of, by name."""

    total: Tensor
    terms: dict[str, Tensor]


def phases_of(model: RetrievalFuseModel) -> tuple[Phase, ...]:
    """The phases that a variant has: a U-Net alone has one, concatenation nothing to align."""
    if model.config.fusion == "none":
        return ("unet",)
    return PHASES if model.config.fusion == "attention" else ("unet", "retrieval", "full")


def trained_parameters(model: RetrievalFuseModel, phase: Phase) -> list[nn.Parameter]:
    """The weights that change in that phase: those of its parts that its loss reaches."""
    parts: list[nn.Module] = [model]
    if phase == "unet":
        parts = [model.input_unet, model.decoder]
    elif phase == "retrieval":
        parts = [model.retrieval_unet]
    elif phase == "attention":
        parts = [model.attention.patch.input_encoder, model.attention.patch.candidate_encoder]
    unread: set[int] = set()
    if model.config.fusion == "attention" and model.config.attention_settings.beta != "sigmoid":
        unread = {id(model.attention.patch.beta_scale), id(model.attention.patch.beta_shift)}
    return [weight for part in parts for weight in part.parameters() if id(weight) not in unread]


@dataclass(frozen=True)
class Crop:
    """A cube of every window of a batch in which losses are taken; chunks keep the GroupNorm statistics of training.

    Attributes:
        starts: (z, y, x) of its first voxel in each window, multiples of a chunk.
        side: voxels, a multiple of a chunk.
    """

    starts: tuple[tuple[int, int, int], ...]
    side: int

    @classmethod
    def random(cls, batch: int, side: int, generator: torch.Generator) -> Crop:
        """Cubes anywhere in the windows."""
        places = (WINDOW - side) // CHUNK + 1
        drawn = torch.randint(places, (batch, 3), generator=generator) * CHUNK
        return cls(tuple((int(z), int(y), int(x)) for z, y, x in drawn), side)

    def of(self, volumes: Tensor) -> Tensor:
        """The cubes of volumes (batch, *, side, side, side) that cover whole windows in any resolution."""
        scale = WINDOW // volumes.shape[-1]
        extent = self.side // scale
        parts = []
        for volume, start in zip(volumes, self.starts, strict=True):
            z, y, x = (first // scale for first in start)
            parts.append(volume[..., z : z + extent, y : y + extent, x : x + extent])
        return torch.stack(parts)


def phase_loss(
    model: RetrievalFuseModel,
    phase: Phase,
    inputs: Tensor,
    retrieved: Tensor | None,
    true: TrueShape,
    settings: LossSettings,
    generator: torch.Generator | None = None,
    crop: Crop | None = None,
) -> PhaseLoss:
    """The loss of one batch.

    Args:
        inputs, retrieved: of `RetrievalFuseModel.forward`; the candidates are needed in the last phase only.
        true: of the same windows or, with a crop, of its cubes.
        generator: of the random picks of Gumbel attention.
        crop: the input is seen whole, everything else in these cubes only.
    """
    if phase == "retrieval":
        shape = shape_loss(model.autoencode(true.normalised)[1], true, model.scale, settings)
        return PhaseLoss(shape.total, _terms("retrieval", shape))
    features = model.input_unet(inputs)
    if crop is not None:
        features = crop.of(features)
        retrieved = None if retrieved is None else crop.of(retrieved)
    if phase == "unet":
        shape = shape_loss(model.decode(features), true, model.scale, settings)
        return PhaseLoss(shape.total, _terms("unet", shape))
    if phase == "attention":
        agreement = patch_agreement(model, features, model.encode_windows(true.normalised))
        return PhaseLoss(agreement, {"attention": agreement})
    return _full_loss(model, features, retrieved, true, settings, generator)


def _full_loss(
    model: RetrievalFuseModel,
    features: Tensor,
    retrieved: Tensor | None,
    true: TrueShape,
    settings: LossSettings,
    generator: torch.Generator | None,
) -> PhaseLoss:
    """The fused shape and the side tasks; those that count nothing are not computed."""
    some = retrieved is not None and retrieved.shape[1] > 0
    candidates = model.encode_windows(retrieved.flatten(0, 1)) if some and retrieved is not None else None
    fused = shape_loss(model.decode(model.fuse(features, candidates, generator).features), true, model.scale, settings)
    total, terms = fused.total, _terms("fused", fused)
    if settings.unet_side_task:
        alone = shape_loss(model.decode(features), true, model.scale, settings)
        total, terms = total + settings.unet_side_task * alone.total, terms | _terms("unet", alone)
    target_features = None
    if settings.retrieval_side_task:
        target_features, rebuilt = model.autoencode(true.normalised)
        known = shape_loss(rebuilt, true, model.scale, settings)
        total, terms = total + settings.retrieval_side_task * known.total, terms | _terms("retrieval", known)
    if model.config.fusion == "attention" and settings.attention:
        if target_features is None:
            target_features = model.encode_windows(true.normalised)
        terms["attention"] = patch_agreement(model, features, target_features)
        total = total + settings.attention * terms["attention"]
    return PhaseLoss(total, terms)


def _terms(name: str, shape: ShapeLoss) -> dict[str, Tensor]:
    return {f"{name}/shape": shape.total, f"{name}/distance": shape.distance, f"{name}/normal": shape.normal}
