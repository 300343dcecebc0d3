"""Sequences of different lengths in one padded batch: each sample's last view comes from its own last step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Tokens = Float[Tensor, "batch tokens channels"]


class LastSteps:
    """Sorts out, step by step, which sample ends where.

    A sample's only view is paired with itself, and so is the reference where the target is padding.

    Attributes:
        steps: pairs that the longest sample needs.
        right_layers: what the second head reads, of every sample's last step so far.
    """

    def __init__(self, batch: int, views: int, mask: Bool[Tensor, "batch views"] | None, device: torch.device) -> None:
        self.views, self.steps, self.mask = views, max(views - 1, 1), mask
        self.right_layers: list[Tokens] = []
        counts = torch.full((batch,), views, device=device) if mask is None else mask.sum(dim=1)
        self._last_view = torch.where(counts > 1, counts - 1, -1)  # a lone view is the reference of its only step

    def target(self, k: int, tokens: Float[Tensor, "batch views tokens channels"]) -> Tokens:
        """The target of step k."""
        if self.views == 1:
            return tokens[:, 0]
        if self.mask is None:
            return tokens[:, k + 1]
        return torch.where(self.mask[:, k + 1, None, None], tokens[:, k + 1], tokens[:, k])

    def keep_right(self, k: int, layers: Sequence[Tokens]) -> None:
        """Remembers the target's layers of step k for the samples that it is the last step of."""
        if self.mask is None or not self.right_layers:
            self.right_layers = list(layers)
            return
        is_last = (self._last_view == k + 1)[:, None, None]
        self.right_layers = [torch.where(is_last, new, old) for new, old in zip(layers, self.right_layers, strict=True)]

    def join(
        self, left: Sequence[Float[Tensor, "batch ..."]], right: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch views ..."]:
        """(batch, views, ...) from the references of all steps and each sample's last target."""
        parts = list(left) if self.views == 1 else [*left, right]
        joined = torch.stack(parts, dim=1)
        if self.mask is None or self.views == 1:
            return joined
        is_last = self._last_view.unsqueeze(1) == torch.arange(self.views, device=joined.device)
        return torch.where(is_last.view(*is_last.shape, *[1] * (joined.ndim - 2)), right.unsqueeze(1), joined)
