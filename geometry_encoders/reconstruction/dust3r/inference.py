"""Runs a DUSt3R model over a list of pairs in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from geometry_encoders.reconstruction.dust3r.modeling_dust3r import Dust3rModel, true_shape_of

Batch = dict[str, Any]


@torch.no_grad()
def reconstruct_pairs(
    model: Dust3rModel,
    views: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[int, int]],
    batch_size: int = 8,
    progress: bool = False,
) -> dict[str, Batch]:
    """Predictions of all pairs, in their order, on the CPU.

    Args:
        model: in evaluation mode.
        views: dictionaries with ``img`` (1, 3, height, width) and whatever else is known, as `load_images` gives them.
        pairs: indices into ``views``.
        batch_size: pairs at a time; 1 where pictures differ in size.
        progress: show a bar when stderr is a terminal.

    Returns:
        ``view1``, ``view2``, ``pred1`` and ``pred2``: tensors with one row per pair, or lists with one entry per pair
        where pictures differ in size.
    """
    sizes = {tuple(view["img"].shape[-2:]) for view in views}
    step = batch_size if len(sizes) <= 1 else 1
    chunks = [pairs[start : start + step] for start in range(0, len(pairs), step)]
    parts: list[dict[str, Batch]] = []
    for chunk in tqdm(chunks, desc="pairs", unit="batch", disable=None if progress else True):
        view1 = _collate([views[i] for i, _ in chunk])
        view2 = _collate([views[j] for _, j in chunk])
        device = model.device
        pred1, pred2 = model.forward_pair(_move(view1, device), _move(view2, device))
        parts.append({"view1": view1, "view2": view2, "pred1": _move(pred1, "cpu"), "pred2": _move(pred2, "cpu")})
    join = _concatenate if len(sizes) <= 1 else _list
    return {name: join(part[name] for part in parts) for name in ("view1", "view2", "pred1", "pred2")}


def _collate(views: Sequence[Mapping[str, Any]]) -> Batch:
    batch: Batch = {
        "img": torch.cat([view["img"] for view in views]),
        "true_shape": torch.cat([true_shape_of(view) for view in views]),
    }
    for name in ("idx", "instance"):
        if all(name in view for view in views):
            batch[name] = [value for view in views for value in _as_list(view[name])]
    return batch


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _move(batch: Mapping[str, Any], device: torch.device | str) -> Batch:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _concatenate(parts: Iterable[Batch]) -> Batch:
    joined: dict[str, list[Any]] = _list(parts)
    return {
        name: torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]
        for name, values in joined.items()
    }


def _list(parts: Iterable[Batch]) -> dict[str, list[Any]]:
    joined: dict[str, list[Any]] = {}
    for part in parts:
        for name, value in part.items():
            joined.setdefault(name, []).append(value)
    return joined
