"""Matching input and target chunks of many windows, drawn in an order that depends on seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.window_store import Windows
from spatialvlm.training.seeding import torch_generator


class ChunkPairs:
    """All chunks with content of a dataset of windows.

    Args:
        windows: unnormalised windows; for a scale with points the input is drawn anew in every epoch.
        layout: sizes of the chunks.
        preload: keep targets in memory as float16 (0.5 MB per window), else read them again for every batch.

    Attributes:
        places: (window, chunk) of every chunk with content.
    """

    def __init__(self, windows: Windows, layout: ChunkLayout, preload: bool = True) -> None:
        self.windows, self.layout, self.scale = windows, layout, windows.scale
        self._targets: list[Float[Tensor, "64 64 64"]] = []
        self._inputs: list[Float[Tensor, "side side side"]] = []
        self._preload = preload
        places: list[Int64[Tensor, "chunks 2"]] = []
        for index in tqdm(range(len(windows)), unit="window", desc="chunks", disable=None, leave=False):
            item = windows[index]
            content = layout.content(item["target"][None], self.scale)[0]
            kept = torch.nonzero(content > 0)
            places.append(torch.cat([torch.full_like(kept, index), kept], dim=1))
            if preload:
                self._targets.append(item["target"].half())
                if self.scale.input_kind == "distance":
                    self._inputs.append(item["input"])
        self.places = torch.cat(places) if places else torch.zeros((0, 2), dtype=torch.int64)
        if not len(self.places):
            raise InputError(f"{windows.source}: no chunk of {len(windows)} windows has any surface")

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, chosen: Sequence[int] | Int64[Tensor, " batch"]) -> dict[str, Tensor]:
        """``input`` and ``target``: normalised chunks (batch, 1, side, side, side) of those places."""
        pairs = [self._pair(*self.places[int(place)].tolist()) for place in chosen]
        inputs, targets = (torch.stack(chunks)[:, None] for chunks in zip(*pairs, strict=True))
        return {"input": self.scale.normalise_input(inputs), "target": self.scale.normalise_target(targets)}

    def _pair(self, window: int, chunk: int) -> tuple[Tensor, Tensor]:
        item = {} if self._preload and self._inputs else self.windows[window]
        target = self._targets[window] if self._preload else item["target"]
        inputs = self._inputs[window] if self._inputs else item["input"]
        layout, scale, n = self.layout, self.scale, self.layout.per_axis
        place = (chunk // n**2, chunk // n % n, chunk % n)
        fill = 0.0 if scale.input_kind == "points" else scale.input_truncation
        return (
            _padded_crop(inputs, place, layout.input_size, layout.input_context, layout.input_stride, fill),
            _padded_crop(target, place, layout.target_size, layout.target_context, layout.stride, scale.truncation),
        )


def _padded_crop(
    volume: Float[Tensor, "s s s"], place: tuple[int, ...], size: int, context: int, stride: int, fill: float
) -> Float[Tensor, "side side side"]:
    """One chunk with its context; ``fill`` outside of the volume."""
    starts = [index * stride - context for index in place]
    ends = [start + size + 2 * context for start in starts]
    inside = tuple(slice(max(0, a), min(n, b)) for a, b, n in zip(starts, ends, volume.shape, strict=True))
    missing = [(max(0, -a), max(0, b - n)) for a, b, n in zip(starts, ends, volume.shape, strict=True)]
    return functional.pad(volume[inside].float(), [side for pair in reversed(missing) for side in pair], value=fill)


def shuffled_batches(
    count: int, batch_size: int, first: int, last: int, seed: int
) -> Iterator[Int64[Tensor, " batch"]]:
    """Numbers for the steps ``first`` to ``last``: every epoch its own order, the rest of an epoch left out.

    Raises:
        InputError: fewer than ``batch_size`` numbers.
    """
    per_epoch = count // batch_size
    if not per_epoch:
        raise InputError(f"{count} chunks with content, expected at least batch_size = {batch_size}")
    epoch, order = -1, torch.empty(0, dtype=torch.int64)
    for step in range(first, last):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = torch.randperm(count, generator=torch_generator(seed, "chunks", epoch))
        start = step % per_epoch * batch_size
        yield order[start : start + batch_size]
