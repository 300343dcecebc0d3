"""Symmetrised batches: every pair is followed by itself swapped, so half of the encoder's work can be saved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor


def is_symmetrized(instances1: Sequence[str] | None, instances2: Sequence[str] | None) -> bool:
    """Whether samples 2k and 2k+1 are the same two views swapped, for all k; False for a batch of one."""
    if instances1 is None or instances2 is None or len(instances1) != len(instances2) or len(instances1) < 2:
        return False
    if len(instances1) % 2:
        return False
    return all(
        instances1[k] == instances2[k + 1] and instances1[k + 1] == instances2[k] for k in range(0, len(instances1), 2)
    )


def interleave(
    first: Shaped[Tensor, "half ..."], second: Shaped[Tensor, "half ..."]
) -> tuple[Shaped[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]]:
    """Both views of the whole batch from those of its even samples: the odd ones have the views swapped."""
    return torch.stack([first, second], 1).flatten(0, 1), torch.stack([second, first], 1).flatten(0, 1)
