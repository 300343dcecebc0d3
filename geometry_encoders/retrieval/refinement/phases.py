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


def phase_loss(
    model: RetrievalFuseModel,
    phase: Phase,
    inputs: Tensor,
    retrieved: Tensor | None,
    true: TrueShape,
    settings: LossSettings,
    generator: torch.Generator | None = None,
) -> PhaseLoss:
    """The loss of one batch.

    Args:
        inputs, retrieved: of `RetrievalFuseModel.forward`; the candidates are needed in the last phase only.
        true: of the same windows.
        generator: of the random picks of Gumbel attention.
    """
    if phase == "unet":
        shape = shape_loss(model.decode(model.input_unet(inputs)), true, model.scale, settings)
        return PhaseLoss(shape.total, _terms("unet", shape))
    if phase == "retrieval":
        shape = shape_loss(model.autoencode(true.normalised)[1], true, model.scale, settings)
        return PhaseLoss(shape.total, _terms("retrieval", shape))
    if phase == "attention":
        agreement = patch_agreement(model, model.input_unet(inputs), model.encode_windows(true.normalised))
        return PhaseLoss(agreement, {"attention": agreement})
    return _full_loss(model, inputs, retrieved, true, settings, generator)


def _full_loss(
    model: RetrievalFuseModel,
    inputs: Tensor,
    retrieved: Tensor | None,
    true: TrueShape,
    settings: LossSettings,
    generator: torch.Generator | None,
) -> PhaseLoss:
    output = model(inputs, retrieved, generator)
    fused = shape_loss(output.network, true, model.scale, settings)
    alone = shape_loss(model.decode(output.input_features), true, model.scale, settings)
    target_features, rebuilt = model.autoencode(true.normalised)
    known = shape_loss(rebuilt, true, model.scale, settings)
    total = fused.total + settings.retrieval_side_task * known.total + settings.unet_side_task * alone.total
    terms = _terms("fused", fused) | _terms("retrieval", known) | _terms("unet", alone)
    if model.config.fusion == "attention":
        terms["attention"] = patch_agreement(model, output.input_features, target_features)
        total = total + settings.attention * terms["attention"]
    return PhaseLoss(total, terms)


def _terms(name: str, shape: ShapeLoss) -> dict[str, Tensor]:
    return {f"{name}/shape": shape.total, f"{name}/distance": shape.distance, f"{name}/normal": shape.normal}
