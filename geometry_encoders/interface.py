"""The contract between geometry encoders and whatever uses them: posed-free views in, pointmaps and tokens out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class GeometryOutput(ModelOutput):
    """What a geometry encoder says about the views of each sample; entries of padded views are zero.

    Attributes:
        pointmaps: 3D point of every pixel in the camera frame of the sample's first view, encoder units.
        confidence: per-pixel confidence, larger is surer; its range belongs to the encoder.
        patch_tokens: features of every patch, row-major over ``grid``.
        camera_tokens: one feature per view where the encoder has one, else None.
        grid: (rows, columns) of the patch tokens.
    """

    pointmaps: Float[Tensor, "batch views height width 3"] | None = None
    confidence: Float[Tensor, "batch views height width"] | None = None
    patch_tokens: Float[Tensor, "batch views tokens channels"] | None = None
    camera_tokens: Float[Tensor, "batch views 1 channels"] | None = None
    grid: tuple[int, int] | None = None


class GeometryEncoder(ABC):
    """Mixin for `PreTrainedModel`s that turn unposed views into geometry.

    Geometry is computed per sample over its own views, in the padded (batch, views) layout, so that nothing leaks
    between samples and the encoder can be exported. Views are RGB scaled to -1..1, sides multiples of ``patch_size``.
    """

    patch_size: int
    any_views_in_export: bool = True  # False where views are walked one by one: their number is part of the program

    @property
    @abstractmethod
    def token_size(self) -> int:
        """Channels of ``patch_tokens``."""

    @abstractmethod
    def encode_views(
        self,
        pixel_values: Float[Tensor, "batch views 3 height width"],
        view_mask: Bool[Tensor, "batch views"] | None = None,
        with_pointmaps: bool = True,
    ) -> GeometryOutput:
        """Geometry of every sample; ``view_mask`` is True on real views, ``with_pointmaps=False`` skips the heads."""


def full_view_mask(pixel_values: Float[Tensor, "batch views 3 height width"]) -> Bool[Tensor, "batch views"]:
    """The mask for a batch without padded views."""
    return torch.ones(pixel_values.shape[:2], dtype=torch.bool, device=pixel_values.device)
