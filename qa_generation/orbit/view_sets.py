"""Sets of 2-5 views of an orbit: some all round, some from one side, so that answers do not follow from a habit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from qa_generation.orbit.facts import OrbitFacts
from qa_generation.sampling import SamplingConfig

# views from nearly the same place say nothing new
MIN_ANGLE_DEG = 12.0
# half of the sets lie within an arc of this many degrees
NARROW_DEG = 125.0


@dataclass(frozen=True)
class OrbitSet:
    """Views in the order shown (rows of the facts), with mean and largest overlap of their pairs in percent."""

    views: tuple[int, ...]
    overlap_avg: float
    overlap_max: float


def draw_orbit_sets(facts: OrbitFacts, config: SamplingConfig, rng: np.random.Generator) -> list[OrbitSet]:
    """Distinct sets, spread over the sizes; fewer than asked where the capture holds no more."""
    apart = facts.angle_deg >= MIN_ANGLE_DEG
    sizes = np.array([view.size for view in facts.capture.views])
    apart &= (sizes[:, None] == sizes[None]).all(axis=-1)
    near = facts.angle_deg <= NARROW_DEG / 2
    seen: set[frozenset[int]] = set()
    drawn: list[OrbitSet] = []
    quotas = [len(part) for part in np.array_split(np.arange(config.view_sets), len(config.sizes))]
    for size, quota in zip(config.sizes, quotas, strict=True):
        left = quota
        for attempt in range(config.attempts_per_set * quota):
            if left == 0:
                break
            views = _grow(size, apart, near if attempt % 2 else None, rng)
            if views is None or frozenset(views) in seen:
                continue
            seen.add(frozenset(views))
            drawn.append(_orbit_set(facts, views))
            left -= 1
    return drawn


def _grow(
    size: int,
    apart: Bool[np.ndarray, "views views"],
    near: Bool[np.ndarray, "views views"] | None,
    rng: np.random.Generator,
) -> tuple[int, ...] | None:
    """Views that are all apart, in random order; all near the first of them where ``near`` is given."""
    first = int(rng.integers(len(apart)))
    chosen = [first]
    fits = apart[first] if near is None else apart[first] & near[first]
    while len(chosen) < size:
        left = np.flatnonzero(fits)
        if not len(left):
            return None
        chosen.append(int(rng.choice(left)))
        fits = fits & apart[chosen[-1]]
    return tuple(int(view) for view in rng.permutation(chosen))


def _orbit_set(facts: OrbitFacts, views: tuple[int, ...]) -> OrbitSet:
    first, second = np.triu_indices(len(views), k=1)
    members = np.array(views)
    pairs = 100.0 * facts.hull.overlap[members[first], members[second]]
    return OrbitSet(views, float(pairs.mean()), float(pairs.max()))
