"""`Item`: one object in its own frame, ready to be placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from qa_generation.synthetic.style import Style
from qa_generation.synthetic.surface import Surface, join

Span = tuple[float, float]


@dataclass(frozen=True)
class Support:
    """A level rectangle that other things can stand on: intervals in the item's frame, metres."""

    x: Span
    y: Span
    z: float
    headroom: float = 1.5


@dataclass(frozen=True, eq=False)
class Item:
    """An object about the origin: centred in x and y, standing on z = 0, front towards +y, back towards -y, metres.

    Attributes:
        lamp: where its bulb is and how far from it the shade reaches, (x, y, z, radius), or None.
    """

    category: str
    surface: Surface
    supports: tuple[Support, ...] = ()
    lamp: tuple[float, float, float, float] | None = None

    @cached_property
    def size(self) -> Float64[np.ndarray, "3"]:
        """Full extents, metres."""
        low, high = self.surface.bounds
        return high - low


Builder = Callable[[np.random.Generator, Style], Item]


def assemble(
    category: str,
    parts: Sequence[Surface],
    supports: Sequence[Support] = (),
    lamp: tuple[float, float, float, float] | None = None,
) -> Item:
    """The item made of ``parts``, shifted so that it stands centred on the origin; supports and lamp move along."""
    surface = join(parts)
    low, high = surface.bounds
    dx, dy, dz = -(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]
    moved = tuple(
        Support((s.x[0] + dx, s.x[1] + dx), (s.y[0] + dy, s.y[1] + dy), s.z + dz, s.headroom) for s in supports
    )
    bulb = None if lamp is None else (lamp[0] + dx, lamp[1] + dy, lamp[2] + dz, lamp[3])
    return Item(category, surface.moved((dx, dy, dz)), moved, bulb)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A plain float between ``low`` and ``high``."""
    return float(rng.uniform(low, high))
