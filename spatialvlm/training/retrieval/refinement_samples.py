"""Windows with what was retrieved for them, normalised as the refinement network sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from geometry_encoders.retrieval.window_store import WindowDataset
from spatialvlm.training.seeding import torch_generator


class RefinementSample(TypedDict):
    """One window; a batch has the same keys with a leading axis and no name.

    Attributes:
        inputs: low-resolution distances or occupancy, normalised.
        target: true distances, normalised.
        retrieved: the k nearest composed windows, normalised; none where k is zero.
    """

    inputs: Float[Tensor, "1 side side side"]
    target: Float[Tensor, "64 64 64"]
    retrieved: Float[Tensor, "k 64 64 64"]


class Retrieved(Protocol):
    """Composed nearest neighbours of windows, by the name of the window, in the unit of the scale."""

    def read(self, name: str) -> Float[Tensor, "k 64 64 64"]: ...


class RefinementSamples(Dataset[RefinementSample]):
    """The windows of a dataset with their ``candidates`` best retrieved versions."""

    def __init__(self, windows: WindowDataset, retrieved: Retrieved | None, candidates: int) -> None:
        self.windows, self.retrieved, self.candidates = windows, retrieved, candidates

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> RefinementSample:
        item, scale = self.windows[index], self.windows.scale
        found = torch.zeros(0, *item["target"].shape)
        if self.retrieved is not None and self.candidates:
            found = self.retrieved.read(item["name"])[: self.candidates].float()
        return {
            "inputs": scale.normalise_input(item["input"])[None],
            "target": scale.normalise_target(item["target"]),
            "retrieved": scale.normalise_target(found),
        }


def epoch_batches(
    count: int, batch_size: int, first_step: int, steps: int, seed: int, phase: str
) -> Iterator[list[int]]:
    """Rows of the batches of steps ``first_step`` to ``steps``: every row once per epoch, the rest dropped.

    Depends on the arguments alone, so that a resumed run goes on with the batches it would have seen.
    """
    batch_size = min(batch_size, count)
    per_epoch = count // batch_size
    for step in range(first_step, steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == first_step:
            order = torch.randperm(count, generator=torch_generator(seed, phase, epoch)).tolist()
        yield order[place * batch_size : (place + 1) * batch_size]
