"""Furniture and containers that hold things."""

from __future__ import annotations

import numpy as np

from qa_generation.synthetic.objects.item import Item, Support, assemble, uniform
from qa_generation.synthetic.objects.seating import legs
from qa_generation.synthetic.parts import block, cylinder, lathe, pillow, tube
from qa_generation.synthetic.style import ACCENTS, DARK, FABRICS, Color, Style, pick, rgb, vary, wood_of
from qa_generation.synthetic.surface import Surface


def _fronts(
    rng: np.random.Generator,
    x: tuple[float, float],
    z: tuple[float, float],
    y: float,
    grid: tuple[int, int],
    body: Color,
    metal: Color,
) -> list[Surface]:
    """Doors or drawer fronts, (columns, rows), with a handle each, standing 15 mm proud of the plane at ``y``."""
    columns, rows = grid
    parts, gap = [], 0.008
    xs, zs = np.linspace(*x, columns + 1), np.linspace(*z, rows + 1)
    for i in range(columns):
        for j in range(rows):
            front = vary(rng, body * 1.03, 0.015)
            parts.append(block((xs[i] + gap, xs[i + 1] - gap), (y, y + 0.015), (zs[j] + gap, zs[j + 1] - gap), front))
            if zs[j + 1] - zs[j] > xs[i + 1] - xs[i]:
                hx = xs[i + 1] - 0.05 if i % 2 == 0 else xs[i] + 0.05
                hz = (zs[j] + zs[j + 1]) / 2
                parts.append(block((hx - 0.008, hx + 0.008), (y + 0.015, y + 0.035), (hz - 0.08, hz + 0.08), metal))
            else:
                hx, hz = (xs[i] + xs[i + 1]) / 2, zs[j + 1] - 0.06
                parts.append(block((hx - 0.07, hx + 0.07), (y + 0.015, y + 0.035), (hz - 0.008, hz + 0.008), metal))
    return parts


def _case(
    rng: np.random.Generator,
    style: Style,
    category: str,
    size: tuple[float, float, float],
    foot: float,
    grid: tuple[int, int],
) -> Item:
    width, depth, height = size
    x, y, body = width / 2, depth / 2, wood_of(rng, style, 0.4)
    metal = style.metal if np.abs(style.metal - body).max() > 0.2 else DARK
    parts = legs(x - 0.03, y - 0.03, foot, 0.045, wood_of(rng, style), True) if foot > 0.04 else []
    bottom = foot if parts else 0.0
    parts.append(block((-x, x), (-y, y), (bottom, height - 0.025), body))
    parts.append(block((-x - 0.01, x + 0.01), (-y, y + 0.015), (height - 0.025, height), vary(rng, body * 0.95, 0.02)))
    parts += _fronts(rng, (-x + 0.005, x - 0.005), (bottom + 0.02, height - 0.03), y, grid, body, metal)
    top = Support((-x + 0.02, x - 0.02), (-y + 0.02, y - 0.02), height, 2.5 - height)
    return assemble(category, parts, [top])


def wardrobe(rng: np.random.Generator, style: Style) -> Item:
    """A tall wardrobe with two or three doors."""
    doors = int(rng.integers(2, 4))
    size = (uniform(rng, 0.42, 0.55) * doors, uniform(rng, 0.52, 0.62), uniform(rng, 1.8, 2.1))
    item = _case(rng, style, "wardrobe", size, uniform(rng, 0, 0.1), (doors, 1))
    return Item(item.category, item.surface)


def cabinet(rng: np.random.Generator, style: Style) -> Item:
    """A sideboard: two to four doors or drawers side by side."""
    columns = int(rng.integers(2, 5))
    size = (uniform(rng, 0.38, 0.48) * columns, uniform(rng, 0.38, 0.46), uniform(rng, 0.5, 0.85))
    return _case(rng, style, "cabinet", size, uniform(rng, 0, 0.16), (columns, int(rng.integers(1, 3))))


