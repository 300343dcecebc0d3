"""Colours: curated palettes, and the `Style` that gives one room its look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Color = Float64[np.ndarray, "3"]


def rgb(text: str) -> Color:
    """The sRGB colour written as ``rrggbb``, 0 to 1."""
    return np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)]) / 255.0


def _colors(texts: str) -> tuple[Color, ...]:
    return tuple(rgb(t) for t in texts.split())


WOODS = _colors("c89b6a b07d4b 8a5a33 6b4226 d9b88a a47148 4a3020 e2c9a4")
LACQUERS = _colors("f2efe8 e9e4da d7dde0 2f3437 7c8a8c 9db0a5 35495e b5483d")
METALS = _colors("3a3d40 8d9196 c5c9cc 26282b b08d57")
FABRICS = _colors("7d8b99 a65a4a 4f6d7a c9b79c 5e7358 8e6c8a 38405a b98b4e 9aa6a0 6f4e46 d8cfc0 2f5d62")
ACCENTS = _colors("d1495b edae49 00798c 66a182 2e4057 e07a5f 81b29a f2cc8f 3d5a80 ee6c4d 98c1d9 b56576 f4f1de 6a994e")
WALLS = _colors("efe9df e6ddd0 dfe5e3 e9e2ea e3e8ee f1ead2 d9e0d0 ecdcd2 d3dde6 e8e6e1 cfd8cf f0e4d8")
DEEP_WALLS = _colors("8fa89b b7a08a 93a7bd c98f72 a58ca8 7f9597 c2a24f 8a9a6b")
FLOORS = _colors("b98d5f 9c6f45 c9a77c 7d5636 d6bd98 a9835a")
TILES = _colors("d8d3c8 c4c0b8 b7a99a 9fa8a8 e3ded5 a98d7b")
CARPETS = _colors("a59a8c 8b98a3 b5aaa0 7f8b7c 9c8584 b9b2a2")
LEAVES = _colors("4f7f3f 3f6b3a 6d9a4b 2f5a3c 86a85a")
WHITE, BLACK, DARK = rgb("f4f2ee"), rgb("1d1e20"), rgb("2b2d30")


@dataclass(frozen=True, eq=False)
class Style:
    """The look that most things of one room share.

    Attributes:
        wood: furniture wood; lacquer: painted furniture; metal: legs and handles.
        fabric: main upholstery.
        wall, accent_wall, ceiling: paint.
    """

    wood: Color
    lacquer: Color
    metal: Color
    fabric: Color
    wall: Color
    accent_wall: Color
    ceiling: Color


def draw_style(rng: np.random.Generator) -> Style:
    """A random look for one room."""
    return Style(
        wood=vary(rng, pick(rng, WOODS)),
        lacquer=vary(rng, pick(rng, LACQUERS)),
        metal=pick(rng, METALS),
        fabric=vary(rng, pick(rng, FABRICS)),
        wall=vary(rng, pick(rng, WALLS), 0.02),
        accent_wall=vary(rng, pick(rng, DEEP_WALLS), 0.03),
        ceiling=vary(rng, rgb("f5f3ee"), 0.01),
    )


def pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    """One colour of a palette."""
    return colors[int(rng.integers(len(colors)))]


def vary(rng: np.random.Generator, color: Color, amount: float = 0.05) -> Color:
    """The colour a little lighter or darker, warmer or cooler."""
    return np.clip(color * (1 + rng.normal(0, amount)) + rng.normal(0, amount / 4, 3), 0.02, 0.98)


def wood_of(rng: np.random.Generator, style: Style, own: float = 0.25) -> Color:
    """The room's wood, or with probability ``own`` another one or paint."""
    if rng.random() >= own:
        return vary(rng, style.wood, 0.03)
    return vary(rng, pick(rng, WOODS + LACQUERS))


def fabric_of(rng: np.random.Generator, style: Style, own: float = 0.4) -> Color:
    """The room's upholstery, or with probability ``own`` another one."""
    return vary(rng, style.fabric, 0.03) if rng.random() >= own else vary(rng, pick(rng, FABRICS + ACCENTS))


def grain(rng: np.random.Generator, color: Color, count: int, amount: float = 0.05) -> list[Color]:
    """``count`` shades of one wood or stone for neighbouring boards."""
    return [np.clip(color * (1 + rng.normal(0, amount)), 0, 1) for _ in range(count)]
