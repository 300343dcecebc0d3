"""Networks as functions of tensors alone, which can be exported, and the inputs they are exported with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.export import Dim

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r import Dust3rModel
from geometry_encoders.reconstruction.spann3r import Spann3rModel

GraphKind = Literal["pair", "views", "step"]
Pointmaps = Float[Tensor, "batch views height width 3"]
Confidence = Float[Tensor, "batch views height width"]
MAX_VIEWS, MAX_SAMPLES, MAX_PATCHES = 32, 64, 64
MIN_DYNAMIC_VIEWS = 3  # strides of one pair of views are special to the exporter


class PairGraph(nn.Module):
    """DUSt3R on pairs of pictures of one size: points and confidences of both, in the frame of the first."""

    input_names = ("image1", "image2")
    output_names = ("points1", "confidence1", "points2", "confidence2")

    def __init__(self, model: Dust3rModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, image1: Float[Tensor, "batch 3 height width"], image2: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shape = (image1.shape[-2], image1.shape[-1])
        (tokens1, positions), (tokens2, _) = self.model.encode(image1), self.model.encode(image2)
        layers1, layers2 = self.model.decode(tokens1, positions, tokens2, positions)
        return *self.model.pointmap(1, layers1, shape), *self.model.pointmap(2, layers2, shape)


class ViewsGraph(nn.Module):
    """`encode_views` of any encoder: points, confidences and patch tokens of all views of every sample."""

    input_names = ("pixel_values", "view_mask")
    output_names = ("pointmaps", "confidence", "patch_tokens")

    def __init__(self, model: Dust3rModel | Spann3rModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, pixel_values: Float[Tensor, "batch views 3 height width"], view_mask: Bool[Tensor, "batch views"]
    ) -> tuple[Pointmaps, Confidence, Float[Tensor, "batch views tokens channels"]]:
        output = self.model.encode_views(pixel_values, view_mask)
        assert output.pointmaps is not None and output.confidence is not None and output.patch_tokens is not None
        return output.pointmaps, output.confidence, output.patch_tokens


class StepGraph(nn.Module):
    """One step of Spann3R: reference, target and memory in; points of both and what to remember out.

    The caller keeps the memory: it appends ``keys`` and ``values`` of every step, drops what it does not want to keep,
    and passes ``query`` and ``tokens`` of the target on as those of the next reference. For the first step the query
    is that of the reference's own tokens and the memory is empty of meaning: pass ``memory_mask`` all False.
    """

    input_names = ("reference_tokens", "query", "target", "memory_keys", "memory_values", "memory_mask")
    output_names = (
        "points1", "confidence1", "points2", "confidence2", "target_tokens", "next_query", "keys", "values",
    )  # fmt: skip

    def __init__(self, model: Spann3rModel) -> None:
        super().__init__()
        self.model = model
        self.threshold = model.config.memory_config.attention_threshold

    def forward(
        self,
        reference_tokens: Float[Tensor, "batch tokens channels"],
        query: Float[Tensor, "batch tokens channels"],
        target: Float[Tensor, "batch 3 height width"],
        memory_keys: Float[Tensor, "batch memory channels"],
        memory_values: Float[Tensor, "batch memory channels"],
        memory_mask: Bool[Tensor, "batch memory"],
    ) -> tuple[Tensor, ...]:
        model, shape = self.model, (target.shape[-2], target.shape[-1])
        tokens, positions = model.dust3r.encode(target)
        fused = self._read(reference_tokens, query, memory_keys, memory_values, memory_mask)
        layers1, layers2 = model.dust3r.decode(fused, positions, tokens, positions)
        points1, confidence1 = model.dust3r.pointmap(1, layers1, shape)
        points2, confidence2 = model.dust3r.pointmap(2, layers2, shape)
        keys = model.memory_keys(reference_tokens, layers1[-1])
        values = model.memory_values(points1) + keys
        return (
            points1, confidence1, points2, confidence2, tokens, model.memory_queries(tokens, layers2[-1]), keys, values,
        )  # fmt: skip

    def _read(self, own: Tensor, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """The memory read of the paper (arXiv:2408.16061, equation 4); the own tokens where nothing is stored."""
        model = self.model
        scores = model.norm_q(query) @ model.norm_k(keys).transpose(1, 2) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask.unsqueeze(1), torch.finfo(scores.dtype).min).softmax(dim=-1)
        clipped = torch.where(weights < self.threshold, 0.0, weights)
        total = clipped.sum(dim=-1, keepdim=True)
        weights = torch.where(total > 0, clipped / total.clamp(min=1e-12), weights)
        read = weights @ model.norm_v(values) + query
        return torch.where(mask.any(dim=1).view(-1, 1, 1), read, own)


@dataclass(frozen=True)
class GraphInputs:
    """A graph with example inputs.

    Attributes:
        dynamic_shapes: per input the axes that may differ in the exported program.
        any_size: whether pictures of other sizes are among what may differ.
    """

    graph: PairGraph | ViewsGraph | StepGraph
    arguments: tuple[Tensor, ...]
    dynamic_shapes: dict[str, Any]
    any_size: bool = True


def build_graph(model: Dust3rModel | Spann3rModel, kind: GraphKind, views: int, size: tuple[int, int]) -> GraphInputs:
    """The graph of a model with random inputs.

    Args:
        kind: ``pair`` (DUSt3R), ``views`` (the `encode_views` interface) or ``step`` (Spann3R).
        views: of each sample; Spann3R unrolls them, DUSt3R takes any number from 3 on.
        size: (width, height) of the pictures.

    Raises:
        InputError: a graph that the model does not have, or a size that is no multiple of the patch size.
    """
    width, height = size
    patch = model.patch_size
    if width % patch or height % patch or min(size) < patch:
        raise InputError(f"size {width}x{height}: expected multiples of {patch} pixels")
    if views < 1:
        raise InputError(f"views {views}: expected at least 1")
    generator = torch.Generator().manual_seed(0)
    if kind == "pair" and isinstance(model, Dust3rModel):
        return _pair_inputs(PairGraph(model), height, width, generator)
    if kind == "step" and isinstance(model, Spann3rModel):
        return _step_inputs(StepGraph(model), height, width, generator)
    if kind == "views":
        return _views_inputs(ViewsGraph(model), views, height, width, generator)
    raise InputError(f"graph {kind}: expected pair or views for DUSt3R, step or views for Spann3R")


def _picture(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=generator) * 2 - 1


def _pair_inputs(graph: PairGraph, height: int, width: int, generator: torch.Generator) -> GraphInputs:
    images = (_picture(2, 3, height, width, generator=generator), _picture(2, 3, height, width, generator=generator))
    axes = {0: Dim("batch", min=1, max=MAX_SAMPLES)} | _size_axes(2)
    return GraphInputs(graph, images, {"image1": axes, "image2": axes})


def _views_inputs(graph: ViewsGraph, views: int, height: int, width: int, generator: torch.Generator) -> GraphInputs:
    pictures = _picture(2, views, 3, height, width, generator=generator)
    mask = torch.ones(2, views, dtype=torch.bool)
    mask[1, (views + 1) // 2 :] = False  # so that a check sees padding too
    mask[1, 0] = True
    axes: dict[int, Any] = {0: Dim("batch", min=1, max=MAX_SAMPLES)}
    if isinstance(graph.model, Dust3rModel) and views >= MIN_DYNAMIC_VIEWS:
        axes[1] = Dim("views", min=MIN_DYNAMIC_VIEWS, max=MAX_VIEWS)
    return GraphInputs(graph, (pictures, mask), {"pixel_values": axes | _size_axes(3), "view_mask": dict(axes)})


def _step_inputs(graph: StepGraph, height: int, width: int, generator: torch.Generator) -> GraphInputs:
    config, patch = graph.model.config, graph.model.patch_size
    tokens, stored = height * width // patch**2, 3 * height * width // patch**2
    arrays = [torch.randn(2, count, config.enc_embed_dim, generator=generator) for count in (tokens, tokens)]
    memory = [torch.randn(2, stored, config.enc_embed_dim, generator=generator) for _ in range(2)]
    mask = torch.ones(2, stored, dtype=torch.bool)
    mask[1, tokens:] = False
    batch, slots = Dim("batch", min=1, max=MAX_SAMPLES), Dim("memory", min=2, max=2**16)
    rows = {0: batch, 1: slots}
    shapes = {"reference_tokens": {0: batch}, "query": {0: batch}, "target": {0: batch}}
    shapes |= {"memory_keys": rows, "memory_values": rows, "memory_mask": rows}
    target = _picture(2, 3, height, width, generator=generator)
    return GraphInputs(graph, (arrays[0], arrays[1], target, *memory, mask), shapes, any_size=False)


def _size_axes(first: int) -> dict[int, Any]:
    """Height and width as multiples of the patch size."""
    rows, columns = Dim("rows", min=2, max=MAX_PATCHES), Dim("columns", min=2, max=MAX_PATCHES)
    return {first: 16 * rows, first + 1: 16 * columns}
