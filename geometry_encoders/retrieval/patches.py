"""Volumes cut into cubes and put together again, in the order in which RetrievalFuse (ICCV 2021) numbers them.

Axes are (z, y, x); the first axis varies slowest, so cube ``n`` of a volume of ``r`` cubes per axis lies at
``(n // r**2, n // r % r, n % r)``. Cubes of several volumes follow each other volume by volume.
"""

from __future__ import annotations

from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

Volumes = Shaped[Tensor, "batch channels side side side"]
Cubes = Shaped[Tensor, "cubes channels extent extent extent"]


def unfold(volumes: Volumes, extent: int) -> Cubes:
    """All cubes of ``extent`` voxels per axis, ``batch * (side / extent)**3`` of them, without overlap.

    Raises:
        ValueError: the volume is not a cube or its side is no multiple of ``extent``.
    """
    batch, channels, *sides = volumes.shape
    if len(set(sides)) != 1 or sides[0] % extent:
        raise ValueError(f"volumes of {tuple(sides)} voxels cannot be cut into cubes of {extent}")
    per_axis = sides[0] // extent
    parts = volumes.reshape(batch, channels, per_axis, extent, per_axis, extent, per_axis, extent)
    return parts.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, channels, extent, extent, extent)


def fold(cubes: Cubes, per_axis: int) -> Volumes:
    """The volumes whose `unfold` gives ``cubes``; ``per_axis`` cubes lie along each axis.

    Raises:
        ValueError: the number of cubes is no multiple of ``per_axis**3``.
    """
    count, channels, extent = cubes.shape[:3]
    if count % per_axis**3:
        raise ValueError(f"{count} cubes do not fill volumes of {per_axis}^3 cubes")
    side = per_axis * extent
    parts = cubes.reshape(-1, per_axis, per_axis, per_axis, channels, extent, extent, extent)
    return parts.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(-1, channels, side, side, side)


def unfold_overlapping(volumes: Volumes, extent: int, stride: int, pad: int = 0, value: float = 0) -> Cubes:
    """Cubes of ``extent`` voxels every ``stride`` voxels of the volume padded by ``pad`` voxels of ``value``.

    The order is that of `unfold`; voxels after the last whole cube are left out.
    """
    padded = F.pad(volumes, (pad,) * 6, value=value)
    windows = padded
    for axis in (2, 3, 4):
        windows = windows.unfold(axis, extent, stride)
    return windows.permute(0, 2, 3, 4, 1, 5, 6, 7).reshape(-1, volumes.shape[1], extent, extent, extent)


def interleave_candidates(
    volumes: Shaped[Tensor, "batch_times_k channels side side side"], candidates: int, extent: int
) -> Shaped[Tensor, "cubes k channels extent extent extent"]:
    """For every cube of the ``batch`` volumes its ``candidates`` versions, next to each other.

    Args:
        volumes: the candidates of the first volume, then those of the second, and so on.
        candidates: k, how many versions there are of every volume.
        extent: voxels per axis of a cube.
    """
    batch = volumes.shape[0] // candidates
    cubes = unfold(volumes, extent)
    per_volume = cubes.shape[0] // volumes.shape[0]
    grouped = cubes.reshape(batch, candidates, per_volume, *cubes.shape[1:])
    return grouped.transpose(1, 2).reshape(batch * per_volume, candidates, *cubes.shape[1:])