def dresser(rng: np.random.Generator, style: Style) -> Item:
    """A chest of drawers."""
    size = (uniform(rng, 0.7, 1.1), uniform(rng, 0.42, 0.5), uniform(rng, 0.8, 1.15))
    return _case(rng, style, "dresser", size, uniform(rng, 0, 0.12), (int(rng.integers(1, 3)), int(rng.integers(3, 6))))


def nightstand(rng: np.random.Generator, style: Style) -> Item:
    """A small bedside chest."""
    size = (uniform(rng, 0.4, 0.5), uniform(rng, 0.36, 0.42), uniform(rng, 0.46, 0.58))
    return _case(rng, style, "nightstand", size, uniform(rng, 0.05, 0.2), (1, int(rng.integers(1, 3))))


def bookshelf(rng: np.random.Generator, style: Style) -> Item:
    """An open shelf with four to six boards; books and other things come on top of the boards."""
    x, y, height = uniform(rng, 0.7, 1.1) / 2, uniform(rng, 0.28, 0.34) / 2, uniform(rng, 1.4, 2.0)
    levels, wood, thick = int(rng.integers(4, 6)), wood_of(rng, style, 0.4), 0.022
    parts = [block((-x, x), (-y, -y + 0.012), (0, height), vary(rng, wood * 0.85, 0.02))]
    for side in (-1, 1):
        inner, outer = side * (x - thick), side * x
        parts.append(block((min(inner, outer), max(inner, outer)), (-y + 0.012, y), (0, height), wood))
    zs = np.linspace(0.06, height - thick, levels)
    supports = []
    for i, z in enumerate(zs):
        parts.append(block((-x + thick, x - thick), (-y + 0.012, y), (z, z + thick), wood))
        room = (zs[i + 1] - z - thick - 0.01) if i + 1 < levels else 2.5 - height
        supports.append(Support((-x + 0.03, x - 0.03), (-y + 0.02, y - 0.01), z + thick, float(room)))
    parts.append(block((-x + thick, x - thick), (y - 0.03, y - 0.015), (0, 0.06), wood))
    return assemble("bookshelf", parts, supports)


def shelf(rng: np.random.Generator, style: Style) -> Item:
    """A board on two brackets for the wall."""
    x, depth, wood = uniform(rng, 0.6, 1.1) / 2, uniform(rng, 0.2, 0.26), wood_of(rng, style, 0.4)
    y = depth / 2
    parts = [block((-x, x), (-y, y), (0.09, 0.115), wood)]
    for side in (-1, 1):
        at = side * (x - 0.1)
        parts.append(block((at - 0.01, at + 0.01), (-y, -y + 0.02), (0, 0.09), style.metal))
        parts.append(tube([(at, -y + 0.01, 0.01), (at, y - 0.04, 0.088)], 0.008, style.metal, 5))
    return assemble("shelf", parts, [Support((-x + 0.02, x - 0.02), (-y + 0.015, y - 0.015), 0.115, 0.45)])


def box(rng: np.random.Generator, style: Style) -> Item:
    """A cardboard or storage box with a tape strip or a lid."""
    x, y, z = uniform(rng, 0.22, 0.45) / 2, uniform(rng, 0.2, 0.36) / 2, uniform(rng, 0.14, 0.34)
    if rng.random() < 0.6:
        paper = vary(rng, rgb("b98f61"), 0.06)
        tape = vary(rng, rgb("d9c6a0"), 0.04)
        parts = [block((-x, x), (-y, y), (0, z), paper), block((-0.025, 0.025), (-y, y), (z, z + 0.002), tape)]
        for side in (-1, 1):
            y0 = side * y
            parts.append(
                block(
                    (-0.025, 0.025),
                    (min(y0, y0 + side * 0.002), max(y0, y0 + side * 0.002)),
                    (z * 0.6, z + 0.002),
                    tape,
                )
            )
        parts.append(block((x, x + 0.002), (-y * 0.5, y * 0.1), (z * 0.35, z * 0.7), rgb("efece4")))
        top = z + 0.002
    else:
        color = vary(rng, pick(rng, ACCENTS + FABRICS))
        parts = [block((-x, x), (-y, y), (0, z * 0.75), color)]
        parts.append(
            block((-x - 0.008, x + 0.008), (-y - 0.008, y + 0.008), (z * 0.75, z), vary(rng, color * 0.9, 0.03))
        )
        parts.append(block((-0.05, 0.05), (y, y + 0.006), (z * 0.35, z * 0.55), rgb("efece4")))
        top = z
    return assemble("box", parts, [Support((-x + 0.01, x - 0.01), (-y + 0.01, y - 0.01), top, 0.8)])


