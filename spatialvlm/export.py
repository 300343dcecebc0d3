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


def export_view_encoder(model: SpatialMosaicForConditionalGeneration | SpatialMosaicModel) -> ExportedProgram:
    """The view encoder as an exported graph for any number of samples, each padded to 3 to 32 views.

    Fewer views are padded, e.g. a single one with ``view_mask`` [[True, False, False]]: padding changes nothing.
    """
    encoder = ViewEncoder(model).eval()
    config = encoder.body.config
    rows, columns = config.visual_grid
    patch = config.vision_config.patch_size
    parameter = next(encoder.parameters())
    shape = (2, 3, 3, rows * patch, columns * patch)
    pixel_values = torch.zeros(shape, device=parameter.device)
    view_mask = torch.tensor([[True, True, True], [True, True, False]], device=parameter.device)
    samples, views = Dim("samples", min=1, max=1024), Dim("views", min=MIN_PADDED_VIEWS, max=MAX_PADDED_VIEWS)
    dynamic = {"pixel_values": {0: samples, 1: views}, "view_mask": {0: samples, 1: views}}
    with torch.no_grad():
        return torch.export.export(
            encoder,
            (pixel_values, view_mask),
            dynamic_shapes=dynamic,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,  # for guards that always hold, which it cannot prove
        )
