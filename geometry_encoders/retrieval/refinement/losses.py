"""What the refinement network is trained with: weighted distances, surface directions, agreement of patches.

Source: RetrievalFuse (ICCV 2021); weights and terms are those of its published program, which differ from the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from geometry_encoders.retrieval.contrastive import nt_xent
from geometry_encoders.retrieval.refinement.modeling import RetrievalFuseModel
from geometry_encoders.retrieval.refinement.normals import distance_normals, normal_disagreement
from geometry_encoders.retrieval.scale import GridScale

ATTENTION_TEMPERATURE = 0.05
ATTENTION_SLICE = 512
ATTENTION_PATCHES = 1280

Windows = Float[Tensor, "batch 64 64 64"]


@dataclass(frozen=True)
class LossSettings:
    """How much each term counts.

    Attributes:
        reconstruction: of the distances.
        normal: of the surface directions.
        attention: of the agreement between patches of the input and of the target.
        retrieval_side_task: of the shape decoded from the target's own features.
        unet_side_task: of the shape decoded from the input's features alone.
        weight_occupied: of voxels near a surface among the distances; all others count one.
    """

    reconstruction: float = 1.0
    normal: float = 0.5
    attention: float = 0.01
    retrieval_side_task: float = 1.0
    unet_side_task: float = 1.0
    weight_occupied: float = 8.0


@dataclass(frozen=True)
class TrueShape:
    """What predictions of a batch of windows are compared with.

    Attributes:
        network: distances between -1 and 1.
        normals: surface directions.
        weights: of every voxel.
        empty: voxels far from every surface.
        normalised: distances as networks see them.
    """

    network: Windows
    normals: Float[Tensor, "batch 3 64 64 64"]
    weights: Windows
    empty: Bool[Tensor, "batch 64 64 64"]
    normalised: Windows

    @classmethod
    def of(cls, normalised: Windows, scale: GridScale, weight_occupied: float, faithful: bool) -> TrueShape:
        """The shape in distances normalised by ``scale.normalise_target``.

        Args:
            faithful: compare normalised distances with the truncation, as the published program does, although one
                has no unit and the other has; else distances with the truncation.
        """
        distance = scale.denormalise_target(normalised)
        threshold = (
            scale.truncation if faithful else scale.truncation * (1 - 1e-3)
        )  # distances stored in half precision
        empty = (normalised if faithful else distance) >= threshold
        weights = torch.where(empty, 1.0, weight_occupied)
        normals = distance_normals(distance, scale.truncation)
        return cls(scale.to_network(distance), normals, weights, empty, normalised)


@dataclass(frozen=True)
class ShapeLoss:
    """Terms of the loss of one predicted shape, and their weighted sum."""

    total: Tensor
    distance: Tensor
    normal: Tensor


def shape_loss(predicted: Windows, true: TrueShape, scale: GridScale, settings: LossSettings) -> ShapeLoss:
    """How far a shape predicted in network space is from the true one; always in float32."""
    with torch.autocast(predicted.device.type, enabled=False):
        return _shape_loss(predicted.float(), true, scale, settings)


def _shape_loss(predicted: Windows, true: TrueShape, scale: GridScale, settings: LossSettings) -> ShapeLoss:
    predicted_distance = scale.from_network(predicted)
    settled = true.empty & (predicted_distance >= scale.truncation)  # empty space found to be empty
    distance = (true.weights * ~settled * (predicted - true.network).abs()).mean()
    normal = normal_disagreement(distance_normals(predicted_distance, scale.truncation), true.normals)
    return ShapeLoss(settings.reconstruction * distance + settings.normal * normal, distance, normal)


def attention_loss(
    inputs: Float[Tensor, "patches embedding"],
    targets: Float[Tensor, "patches embedding"],
    counted: Bool[Tensor, "patches"],
) -> Float[Tensor, ""]:
    """Contrastive loss that pulls patches of input and target at the same place together.

    Patches are taken in slices of 512; slices are added while they hold at most 1280 patches together, which bounds
    memory. Zero where nothing is counted.

    Args:
        inputs, targets: embeddings of the patches, in the order of `patches.unfold`.
        counted: patches with something in them.
    """
    total, used = 0 * (inputs.sum() + targets.sum()), 0  # a zero with gradients, for nothing may be counted
    slices = zip(*(part.split(ATTENTION_SLICE) for part in (inputs, targets, counted)), strict=True)
    for inputs_here, targets_here, counted_here in slices:
        count = int(counted_here.sum())
        if count == 0 or used + count > ATTENTION_PATCHES:
            continue
        used += count
        total = total + nt_xent(inputs_here[counted_here], targets_here[counted_here], ATTENTION_TEMPERATURE)
    return total


def patch_agreement(model: RetrievalFuseModel, features: Tensor, target_features: Tensor) -> Float[Tensor, ""]:
    """`attention_loss` over the patches where the input's features alone show a surface."""
    with torch.no_grad():
        surface = model.scale.from_network(model.decode(features)) <= model.scale.occupied
    counted = model.attention.occupied_patches(surface[:, None], features.shape[-1])
    return attention_loss(*model.attention.embed_pair(features, target_features), counted)
