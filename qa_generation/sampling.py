"""Sets of 2-5 views of one scene that overlap little: what a question is asked about (specs section 5, steps 3-4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from qa_generation.errors import InputError
from qa_generation.levels import OVERLAP_BINS
from qa_generation.visibility_table import VisibilityTable


@dataclass(frozen=True)
class SamplingConfig:
    """Which frames may be used and how many view sets are drawn.

    Attributes:
        view_sets: sets per scene, spread evenly over the sizes.
        sizes: numbers of views in a set.
        max_overlap: largest overlap of any pair in a set, percent, inclusive.
        min_visible_instances: frames that show fewer are dropped.
        min_median_depth_m: frames whose median depth is smaller (a wall in the face) are dropped.
        shared_category_weight: how much likelier a view is drawn when it shares a visible category with the set.
        attempts_per_set: tries per wanted set before giving up, since a small room may hold few sets.
        spread: sets drawn for each one kept, so that all overlap levels are there; 1 keeps what comes.
    """

    view_sets: int = 24
    sizes: tuple[int, ...] = (2, 3, 4, 5)
    max_overlap: float = 30.0
    min_visible_instances: int = 3
    min_median_depth_m: float = 0.5
    shared_category_weight: float = 3.0
    attempts_per_set: int = 50
    spread: int = 4

    def __post_init__(self) -> None:
        if not self.sizes or any(size not in (2, 3, 4, 5) for size in self.sizes):
            raise InputError(f"sampling.sizes is {list(self.sizes)}, expected numbers out of 2, 3, 4 and 5")
        if self.view_sets < 1:
            raise InputError(f"sampling.view_sets is {self.view_sets}, expected at least 1")
        if self.spread < 1:
            raise InputError(f"sampling.spread is {self.spread}, expected at least 1")
        if not 0 <= self.max_overlap <= 100:
            raise InputError(f"sampling.max_overlap is {self.max_overlap}, expected percent in 0..100")


@dataclass(frozen=True)
class ViewSet:
    """Some views in the order they are shown: row numbers of the table, mean and largest pair overlap in percent."""

    views: tuple[int, ...]
    overlap_avg: float
    overlap_max: float


def usable_views(table: VisibilityTable, config: SamplingConfig) -> Int[np.ndarray, " usable"]:
    """Row numbers of the frames that show enough instances and are not held against a surface."""
    enough = table.visible.sum(axis=1) >= config.min_visible_instances
    return np.flatnonzero(enough & (table.median_depth >= config.min_median_depth_m))


def draw_view_sets(
    table: VisibilityTable,
    rng: np.random.Generator,
    config: SamplingConfig | None = None,
    categories: Sequence[str] | None = None,
    image_sizes: Sequence[tuple[int, int]] | None = None,
) -> list[ViewSet]:
    """Distinct view sets whose pairs all overlap by at most ``max_overlap`` percent; fewer than asked in small rooms.

    Args:
        table: visibility of the scene.
        rng: decides everything; the same state gives the same sets.
        config: quotas and thresholds.
        categories: label of each table column, for the preference of shared categories; each instance is a category
            of its own when it is absent.
        image_sizes: (width, height) per row; views of unequal size are never put together.
    """
    config = config or SamplingConfig()
    usable = usable_views(table, config)
    allowed = table.overlap <= config.max_overlap
    np.fill_diagonal(allowed, False)
    if image_sizes is not None:
        sizes = np.asarray(image_sizes)
        allowed &= (sizes[:, None] == sizes[None]).all(axis=-1)
    weights = 1.0 + (config.shared_category_weight - 1.0) * _shares_category(table, categories)

    # sets that overlap much are rare, so every other one is looked for among the neighbours
    near = weights * (1.0 + table.overlap)
    quotas = [len(part) for part in np.array_split(np.arange(config.view_sets), len(config.sizes))]
    drawn: list[ViewSet] = []
    for size, quota in zip(config.sizes, quotas, strict=True):
        seen: set[frozenset[int]] = set()
        found: list[ViewSet] = []
        for attempt in range(config.attempts_per_set * quota):
            if len(found) == config.spread * quota:
                break
            views = _grow(usable, size, allowed, (weights, near)[attempt % 2 if config.spread > 1 else 0], rng)
            if views is None or frozenset(views) in seen:
                continue
            seen.add(frozenset(views))
            found.append(_view_set(table, tuple(int(v) for v in rng.permutation(views))))
        drawn += _spread(found, quota)
    return drawn


def _spread(found: Sequence[ViewSet], quota: int) -> list[ViewSet]:
    """The first ``quota`` sets when the overlap levels take turns, in the order found."""
    level = np.digitize([view_set.overlap_avg for view_set in found], OVERLAP_BINS, right=True)
    turn = [int((level[:i] == own).sum()) for i, own in enumerate(level)]
    first = sorted(range(len(found)), key=lambda i: (turn[i], i))[:quota]
    return [found[i] for i in sorted(first)]


def _shares_category(table: VisibilityTable, categories: Sequence[str] | None) -> Bool[np.ndarray, "views views"]:
    visible = table.visible.astype(np.int32)
    if categories is not None:
        _, index = np.unique(np.asarray(categories, dtype=str), return_inverse=True)
        visible = visible @ np.eye(int(index.max()) + 1 if index.size else 0, dtype=np.int32)[index]
    return (visible @ visible.T) > 0


def _grow(
    usable: Int[np.ndarray, " usable"],
    size: int,
    allowed: Bool[np.ndarray, "views views"],
    weights: np.ndarray,
    rng: np.random.Generator,
) -> list[int] | None:
    """One set grown view by view, or None where no further view fits."""
    if len(usable) < size:
        return None
    chosen = [int(rng.choice(usable))]
    while len(chosen) < size:
        fits = usable[allowed[usable][:, chosen].all(axis=1)]
        if not len(fits):
            return None
        weight = weights[fits][:, chosen].max(axis=1)
        chosen.append(int(rng.choice(fits, p=weight / weight.sum())))
    return chosen


def _view_set(table: VisibilityTable, views: tuple[int, ...]) -> ViewSet:
    rows, columns = np.triu_indices(len(views), k=1)
    members = np.asarray(views)
    pairs = table.overlap[members[rows], members[columns]]
    return ViewSet(views, float(pairs.mean()), float(pairs.max()))
