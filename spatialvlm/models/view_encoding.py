"""The part of the model that runs once per set of views: from pictures to visual tokens for the language model.

Views come packed, ``pixel_values (total_views, 3, height, width)`` and ``num_views (samples,)``; the geometry tower
sees them padded, ``(samples, views, ...)`` with a mask, which is also the layout that exports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_spatialmosaic import SpatialMosaicConfig
from .fusion import resize_token_grid


@dataclass
class ViewFeatures(ModelOutput):
    """Features of some views, in the shape that `generate` knows.

    Attributes:
        last_hidden_state: patch tokens of the vision tower.
        pooler_output: visual tokens of each view in the language model's space, in prompt order.
    """

    last_hidden_state: Float[Tensor, "views patches visual_size"] | None = None
    pooler_output: list[Float[Tensor, "tokens text_size"]] | None = None


class SpatialMosaicProjector(nn.Module):
    """``mlp2x_gelu``: linear, GELU, linear, from the vision tower's width to the language model's."""

    def __init__(self, config: SpatialMosaicConfig) -> None:
        super().__init__()
        text_size = config.text_config.hidden_size
        self.linear_1 = nn.Linear(config.vision_config.hidden_size, text_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(text_size, text_size)

    def forward(self, visual: Float[Tensor, "views tokens visual_size"]) -> Float[Tensor, "views tokens text_size"]:
        """The visual tokens in the language model's space."""
        return self.linear_2(self.act(self.linear_1(visual)))


