"""The view encoder (towers, fusion, projector) as a graph for `torch.export`, in the padded layout."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from spatialvlm.models import SpatialMosaicForConditionalGeneration, SpatialMosaicModel

MIN_PADDED_VIEWS, MAX_PADDED_VIEWS = 3, 32  # strides of one pair of views are special to the exporter


class ViewEncoder(nn.Module):
    """From padded views to visual tokens for the language model: the part of the model that runs once per scene."""

    def __init__(self, model: SpatialMosaicForConditionalGeneration | SpatialMosaicModel) -> None:
        super().__init__()
        self.body = model.model if isinstance(model, SpatialMosaicForConditionalGeneration) else model

    def forward(
        self,
        pixel_values: Float[Tensor, "samples views 3 height width"],
        view_mask: Bool[Tensor, "samples views"],
    ) -> Float[Tensor, "samples views tokens text_size"]:
        """Visual tokens of every view, zero on padded ones; equal to the packed `encode_views` on real ones."""
        return self.body.encode_padded_views(pixel_values, view_mask)


def export_view_encoder(
    model: SpatialMosaicForConditionalGeneration | SpatialMosaicModel, fixed_views: int = 5
) -> ExportedProgram:
    """The view encoder as an exported graph for any number of samples, each padded to 3 to 32 views.

    Fewer views are padded, e.g. a single one with ``view_mask`` [[True, False, False]]: padding changes nothing. A
    geometry tower that walks through the views, as Spann3R does, fixes their number: all samples are padded to
    ``fixed_views`` then.
    """
    encoder = ViewEncoder(model).eval()
    config = encoder.body.config
    rows, columns = config.visual_grid
    patch = config.vision_config.patch_size
    parameter = next(encoder.parameters())
    tower = encoder.body.geometry_tower
    any_views = tower is None or getattr(tower, "any_views_in_export", True)
    count = MIN_PADDED_VIEWS if any_views else fixed_views
    pixel_values = torch.zeros(2, count, 3, rows * patch, columns * patch, device=parameter.device)
    view_mask = torch.ones(2, count, dtype=torch.bool, device=parameter.device)
    view_mask[1, -1] = False
    axes = {0: Dim("samples", min=1, max=1024)}
    if any_views:
        axes[1] = Dim("views", min=MIN_PADDED_VIEWS, max=MAX_PADDED_VIEWS)
    dynamic = {"pixel_values": axes, "view_mask": axes}
    with torch.no_grad():
        return torch.export.export(
            encoder,
            (pixel_values, view_mask),
            dynamic_shapes=dynamic,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,  # for guards that always hold, which it cannot prove
        )
