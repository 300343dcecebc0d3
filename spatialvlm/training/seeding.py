"""Seeds that depend on a seed and a stable name only, never on process, time or order."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def stable_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that is the same for the same ``seed`` and ``parts`` on every machine."""
    text = "\x1f".join([str(seed), *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def numpy_generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A numpy generator seeded by (seed, parts)."""
    return np.random.default_rng(stable_seed(seed, *parts))


def torch_generator(seed: int, *parts: str | int) -> torch.Generator:
    """A torch generator on the CPU seeded by (seed, parts)."""
    return torch.Generator().manual_seed(stable_seed(seed, *parts))
