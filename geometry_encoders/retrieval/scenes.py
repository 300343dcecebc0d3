"""Scenes of any size as windows: cut for the network, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.points import occupancy_grid
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.scale import WINDOW, GridScale

Start = tuple[int, int, int]
Retriever = Callable[[Float[Tensor, "batch side side side"]], Float[Tensor, "batch k 64 64 64"]]


class SceneInput(Protocol):
    """What is known of a whole scene; starts and shapes are (z, y, x) in target voxels."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def window(self, start: Start) -> Float[Tensor, "side side side"]:
        """The network's input for the window that begins there, in the unit of the scale."""
        ...


@dataclass(frozen=True, eq=False)
class CoarseScene:
    """A low-resolution distance field.

    Attributes:
        distances: at every ``scale.upsampling``-th target node; what lies beyond counts as far from everything.
        scale: of the network.
    """

    distances: Float[Tensor, "depth height width"]
    scale: GridScale

    def __post_init__(self) -> None:
        if self.scale.input_kind != "distance":
            raise InputError("scene: a low-resolution distance field, expected points for a network of points")
        if self.distances.ndim != 3 or 0 in self.distances.shape:
            raise InputError(
                f"scene: distances of shape {tuple(self.distances.shape)}, expected (depth, height, width)"
            )
        if not bool(torch.isfinite(self.distances).all()):
            raise InputError("scene: distances that are not numbers, expected finite ones")

    @property
    def shape(self) -> tuple[int, int, int]:
        depth, height, width = (side * self.scale.upsampling for side in self.distances.shape)
        return depth, height, width

    def window(self, start: Start) -> Float[Tensor, "side side side"]:
        step, side, far = self.scale.upsampling, self.scale.input_side, self.scale.input_truncation
        z, y, x = (first // step for first in start)
        part = self.distances[z : z + side, y : y + side, x : x + side].clamp(max=far)
        missing = [extent for size in reversed(part.shape) for extent in (0, side - size)]
        return F.pad(part, missing, value=far)


@dataclass(frozen=True, eq=False)
class PointScene:
    """Sparse points of a surface.

    Attributes:
        points: (z, y, x) in target voxels from the first node of the scene.
        shape: target voxels of the scene.
        scale: of the network.
    """

    points: Float[Tensor, "points 3"]
    shape: tuple[int, int, int]
    scale: GridScale

    def __post_init__(self) -> None:
        if self.scale.input_kind != "points":
            raise InputError("scene: points, expected a low-resolution distance field for this network")
        if self.points.ndim != 2 or self.points.shape[-1] != 3 or not bool(torch.isfinite(self.points).all()):
            raise InputError(
                f"scene: points of shape {tuple(self.points.shape)}, expected finite ones of shape (count, 3)"
            )

    def window(self, start: Start) -> Float[Tensor, "side side side"]:
        shifted = self.points - torch.tensor(start, dtype=self.points.dtype)
        return occupancy_grid(shifted[((shifted >= 0) & (shifted < WINDOW)).all(dim=1)])


def window_starts(shape: tuple[int, int, int], stride: int, step: int) -> list[Start]:
    """Where windows begin so that they cover a scene, in (z, y, x) order.

    Windows lie every ``stride`` voxels from the first on; the last of an axis is the first to reach its end, and may
    reach over it. ``step`` is what every start must be a multiple of, for inputs are low-resolution copies.

    Raises:
        InputError: a stride that leaves gaps or that ``step`` does not divide.
    """
    if not 0 < stride <= WINDOW or stride % step:
        raise InputError(f"stride is {stride}, expected a multiple of {step} from {step} to {WINDOW}")
    axes = [range(0, max(side - WINDOW, 0) + stride, stride) for side in shape]
    covering = [
        [s for s in axis if s == 0 or s - stride + WINDOW < side] for axis, side in zip(axes, shape, strict=True)
    ]
    return list(product(*covering))  # type: ignore[arg-type]


def blending_weights(stride: int) -> Float[Tensor, "64 64 64"]:
    """How much a voxel of a window counts where windows overlap: one without overlap, else falling to its borders."""
    if stride == WINDOW:
        return torch.ones(WINDOW, WINDOW, WINDOW)
    ramp = (torch.arange(WINDOW) + 0.5).clamp(max=WINDOW - stride)
    ramp = torch.minimum(ramp, ramp.flip(0))
    return torch.einsum("z,y,x->zyx", ramp, ramp, ramp)


@torch.no_grad()
def refine_scene(
    model: RetrievalFuseModel,
    scene: SceneInput,
    retrieve: Retriever | None = None,
    stride: int = WINDOW,
    batch_size: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "depth height width"]:
    """The distance field of a whole scene, in the unit of the scale.

    Windows do not know each other. The published program lays them side by side; with a ``stride`` below 64 they
    overlap and are blended, which hides seams at the price of more windows.

    Args:
        scene: what is known of the scene.
        retrieve: composed candidates (batch, k, 64, 64, 64) for inputs in the unit of the scale; none for a U-Net.
        stride: voxels between windows.
        batch_size: windows at once.
        generator: of the random picks of Gumbel attention.

    Raises:
        InputError: a stride that does not fit, or inputs that the network cannot take.
    """
    scale = model.scale
    step = scale.upsampling if scale.input_kind == "distance" else 1
    starts = window_starts(scene.shape, stride, step)
    weights = blending_weights(stride)
    padded = [max(start[axis] for start in starts) + WINDOW for axis in range(3)]
    total, weight = torch.zeros(padded), torch.zeros(padded)
    progress = tqdm(total=len(starts), unit="window", desc="refining", disable=None, leave=False)
    for batch in _batches(starts, batch_size):
        inputs = torch.stack([scene.window(start) for start in batch])
        retrieved = None if retrieve is None else scale.normalise_target(retrieve(inputs)).to(model.device)
        output = model(scale.normalise_input(inputs)[:, None].to(model.device), retrieved, generator)
        for start, distance in zip(batch, output.distance.cpu(), strict=True):
            inside = tuple(slice(first, first + WINDOW) for first in start)
            total[inside] += weights * distance
            weight[inside] += weights
        progress.update(len(batch))
    progress.close()
    depth, height, width = scene.shape
    return (total / weight)[:depth, :height, :width]


def _batches(starts: list[Start], size: int) -> Iterator[list[Start]]:
    for first in range(0, len(starts), size):
        yield starts[first : first + size]
