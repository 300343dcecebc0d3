"""Flat things: pictures, mirrors and rugs, and what closes openings in walls: doors and windows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from qa_generation.synthetic.objects.item import Item, Support, assemble, uniform
from qa_generation.synthetic.parts import ball, block, drape, mosaic
from qa_generation.synthetic.style import ACCENTS, BLACK, FABRICS, WHITE, WOODS, Color, Style, pick, rgb, vary
from qa_generation.synthetic.surface import Surface


def _frame(x: float, z: float, width: float, depth: float, color: Float64[np.ndarray, "3"]) -> list[Surface]:
    """Four bars around a rectangle (-x..x, 0..z) that stand on the plane y = 0."""
    return [
        block((-x, x), (0, depth), (0, width), color),
        block((-x, x), (0, depth), (z - width, z), color),
        block((-x, -x + width), (0, depth), (width, z - width), color),
        block((x - width, x), (0, depth), (width, z - width), color),
    ]


def _painting(rng: np.random.Generator) -> Float64[np.ndarray, "rows columns 3"]:
    """A landscape, an abstract of blocks, or soft bands."""
    rows, columns = 12, 14
    kind = rng.integers(3)
    if kind == 0:
        sky, land, sea = (vary(rng, pick(rng, ACCENTS)) for _ in range(3))
        ridge = rows * (0.45 + 0.16 * np.sin(np.linspace(0, uniform(rng, 3, 7), columns) + uniform(rng, 0, 6)))
        height = np.arange(rows)[:, None, None]
        art = np.where(height > ridge[None, :, None], sky * (0.7 + 0.3 * height / rows), land)
        art = np.where(height < rows * 0.22, sea, art)
        art[rows - 4 : rows - 2, 9:11] = rgb("fbe7b0")
    elif kind == 1:
        paper = rgb("f1ece0")
        art = np.tile(paper, (rows, columns, 1))
        for _ in range(5):
            r, c = int(rng.integers(0, rows - 3)), int(rng.integers(0, columns - 3))
            art[r : r + int(rng.integers(2, 7)), c : c + int(rng.integers(2, 7))] = pick(rng, ACCENTS)
    else:
        bands = np.stack([pick(rng, ACCENTS) for _ in range(5)])
        index = np.clip((np.arange(rows)[:, None] + np.arange(columns) * uniform(rng, -0.5, 0.5)) / rows * 5, 0, 4)
        art = bands[index.astype(int)]
    return np.clip(art + rng.normal(0, 0.015, art.shape), 0, 1)


def picture(rng: np.random.Generator, style: Style) -> Item:
    """A framed picture for the wall."""
    x, z = uniform(rng, 0.35, 0.95) / 2, uniform(rng, 0.35, 0.8)
    color = vary(rng, pick(rng, (*WOODS, BLACK, WHITE)))
    parts = _frame(x, z, 0.025, 0.025, color)
    parts.append(block((-x + 0.02, x - 0.02), (0, 0.012), (0.02, z - 0.02), WHITE))
    mat = uniform(rng, 0.03, 0.08)
    parts.append(mosaic((x - mat, 0.0125, mat), (2 * mat - 2 * x, 0, 0), (0, 0, z - 2 * mat), _painting(rng)))
    return assemble("picture", parts)


def mirror(rng: np.random.Generator, style: Style) -> Item:
    """A framed mirror; the glass is a pale gradient, it reflects nothing."""
    x, z = uniform(rng, 0.45, 0.7) / 2, uniform(rng, 0.7, 1.3)
    parts = _frame(x, z, 0.035, 0.03, vary(rng, pick(rng, WOODS)))
    t = np.linspace(0, 1, 5)[:, None, None] + np.linspace(0, 0.5, 4)[None, :, None]
    glass = rgb("8fa7b3") * (1 - t / 1.5) + rgb("e6f0f3") * (t / 1.5)
    parts.append(block((-x + 0.03, x - 0.03), (0, 0.01), (0.03, z - 0.03), rgb("a9bcc4")))
    parts.append(
        mosaic((x - 0.035, 0.0105, 0.035), (0.07 - 2 * x, 0, 0), (0, 0, z - 0.07), glass, glow=0.25, smooth=True)
    )
    return assemble("mirror", parts)


def rug(rng: np.random.Generator, style: Style) -> Item:
    """A rug 8 mm thick: striped, bordered or chequered; things may stand on it."""
    x, y, thick = uniform(rng, 1.3, 2.2) / 2, uniform(rng, 0.9, 1.5) / 2, 0.008
    a, b, c = (vary(rng, pick(rng, FABRICS + ACCENTS)) for _ in range(3))
    rows, columns = 10, 16
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    rim = np.minimum(np.minimum(row, rows - 1 - row), np.minimum(column, columns - 1 - column))
    kind = rng.integers(3)
    mask = ((column // 2) % 2, (row // 2 + column // 2) % 2, rim % 2)[kind].astype(bool)
    art = np.where(mask[..., None], a, b)
    art = np.where((rim == 0)[..., None], c, art)
    parts = [block((-x, x), (-y, y), (0, thick - 0.001), c)]
    parts.append(
        mosaic((-x, -y, thick), (2 * x, 0, 0), (0, 2 * y, 0), np.clip(art + rng.normal(0, 0.01, art.shape), 0, 1))
    )
    return assemble("rug", parts, [Support((-x + 0.02, x - 0.02), (-y + 0.02, y - 0.02), thick, 2.0)])


def curtain(rng: np.random.Generator, style: Style, width: float, height: float, color: Color) -> Item:
    """One half of a pair of curtains, hanging in folds from a short rod."""
    x, y = width / 2, 0.055
    parts = [drape((-x, x), (0, height - 0.02), max(3, round(width / 0.075)), y, color)]
    parts.append(block((-x, x), (-0.012, 0.012), (height - 0.02, height), style.metal))
    return assemble("curtain", parts)


def radiator(rng: np.random.Generator, style: Style) -> Item:
    """A white radiator of vertical columns, with two feet."""
    x, z, columns = uniform(rng, 0.55, 1.0) / 2, uniform(rng, 0.48, 0.6), 12
    paint = vary(rng, WHITE * 0.98, 0.015)
    parts = [block((-x, x), (-0.015, 0.015), (0.14, z - 0.04), paint * 0.93)]
    for cx in np.linspace(-x + 0.02, x - 0.02, columns):
        parts.append(block((cx - 0.014, cx + 0.014), (-0.04, 0.04), (0.1, z), paint))
    for side in (-1, 1):
        at = side * (x - 0.08)
        parts.append(block((at - 0.015, at + 0.015), (-0.03, 0.03), (0, 0.12), paint))
    return assemble("radiator", parts)


def door(rng: np.random.Generator, style: Style, width: float, height: float) -> Item:
    """A door leaf with frame and handle that fills an opening; the frame stands 3 cm proud of the wall."""
    x = width / 2
    leaf, trim = vary(rng, style.wood if rng.random() < 0.5 else style.lacquer), vary(rng, WHITE * 0.97, 0.02)
    parts = [block((-x, x), (-0.05, -0.01), (0, height), leaf)]
    for low, high in ((0.12, 0.45), (0.52, 0.93)):
        for side in (-1, 1):
            near, far = side * 0.05, side * (x - 0.11)
            span = (min(near, far), max(near, far))
            parts.append(block(span, (-0.01, -0.004), (height * low, height * high), np.clip(leaf * 0.9, 0, 1)))
    parts.append(block((-x - 0.07, -x), (0.0, 0.03), (0, height + 0.07), trim))
    parts.append(block((x, x + 0.07), (0.0, 0.03), (0, height + 0.07), trim))
    parts.append(block((-x, x), (0.0, 0.03), (height, height + 0.07), trim))
    at = (x - 0.07) * (-1 if rng.random() < 0.5 else 1)
    parts.append(block((at - 0.02, at + 0.02), (-0.01, 0.0), (0.95, 1.12), style.metal))
    parts.append(block((at - 0.01, at + 0.01), (0.0, 0.045), (1.04, 1.06), style.metal))
    inward = at - 0.11 * np.sign(at)
    parts.append(block((min(at, inward), max(at, inward)), (0.035, 0.05), (1.04, 1.06), style.metal))
    parts.append(ball(0.012, (at, 0.045, 1.05), style.metal, 8, 5))
    return assemble("door", parts)


def window(rng: np.random.Generator, style: Style, width: float, height: float, recess: float) -> Item:
    """A window that fills an opening: bright sky, frame, bars and a sill; the glass lies ``recess`` metres deep."""
    x, trim = width / 2, vary(rng, WHITE, 0.01)
    sky, horizon, green = rgb("b9d8f5"), rgb("eef3f5"), vary(rng, rgb("7f9a6b"), 0.06)
    rows = 12
    t = np.linspace(0, 1, rows)[:, None, None]
    view = np.where(t < 0.22, green * (0.8 + t), horizon * (1 - t) + sky * t) * np.ones((1, 6, 1))
    view[1:4] *= rng.uniform(0.92, 1.05, (3, 6, 1))
    parts = [mosaic((x, -recess, 0), (-width, 0, 0), (0, 0, height), np.clip(view, 0, 1), glow=0.8, smooth=True)]
    bar = 0.05
    inner = [
        block((-x, x), (-recess + 0.01, -recess + 0.05), (0, bar), trim),
        block((-x, x), (-recess + 0.01, -recess + 0.05), (height - bar, height), trim),
        block((-x, -x + bar), (-recess + 0.01, -recess + 0.05), (bar, height - bar), trim),
        block((x - bar, x), (-recess + 0.01, -recess + 0.05), (bar, height - bar), trim),
    ]
    panes = 2 if width > 0.9 else 1
    for k in range(1, panes):
        at = -x + k * width / panes
        inner.append(block((at - 0.03, at + 0.03), (-recess + 0.01, -recess + 0.05), (bar, height - bar), trim))
    if rng.random() < 0.4:
        inner.append(
            block((-x + bar, x - bar), (-recess + 0.01, -recess + 0.04), (height * 0.64, height * 0.64 + 0.03), trim)
        )
    sill = block((-x - 0.05, x + 0.05), (0.0, 0.06), (-0.035, 0.0), trim)
    return assemble("window", parts + inner + [sill])
