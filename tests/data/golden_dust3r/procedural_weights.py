"""Deterministic 'procedural' weights: rebuilt from parameter names, so that big
models can be compared without storing their weights.  Pure numpy, no RNG library
involved (64-bit FNV-1a hash of the name, then the splitmix64 mixing function)."""

import numpy as np

_M = (1 << 64) - 1


def fnv1a64(text: str) -> int:
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        h = ((h ^ byte) * 0x100000001B3) & _M
    return h


def unit_noise(name: str, count: int, seed: int) -> np.ndarray:
    """`count` float32 values in [-1, 1), a function of (name, seed) only."""
    start = (fnv1a64(name) + seed * 0x632BE59BD9B4E019) & _M
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)  # exact in float32
    return u * np.float32(2) - np.float32(1)


def canonical(name: str) -> str:
    """The four `scratch.layer_rn.N` tensors of a DPT head are the same tensors as
    `scratch.layer{N+1}_rn`; name both alike."""
    for n in range(4):
        name = name.replace(f"scratch.layer_rn.{n}.", f"scratch.layer{n + 1}_rn.")
    return name


def make_param(name: str, shape, seed: int, gain: dict | None = None) -> np.ndarray:
    """gain: {suffix: factor} applied after the rule below, first matching suffix only."""
    name = canonical(name)
    shape = tuple(int(s) for s in shape)
    v = unit_noise(name, int(np.prod(shape)), seed).reshape(shape)
    if len(shape) == 1:
        out = 1 + np.float32(0.1) * v if name.endswith(".weight") else np.float32(0.05) * v
    elif name.endswith("mask_token"):
        out = np.float32(0.02) * v
    else:
        rest = int(np.prod(shape[2:])) if len(shape) > 2 else 1
        bound = np.float32(np.sqrt(6.0 / (shape[1] * rest + shape[0] * rest)))
        out = bound * v
    for suffix, factor in (gain or {}).items():
        if name.endswith(suffix):
            out = out * np.float32(factor)
            break
    return out.astype(np.float32)