def basket(rng: np.random.Generator, style: Style) -> Item:
    """A woven basket in bands of two straws, with two handles."""
    low, high, z = uniform(rng, 0.13, 0.19), uniform(rng, 0.17, 0.24), uniform(rng, 0.2, 0.36)
    straw = vary(rng, rgb("c2955a"), 0.08)
    bands = 7
    t = np.linspace(0, 1, bands + 1)
    bulge = low + (high - low) * np.sin(t * np.pi / 2)
    outer = [(float(r), float(z * k)) for r, k in zip(bulge, t, strict=True)]
    inner = [(float(r) - 0.012, h) for r, h in outer[::-1] if h > 0.01] + [(0.0, 0.02)]
    shades = [straw * (1.08 if k % 2 else 0.82) for k in range(bands)]
    profile = [(0.0, 0.0), *outer, *inner]
    colors = [straw, *shades, straw * 1.1, *[straw * 0.7] * (len(inner) - 1)]
    parts = [lathe(profile, np.clip(colors, 0, 1), sides=20)]
    for side in (-1, 1):
        arc = [(side * (high - 0.006), 0.06 * np.cos(a), z + 0.05 * np.sin(a)) for a in np.linspace(0, np.pi, 7)]
        parts.append(tube(arc, 0.008, straw * 0.8, 5))
    return assemble("basket", parts)


def bin_(rng: np.random.Generator, style: Style) -> Item:
    """A waste bin, open or with a domed lid."""
    radius, z = uniform(rng, 0.11, 0.16), uniform(rng, 0.27, 0.45)
    color = vary(rng, style.metal if rng.random() < 0.5 else pick(rng, ACCENTS))
    dark = color * 0.45
    if rng.random() < 0.5:
        profile = [(0, 0), (radius * 0.8, 0), (radius, z), (radius - 0.01, z), (radius * 0.78, 0.02), (0, 0.02)]
        parts = [lathe(profile, [color, color, color, dark, dark], sides=20)]
    else:
        parts = [lathe([(0, 0), (radius, 0), (radius, z * 0.8)], color, sides=20)]
        dome = [(radius * np.cos(a), z * 0.8 + 0.2 * z * np.sin(a)) for a in np.linspace(0, np.pi / 2, 5)]
        parts.append(lathe([(radius * 1.02, z * 0.78), (radius * 1.02, z * 0.8), *dome], DARK, sides=20))
    return assemble("bin", parts)


def suitcase(rng: np.random.Generator, style: Style) -> Item:
    """An upright trolley case with ribs, handle and wheels."""
    width, depth, z = uniform(rng, 0.38, 0.48), uniform(rng, 0.22, 0.28), uniform(rng, 0.52, 0.68)
    color = vary(rng, pick(rng, ACCENTS + FABRICS))
    parts = [pillow((width, depth, z), (0, 0, 0.05 + z / 2), color, 0.16, 24, 10)]
    for cx in np.linspace(-width * 0.3, width * 0.3, 5):
        parts.append(
            block((cx - 0.012, cx + 0.012), (-depth / 2 - 0.004, depth / 2 + 0.004), (0.13, z - 0.03), color * 0.85)
        )
    for sx in (-1, 1):
        for sy in (-1, 1):
            parts.append(cylinder(0.022, (0, 0.06), DARK, (sx * width * 0.38, sy * depth * 0.3), sides=8))
        parts.append(cylinder(0.007, (z, z + 0.28), style.metal, (sx * 0.08, -depth * 0.3), sides=6))
    parts.append(block((-0.1, 0.1), (-depth * 0.3 - 0.015, -depth * 0.3 + 0.015), (z + 0.27, z + 0.3), DARK))
    return assemble("suitcase", parts)
