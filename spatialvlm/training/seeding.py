"""Torch generators seeded like the numpy generators of `qa_generation.seeding`: by a seed and stable names only."""

from __future__ import annotations

import numpy as np
import torch

from qa_generation.seeding import generator, stable_int


def numpy_generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A numpy generator seeded by (seed, parts)."""
    return generator(seed, *map(str, parts))


def torch_generator(seed: int, *parts: str | int) -> torch.Generator:
    """A torch generator on the CPU seeded by (seed, parts)."""
    return torch.Generator().manual_seed(stable_int(seed, *map(str, parts)) % 2**63)
