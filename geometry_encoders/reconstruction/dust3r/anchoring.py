"""Which pairs anchor every view of every sample to its first view, as row numbers of flattened batches.

Row numbers instead of slices of a (samples, views) layout: axes that may have length one would make programs that
`torch.export` writes depend on the number of views.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class AnchoredPairs:
    """Pairs (first view, view k) of a (samples, views) batch, flattened sample by sample.

    A sample's only view is paired with itself, and so is the first view where view k is padding: a lone view then
    gives the same result whatever the padding.

    Attributes:
        first: row of the first view of every pair.
        other: row of the other view of every pair.
        own: the pair that the first view's own result comes from, one per sample.
    """

    first: Int[Tensor, " pairs"]
    other: Int[Tensor, " pairs"]
    own: Int[Tensor, " samples"]

    def __init__(
        self, samples: int, views: int, mask: Bool[Tensor, "samples views"] | None, device: torch.device
    ) -> None:
        self.samples, self.views = samples, views
        per_sample = max(views - 1, 1)
        pair = torch.arange(samples * per_sample, device=device)
        sample = pair.div(per_sample, rounding_mode="floor")
        view = pair - sample * per_sample + (views - per_sample)
        self.first = sample * views
        self.other = self.first + view
        if mask is not None:
            self.other = torch.where(mask.flatten().index_select(0, self.other), self.other, self.first)
        sample_numbers = torch.arange(samples, device=device)
        self.own = sample_numbers * per_sample
        self._per_sample = per_sample

    def join(self, own: Float[Tensor, "samples ..."], others: Float[Tensor, "pairs ..."]) -> Float[Tensor, "..."]:
        """(samples, views, ...) from the first views' results and those of the other views."""
        row = torch.arange(self.samples * self.views, device=own.device)
        sample = row.div(self.views, rounding_mode="floor")
        view = row - sample * self.views
        other = self.samples + sample * self._per_sample + view - 1
        rows = torch.where(view == 0, sample, other)
        return torch.cat([own, others]).index_select(0, rows).unflatten(0, (self.samples, self.views))