class ViewEncodingMixin:
    """From views to visual tokens, for a model that has these parts."""

    config: Any  # SpatialMosaicConfig
    vision_tower: Any
    geometry_tower: Any  # a GeometryEncoder, None without geometry
    fusion: Any
    projector: SpatialMosaicProjector
    image_newline: Any  # a parameter, None in the plain layout

    def vision_tokens(
        self, pixel_values: Float[Tensor, "views 3 height width"]
    ) -> Float[Tensor, "views tokens visual_size"]:
        """Patch tokens of each view, without class or register tokens, which stand in front."""
        layer = self.config.vision_feature_layer
        with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(self.vision_tower)):
            output = self.vision_tower(
                pixel_values.to(self.vision_tower.dtype), output_hidden_states=layer is not None, return_dict=True
            )
            hidden = output.last_hidden_state if layer is None else output.hidden_states[layer]
        rows, columns = self.config.visual_grid
        if hidden.shape[1] < rows * columns:
            raise ValueError(f"vision tower gives {hidden.shape[1]} tokens per view, expected {rows}x{columns} patches")
        return hidden[:, hidden.shape[1] - rows * columns :]

    def geometry_tokens(
        self,
        pixel_values: Float[Tensor, "samples views 3 height width"],
        view_mask: Bool[Tensor, "samples views"],
    ) -> Float[Tensor, "samples views tokens geometry_size"]:
        """Geometry tokens of each view as the fusion block wants them; every sample on its own.

        Aligned blocks get the patch grid resampled to the visual grid, the view's camera token, where the encoder has
        one, added to every patch token; the others get the camera token followed by the patch tokens (specs 6.1).
        """
        tower = self.geometry_tower
        samples, views = pixel_values.shape[:2]
        images = self._geometry_images(pixel_values.flatten(0, 1)).unflatten(0, (samples, views))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(tower)):
            output = tower.encode_views(images.to(tower.dtype), view_mask, with_pointmaps=False)
        tokens = output.patch_tokens
        if self.fusion.aligned:
            if output.camera_tokens is not None:
                tokens = tokens + output.camera_tokens
            tokens = resize_token_grid(tokens.flatten(0, 1), output.grid, self.config.visual_grid)
            return tokens.unflatten(0, (samples, views))
        return tokens if output.camera_tokens is None else torch.cat([output.camera_tokens, tokens], dim=2)

    def _geometry_images(self, pixel_values: Tensor) -> Float[Tensor, "views 3 geometry_height geometry_width"]:
        """The same pictures as the geometry tower wants them: scaled to -1..1, bilinear to its size (specs 6.1)."""
        mean, std = self.config.image_mean, self.config.image_std
        if any(value != 0.5 for value in (*mean, *std)):
            shape = (1, 3, 1, 1)
            pixel_values = (pixel_values * pixel_values.new_tensor(std).view(shape)) * 2
            pixel_values = pixel_values + (pixel_values.new_tensor(mean).view(shape) * 2 - 1)
        size = self.config.geometry_image_size
        if size is None or tuple(pixel_values.shape[-2:]) == (size, size):
            return pixel_values
        return F.interpolate(pixel_values.float(), size=(size, size), mode="bilinear", align_corners=False)

    def language_tokens(
        self, visual: Float[Tensor, "views tokens visual_size"], geometry: Any
    ) -> Float[Tensor, "views kept_tokens text_size"]:
        """Fused and projected tokens of each view in the configured layout."""
        if self.fusion is not None:
            visual = self.fusion(visual, geometry.to(visual.dtype))
        tokens = self.projector(visual)
        return tokens if self.image_newline is None else self._pool_and_end_rows(tokens)

    def _pool_and_end_rows(self, tokens: Float[Tensor, "views tokens text_size"]) -> Tensor:
        """Half the grid, bilinearly, sides rounded up, and the newline vector after each row (specs 6.5)."""
        rows, columns = self.config.visual_grid
        half = (math.ceil(rows / 2), math.ceil(columns / 2))
        grid = resize_token_grid(tokens, (rows, columns), half).unflatten(1, half)
        newline = self.image_newline.to(grid.dtype).expand(*grid.shape[:2], 1, -1)
        return torch.cat([grid, newline], dim=2).flatten(1, 2)

    def encode_padded_views(
        self,
        pixel_values: Float[Tensor, "samples views 3 height width"],
        view_mask: Bool[Tensor, "samples views"],
    ) -> Float[Tensor, "samples views kept_tokens text_size"]:
        """Visual tokens of every view in the padded layout, zero on padded views; this is what exports."""
        samples, views = pixel_values.shape[:2]
        visual = self.vision_tokens(pixel_values.flatten(0, 1))
        geometry = None if self.fusion is None else self.geometry_tokens(pixel_values, view_mask).flatten(0, 1)
        tokens = self.language_tokens(visual, geometry).unflatten(0, (samples, views))
        return torch.where(view_mask[:, :, None, None], tokens, torch.zeros_like(tokens))

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Float[Tensor, "total_views 3 height width"],
        num_views: Int[Tensor, "samples"] | None = None,
        **kwargs: Any,
    ) -> ViewFeatures:
        """Visual tokens of every view: ``pooler_output`` is a list of (tokens, text_size), in prompt order.

        `generate` calls this once, before prefill, and passes only what is named here. ``num_views`` may be left out
        for a single view or without a geometry tower.

        Raises:
            ValueError: when ``num_views`` is missing, or does not add up to the number of pictures.
        """
        visual = self.vision_tokens(pixel_values)
        geometry = None
        if self.fusion is not None:
            view_mask = packed_view_mask(num_views, pixel_values)
            padded = pixel_values.new_zeros(*view_mask.shape, *pixel_values.shape[1:])
            padded[view_mask] = pixel_values
            geometry = self.geometry_tokens(padded, view_mask)[view_mask]
        tokens = self.language_tokens(visual, geometry)
        return ViewFeatures(last_hidden_state=visual, pooler_output=list(tokens.unbind(0)))

    def encode_views(
        self, pixel_values: Float[Tensor, "total_views 3 height width"], num_views: Int[Tensor, "samples"] | None = None
    ) -> dict[str, ViewFeatures]:
        """The features of some views, to ask many questions about them: pass it on as ``mm_encoder_outputs``.

        Both `forward` and `generate` take it in place of ``pixel_values`` and ``num_views`` and leave it unchanged.
        """
        return {"image": self.get_image_features(pixel_values, num_views, return_dict=True)}


def is_frozen(module: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in module.parameters())


def packed_view_mask(
    num_views: Int[Tensor, "samples"] | None, pixel_values: Float[Tensor, "total_views 3 height width"]
) -> Bool[Tensor, "samples views"]:
    """True on the real views of the padded layout; raises ValueError when the counts do not fit the pictures."""
    total = pixel_values.shape[0]
    if num_views is None:
        if total > 1:
            raise ValueError(f"num_views is missing, expected the number of views of each sample for {total} pictures")
        num_views = torch.ones(1, dtype=torch.long)
    num_views = num_views.to(pixel_values.device)
    if int(num_views.sum()) != total:
        raise ValueError(f"num_views is {num_views.tolist()}, expected a sum of {total} (pictures given)")
    return torch.arange(int(num_views.max()), device=pixel_values.device)[None] < num_views[:, None]
