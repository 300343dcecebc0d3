"""The alignment loss and its gradient, view by view and in chunks, so that memory does not grow with the pairs.

For every pair e = (i, j) and both of its sides v the loss has the mean over pixels of weight * |X_v - T_e(p_ev)|, with
X_v the world points of view v, p_ev the prediction and T_e the pair's similarity (DUSt3R, arXiv:2312.14132, equation
5). The derivative for X_v and T_e is written out here; the chain rule from there to the parameters is autograd's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph
from geometry_encoders.reconstruction.global_alignment.parameters import (
    AlignmentParameters,
    Cameras,
    PairTransforms,
)

TINY = 1e-18  # distances below have a smaller gradient than they should, instead of a division by zero


class Chunk(NamedTuple):
    """Some of the pieces about one view, over a span of its pixels."""

    edges: Tensor
    span: slice
    points: Float[Tensor, "pieces 3 pixels"]
    weights: Float[Tensor, "pieces pixels"]


class Objective:
    """The loss of a graph as a function of `AlignmentParameters`."""

    def __init__(self, graph: PairGraph, config: AlignmentConfig) -> None:
        self.graph, self.config = graph, config
        areas = [height * width for height, width in graph.sizes]
        self._total = [sum(areas[edge[side]] for edge in graph.edges) for side in (0, 1)]
        self._pixels = {size: pixel_grid(*size).to(graph.device) for size in set(graph.sizes)}

    def loss_and_gradient(self, parameters: AlignmentParameters) -> float:
        """The loss; its gradient is left in ``.grad`` of the parameters."""
        for parameter in parameters.parameters():
            parameter.grad = None
        cameras, transforms = parameters.cameras(), parameters.pair_transforms()
        pair_grads = PairTransforms(*(torch.zeros_like(value) for value in transforms))
        camera_grads = Cameras(*(torch.zeros_like(value) for value in cameras))
        detached = PairTransforms(*(value.detach() for value in transforms))
        loss = 0.0
        for view in range(len(self.graph)):
            camera = [value[view].detach().requires_grad_() for value in cameras]
            points = self.world_points(view, parameters.im_depthmaps[view], *camera)
            value, grad = self._view(view, points.detach(), detached, pair_grads)
            loss += value
            points.backward(grad)
            for total, own in zip(camera_grads, camera, strict=True):
                assert own.grad is not None
                total[view] = own.grad
        torch.autograd.backward([*cameras, *transforms], [*camera_grads, *pair_grads])
        return loss

    @torch.no_grad()
    def loss(self, parameters: AlignmentParameters) -> float:
        """The loss alone."""
        cameras, transforms = parameters.cameras(), parameters.pair_transforms()
        total = 0.0
        for view in range(len(self.graph)):
            points = self.world_points(view, parameters.im_depthmaps[view], *(value[view] for value in cameras))
            total += self._view(view, points, transforms, None)[0]
        return total

    def world_points(
        self,
        view: int,
        log_depth: Float[Tensor, " pixels"],
        rotation: Float[Tensor, "3 3"],
        centre: Float[Tensor, "3"],
        focal: Float[Tensor, "2"],
        principal_point: Float[Tensor, "2"],
    ) -> Float[Tensor, "3 pixels"]:
        """World points of all pixels of a view."""
        depth = log_depth.exp()
        across = (self._pixels[self.graph.sizes[view]] - principal_point[:, None]) / focal[:, None] * depth
        return rotation @ torch.cat([across, depth[None]]) + centre[:, None]

    def _view(
        self,
        view: int,
        points: Float[Tensor, "3 pixels"],
        transforms: PairTransforms,
        pair_grads: PairTransforms | None,
    ) -> tuple[float, Float[Tensor, "3 pixels"]]:
        """The part of the loss about one view and its gradient for the view's points; adds to ``pair_grads``."""
        grad = torch.zeros_like(points)
        total = torch.zeros((), dtype=torch.float64, device=points.device)
        for chunk in self._chunks(view):
            matrices, offsets = transforms.matrices[chunk.edges], transforms.offsets[chunk.edges]
            target = points[:, chunk.span] - offsets[:, :, None]
            residual = torch.baddbmm(target, matrices, chunk.points, alpha=-1)
            square = (residual * residual).sum(dim=1)
            if self.config.distance == "l1":
                distance = square.sqrt_()
                total += (chunk.weights * distance).sum(dtype=torch.float64)
                slope = chunk.weights / distance.clamp_(min=TINY)
            else:
                total += (chunk.weights * square).sum(dtype=torch.float64)
                slope = 2 * chunk.weights
            if pair_grads is None:
                continue
            residual *= slope[:, None]
            grad[:, chunk.span] += residual[0] if len(residual) == 1 else residual.sum(dim=0)
            pair_grads.matrices.index_add_(0, chunk.edges, residual @ chunk.points.mT, alpha=-1)
            pair_grads.offsets.index_add_(0, chunk.edges, residual.sum(dim=2), alpha=-1)
        return total.item(), grad

    def _chunks(self, view: int) -> Iterator[Chunk]:
        pieces = self.graph.pieces[view]
        height, width = self.graph.sizes[view]
        pixels, limit, device = height * width, self.config.chunk_points, self.graph.device
        step = max(1, limit // pixels)
        for first in range(0, len(pieces), step):
            part = pieces[first : first + step]
            planes = self.graph.storage.read(view, first, first + len(part)).to(device)
            edges = torch.tensor([edge for edge, _ in part], device=device)
            share = torch.tensor([1 / self._total[side] for _, side in part], device=device)
            for start in range(0, pixels, limit):
                span = slice(start, min(start + limit, pixels))
                weights = pixel_weights(planes[:, 3, span], self.config.weighting) * share[:, None]
                yield Chunk(edges, span, planes[:, :3, span], weights)


def pixel_weights(confidence: Float[Tensor, "..."], weighting: str) -> Float[Tensor, "..."]:
    """Weights of pixels, at least 0.

    Networks whose confidence starts at 1 never meet the lower limit; others get 0 where the logarithm is negative.
    """
    if weighting == "log":
        return confidence.clamp(min=1).log()
    if weighting == "sqrt":
        return confidence.sqrt()
    if weighting == "minus_one":
        return (confidence - 1).clamp(min=0)
    return confidence


def pixel_grid(height: int, width: int) -> Float[Tensor, "2 pixels"]:
    """(x, y) of every pixel, row by row."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()]).float()
