"""Chunks of a window with their context, in the order of the published data (section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.encoders import ChunkEncoderConfig, chunk_and_context
from geometry_encoders.retrieval.scale import CHUNK, WINDOW, GridScale

Extent = tuple[int, int, int, int, int, int]
CONTENT_VOXELS = 1.5  # a chunk has content where a distance is at most that many voxels


def chunk_starts(length: int, size: int, stride: int) -> list[int]:
    """First voxels of the chunks along one axis; evenly spread where ``stride`` does not divide the rest."""
    count = (length - size) // stride + 1
    return torch.linspace(0, length - size, count, dtype=torch.float64).long().tolist() if count > 1 else [0]


def chunk_extents(shape: tuple[int, int, int], size: int, context: int, stride: int) -> list[Extent]:
    """(z0, z1, y0, y1, x0, x1) of every chunk with its context, in padded voxels; z slowest, x fastest."""
    starts = [chunk_starts(length, size, stride) for length in shape]
    ends = size + 2 * context
    return [(z, z + ends, y, y + ends, x, x + ends) for z, y, x in product(*starts)]


@dataclass(frozen=True)
class ChunkLayout:
    """How a window falls into matching input and target chunks.

    Attributes:
        input_size, input_context: side and context of input chunks, in input voxels (or cells).
        target_size, target_context: the same for targets, in target voxels.
        stride: from chunk to chunk, in target voxels.
    """

    input_size: int
    input_context: int
    target_size: int = CHUNK
    target_context: int = 8
    stride: int = CHUNK

    @classmethod
    def of(cls, config: ChunkEncoderConfig) -> ChunkLayout:
        """The layout that the two networks of a configuration are made for.

        Raises:
            InputError: the two do not show the same place on the grids of the configuration.
        """
        (size, context), (target, target_context) = map(
            chunk_and_context, (config.network_input, config.network_target)
        )
        scale = config.grid_scale
        if config.scale is not None and size * WINDOW != target * scale.input_side:
            raise InputError(
                f"networks {config.network_input!r} and {config.network_target!r} see {size} input and {target} target"
                f" voxels, expected {target * scale.input_side / WINDOW:g} input voxels for that target"
            )
        return cls(size, context, target, target_context, stride=target)

    @property
    def input_stride(self) -> int:
        """From chunk to chunk in input voxels."""
        return int(self.stride * self.input_size / self.target_size)

    @property
    def per_axis(self) -> int:
        """Chunks along each side of a window."""
        return len(chunk_starts(WINDOW, self.target_size, self.stride))

    @property
    def count(self) -> int:
        """Chunks of a window."""
        return self.per_axis**3

    def extents(self) -> Int64[Tensor, "chunks 6"]:
        """Unpadded target voxels (z0, z1, y0, y1, x0, x1) of every chunk of a window."""
        return torch.tensor(chunk_extents((WINDOW,) * 3, self.target_size, 0, self.stride))

    def input_chunks(
        self, volume: Float[Tensor, "windows side side side"], scale: GridScale
    ) -> Float[Tensor, "chunks 1 side side side"]:
        """Normalised input chunks of windows, chunk by chunk and window by window; outside is far from any surface."""
        fill = 0.0 if scale.input_kind == "points" else scale.input_truncation
        chunks = cut(volume, self.input_size, self.input_context, self.input_stride, fill)
        return scale.normalise_input(chunks)[:, None]

    def target_chunks(
        self, volume: Float[Tensor, "windows 64 64 64"], scale: GridScale
    ) -> Float[Tensor, "chunks 1 side side side"]:
        """Normalised target chunks with context, in the order of `input_chunks`."""
        chunks = cut(volume, self.target_size, self.target_context, self.stride, scale.truncation)
        return scale.normalise_target(chunks)[:, None]

    def content(self, volume: Float[Tensor, "windows 64 64 64"], scale: GridScale) -> Int64[Tensor, "windows chunks"]:
        """Voxels near a surface in every chunk, its context included; 0 = the chunk is left out of training."""
        near = (volume <= CONTENT_VOXELS * scale.voxel).float()
        near = functional.pad(near, (self.target_context,) * 6)
        side = self.target_size + 2 * self.target_context
        mean = functional.avg_pool3d(near[:, None], side, self.stride)
        return (mean.flatten(1) * side**3).round().long()

    def crop(self, chunks: Float[Tensor, "chunks side side side"]) -> Float[Tensor, "chunks size size size"]:
        """Target chunks without their context."""
        c, end = self.target_context, self.target_context + self.target_size
        return chunks[:, c:end, c:end, c:end]


def cut(
    volume: Float[Tensor, "windows s s s"], size: int, context: int, stride: int, fill: float
) -> Float[Tensor, "chunks side side side"]:
    """Overlapping chunks of volumes that are padded by ``context`` with ``fill``; window slowest, then z, y, x."""
    padded = functional.pad(volume, (context,) * 6, value=fill)
    side = size + 2 * context
    folded = padded.unfold(1, side, stride).unfold(2, side, stride).unfold(3, side, stride)
    return folded.reshape(-1, side, side, side)
