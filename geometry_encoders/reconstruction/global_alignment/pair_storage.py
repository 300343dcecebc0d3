"""Keeps the predictions of all pairs, ordered by the view whose pixels they are about, in memory or on disk.

Every directed pair (i, j) says something about two views. The pieces about one view have the same size, so they lie
together without padding, and the optimisation can go through them view by view in chunks of any length.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.reconstruction.global_alignment.config import StorageConfig

PLANES = 4  # x, y, z, confidence
HALF_MAX = torch.finfo(torch.float16).max


class PairStorage:
    """For every view a stack of pieces; a piece is four planes (x, y, z, confidence) over the pixels of the view."""

    def __init__(
        self, pieces: Sequence[int], pixels: Sequence[int], config: StorageConfig, device: torch.device | str = "cpu"
    ) -> None:
        numbers = PLANES * sum(count * size for count, size in zip(pieces, pixels, strict=True))
        self.dtype, self.on_disk = _choose(config, numbers)
        self._pixels = tuple(pixels)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._stacks: list[Tensor] = []
        if self.on_disk:
            self._folder = tempfile.TemporaryDirectory(prefix="pairs-", dir=config.directory)
            for view in range(len(self._pixels)):
                self._file(view).touch()
        else:
            self._stacks = [
                torch.empty((count, PLANES, size), dtype=self.dtype, device=device)
                for count, size in zip(pieces, pixels, strict=True)
            ]

    def write(
        self, view: int, piece: int, points: Float[Tensor, "pixels 3"], confidence: Float[Tensor, " pixels"]
    ) -> None:
        """Stores one piece."""
        planes = torch.cat([points.T, confidence[None]])
        if self.dtype == torch.float16:
            planes = planes.clamp(-HALF_MAX, HALF_MAX)
        planes = planes.to(self.dtype)
        if not self.on_disk:
            self._stacks[view][piece] = planes
            return
        with self._file(view).open("r+b") as file:
            file.seek(piece * self._bytes(view))
            file.write(planes.cpu().contiguous().numpy().tobytes())

    def read(self, view: int, first: int, last: int) -> Float[Tensor, "pieces 4 pixels"]:
        """Pieces ``first`` to ``last`` - 1 of a view, float32."""
        if not self.on_disk:
            return self._stacks[view][first:last].float()
        kind = np.float16 if self.dtype == torch.float16 else np.float32
        count = (last - first) * PLANES * self._pixels[view]
        flat = np.fromfile(self._file(view), dtype=kind, count=count, offset=first * self._bytes(view))
        return torch.from_numpy(flat).view(last - first, PLANES, -1).float()

    def _file(self, view: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"view_{view}.bin"

    def _bytes(self, view: int) -> int:
        """Length of one piece."""
        return PLANES * self._pixels[view] * self.dtype.itemsize


def _choose(config: StorageConfig, numbers: int) -> tuple[torch.dtype, bool]:
    """Type of the numbers, and whether they go to disk."""
    limit = config.limit_gb * 1e9
    if config.precision == "auto":
        dtype = torch.float32 if 4 * numbers <= limit else torch.float16
    else:
        dtype = torch.float16 if config.precision == "float16" else torch.float32
    on_disk = dtype.itemsize * numbers > limit if config.place == "auto" else config.place == "disk"
    return dtype, on_disk
