"""Things that lie where nobody would look for them, of sizes nobody would expect.

In a tidy room a name tells where a thing is: mugs stand on tables and pictures hang above them. A question whose answer
is the same in every room is worth nothing, so rooms also get things at heights and of sizes that their names do not
promise.
"""

from __future__ import annotations

import numpy as np

from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.objects.item import Item, Support
from qa_generation.synthetic.placement import Arrangement
from qa_generation.synthetic.style import Style

STANDING = (
    "backpack", "ball", "basket", "bin", "books", "bottle", "bowl", "box", "candle", "fan", "mug", "pillow", "plant",
    "speaker", "stool", "suitcase", "teddy bear", "vase",
)  # fmt: skip
HANGING = ("clock", "mirror", "picture")
# the factor on all sides of a thing: its logarithm's spread, and the bounds
SPREAD, SMALLEST, LARGEST = 0.4, 0.55, 1.9
# heights that are aimed at, metres; shelves are hung so that something is there to stand on
HIGHEST_M = 2.0
SHELVES_M = (0.3, 1.8)
# of the supports nearest to a height so many are tried
NEAREST = 6


def scatter(arrangement: Arrangement, style: Style, rng: np.random.Generator, number: int) -> None:
    """Adds up to ``number`` things (fewer where there is no room), one of five on a wall, and shelves to carry them."""
    for _ in range(min(3, number // 4)):
        arrangement.place_on_wall(BUILDERS["shelf"](rng, style), float(rng.uniform(*SHELVES_M)))
    for _ in range(number):
        hung = rng.random() < 0.2
        item = resized(BUILDERS[str(rng.choice(HANGING if hung else STANDING))](rng, style), _factor(rng))
        height_m = float(rng.uniform(0.0, HIGHEST_M))
        if hung:
            arrangement.place_on_wall(item, height_m)
        else:
            _stand(arrangement, item, height_m, rng)


def _factor(rng: np.random.Generator) -> float:
    return float(np.clip(np.exp(rng.normal(0.0, SPREAD)), SMALLEST, LARGEST))


def _stand(arrangement: Arrangement, item: Item, height_m: float, rng: np.random.Generator) -> int | None:
    """Puts the item on the support nearest to a height, the floor being one of them."""
    levels: list[tuple[float, int, int]] = [(0.0, -1, 0)]
    for index, placed in enumerate(arrangement.placed):
        levels += [(placed.position[2] + s.z, index, level) for level, s in enumerate(placed.item.supports)]
    levels.sort(key=lambda level: abs(level[0] - height_m))
    yaw = float(rng.uniform(-np.pi, np.pi))
    for _, parent, level in levels[:NEAREST]:
        if parent < 0:
            found = arrangement.place_free(item, gap=0.05, yaw=yaw)
        else:
            found = arrangement.place_on(item, parent, yaw=yaw, level=level)
        if found is not None:
            return found
    return None


def resized(item: Item, factor: float) -> Item:
    """The same thing, all its sides ``factor`` times as long."""

    def span(low_high: tuple[float, float]) -> tuple[float, float]:
        return low_high[0] * factor, low_high[1] * factor

    supports = tuple(Support(span(s.x), span(s.y), s.z * factor, s.headroom * factor) for s in item.supports)
    x, y, z, radius = item.lamp or (0.0, 0.0, 0.0, 0.0)
    lamp = (x * factor, y * factor, z * factor, radius * factor) if item.lamp else None
    return Item(item.category, item.surface.stretched((factor, factor, factor)), supports, lamp)
