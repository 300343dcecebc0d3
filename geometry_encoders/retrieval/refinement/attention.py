"""Chooses, patch by patch, between the features of the input and those of retrieved candidates.

Source: RetrievalFuse (ICCV 2021), section 3.3; the constants are those of its published program.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from geometry_encoders.retrieval.patches import fold, interleave_candidates, unfold

BetaKind = Literal["relu", "sigmoid", "one"]
Selection = Literal["softmax", "gumbel"]

HIDDEN = 128
EMBEDDING = 32
GUMBEL_SCALE = 25.0
BETA_SCALE, BETA_SHIFT = 35.0, -27.0

Patches = Float[Tensor, "patches channels e e e"]
Candidates = Float[Tensor, "patches k channels e e e"]


@dataclass(frozen=True)
class AttentionSettings:
    """How candidates are compared, chosen and mixed in.

    Attributes:
        normalise: whether the embeddings that are compared have length one.
        selection: ``softmax`` with a sharpness that all but picks the best, or ``gumbel``, a random pick.
        random_inference: whether the pick stays random outside training, as in the published program; else the best.
        beta: how much candidates count: ``relu`` of the best score (the published program), ``sigmoid`` of it scaled
            and shifted by two learnt numbers (the paper), or always ``one``.
        blend: whether the input's features count ``1 - beta``; else candidates are added to them.
        value_mappings: learnt 1^3 convolutions before and after the weighted sum.
    """

    normalise: bool = True
    selection: Selection = "softmax"
    random_inference: bool = False
    beta: BetaKind = "relu"
    blend: bool = True
    value_mappings: bool = False


@dataclass
class Fused:
    """Fused features and how they came about.

    Attributes:
        features: of the input's shape.
        scores: similarity of every candidate to the input, per patch.
        weights: of every candidate, per patch, summing to one.
        beta: how much the candidates count, per patch.
    """

    features: Tensor
    scores: Float[Tensor, "patches k"]
    weights: Float[Tensor, "patches k"]
    beta: Float[Tensor, "patches"]


def patch_encoder(in_features: int) -> nn.Sequential:
    """The small network that turns a flattened patch into what is compared."""
    sizes = [in_features, HIDDEN, HIDDEN, HIDDEN, EMBEDDING]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers[:-1])


def gumbel_noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Samples of the standard Gumbel distribution in the shape of ``like``."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device if generator is None else generator.device)
    tiny = torch.finfo(torch.float32).tiny
    return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log().to(like)


class PatchAttention(nn.Module):
    """Attention within each patch: the input's patch asks, its k candidates answer."""

    def __init__(self, channels: int, extent: int, settings: AttentionSettings) -> None:
        super().__init__()
        if settings.value_mappings and settings.selection == "gumbel":
            raise ValueError("value_mappings go with selection 'softmax' only")
        self.settings = settings
        self.sharpness = 4 * EMBEDDING * extent**3
        self.input_encoder = patch_encoder(channels * extent**3)
        self.candidate_encoder = patch_encoder(channels * extent**3)
        self.beta_scale = nn.Parameter(torch.tensor([BETA_SCALE]))
        self.beta_shift = nn.Parameter(torch.tensor([BETA_SHIFT]))
        self.value_mapping = nn.Conv3d(channels, channels, 1) if settings.value_mappings else None
        self.output_mapping = nn.Conv3d(channels, channels, 1) if settings.value_mappings else None

    def embed_inputs(self, patches: Patches) -> Float[Tensor, "patches embedding"]:
        """What candidates are compared with."""
        return self._embed(self.input_encoder, patches.flatten(1))

    def embed_candidates(self, patches: Float[Tensor, "*n channels e e e"]) -> Float[Tensor, "*n embedding"]:
        """What is compared of candidates, or of any patches of target features."""
        return self._embed(self.candidate_encoder, patches.flatten(-4))

    def _embed(self, encoder: nn.Module, patches: Float[Tensor, "*n features"]) -> Float[Tensor, "*n embedding"]:
        # the sharp softmax needs scores to 1e-4, which lower precisions do not have
        with torch.autocast(patches.device.type, enabled=False):
            embeddings = encoder(patches.float())
            return F.normalize(embeddings, dim=-1) if self.settings.normalise else embeddings

    def forward(
        self,
        patches: Patches,
        candidates: Candidates,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Fused:
        """Fused patches.

        Args:
            patches: features of the input.
            candidates: features of the k retrieved versions of each patch.
            generator: source of the random picks of ``selection="gumbel"``.
            noise: Gumbel noise (patches, k) to be used instead of fresh one.
        """
        scores = self.score(patches, candidates)
        weights = self.weigh(scores, generator, noise)
        if self.value_mapping is not None:
            candidates = self.value_mapping(candidates.flatten(0, 1)).view_as(candidates)
        chosen = torch.einsum("pk,pkcxyz->pcxyz", weights, candidates)
        if self.output_mapping is not None:
            chosen = self.output_mapping(chosen)
        beta = self.beta(scores)
        share = beta[:, None, None, None, None]
        kept = (1 - share) * patches if self.settings.blend else patches
        return Fused(kept + share * chosen, scores, weights, beta)

    def score(self, patches: Patches, candidates: Candidates) -> Float[Tensor, "patches k"]:
        """How well each candidate fits its patch of the input."""
        inputs, answers = self.embed_inputs(patches), self.embed_candidates(candidates)
        with torch.autocast(inputs.device.type, enabled=False):
            return torch.einsum("pc,pkc->pk", inputs, answers)

    def weigh(
        self, scores: Float[Tensor, "patches k"], generator: torch.Generator | None = None, noise: Tensor | None = None
    ) -> Float[Tensor, "patches k"]:
        """Weights of the candidates, summing to one per patch."""
        if self.settings.selection == "softmax":
            return (self.sharpness * scores).softmax(dim=-1)
        logits = GUMBEL_SCALE * scores
        if noise is not None:
            logits = logits + noise
        elif self.training or self.settings.random_inference:
            logits = logits + gumbel_noise(logits, generator)
        soft = logits.softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
        return hard + (soft - soft.detach())  # straight through: a pick forwards, the softmax's slope backwards

    def beta(self, scores: Float[Tensor, "patches k"]) -> Float[Tensor, "patches"]:
        """How much the candidates count in each patch."""
        best = scores.amax(dim=-1)
        if self.settings.beta == "relu":
            return best.relu()
        if self.settings.beta == "sigmoid":
            return (self.beta_scale * best + self.beta_shift).sigmoid()
        return torch.ones_like(best)


class GridAttention(nn.Module):
    """`PatchAttention` over all patches of feature grids."""

    def __init__(self, channels: int, extent: int, settings: AttentionSettings) -> None:
        super().__init__()
        self.extent = extent
        self.patch = PatchAttention(channels, extent, settings)

    def forward(
        self,
        features: Float[Tensor, "batch channels side side side"],
        candidates: Float[Tensor, "batch_times_k channels side side side"],
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Fused:
        """Fused feature grids; candidates of one input follow each other."""
        k = candidates.shape[0] // features.shape[0]
        per_axis = features.shape[-1] // self.extent
        patches = unfold(features, self.extent)
        fused = self.patch(patches, interleave_candidates(candidates, k, self.extent), generator, noise)
        fused.features = fold(fused.features, per_axis)
        return fused

    def embed_pair(
        self, features: Tensor, target_features: Tensor
    ) -> tuple[Float[Tensor, "patches embedding"], Float[Tensor, "patches embedding"]]:
        """Embeddings of the input's patches and of the target's at the same places, which training pulls together."""
        inputs = self.patch.embed_inputs(unfold(features, self.extent))
        return inputs, self.patch.embed_candidates(unfold(target_features, self.extent))

    def occupied_patches(
        self, occupied: Bool[Tensor, "batch 1 voxels voxels voxels"], side: int
    ) -> Bool[Tensor, "patches"]:
        """Which patches of a grid of ``side`` cells hold an occupied voxel, in the order of `unfold`."""
        pool = occupied.shape[-1] // side * self.extent
        return F.max_pool3d(occupied.float(), pool).flatten().bool()
