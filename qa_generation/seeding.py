"""Random generators that depend on a seed and on stable names only, never on process, time or order."""

from __future__ import annotations

import hashlib

import numpy as np


def stable_int(seed: int, *names: str) -> int:
    """A 128-bit integer, the same on every machine for the same seed and names."""
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def generator(seed: int, *names: str) -> np.random.Generator:
    """A numpy generator for one purpose, e.g. ``generator(seed, scene_id, "view sets")``."""
    return np.random.default_rng(stable_int(seed, *names))
