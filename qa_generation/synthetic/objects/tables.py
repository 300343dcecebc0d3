"""Tables, and the bed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from qa_generation.synthetic.objects.item import Item, Support, assemble, uniform
from qa_generation.synthetic.objects.seating import legs
from qa_generation.synthetic.parts import block, cylinder, mosaic, pillow, planks
from qa_generation.synthetic.style import FABRICS, Color, Style, fabric_of, grain, pick, vary, wood_of
from qa_generation.synthetic.surface import Surface


def _board(rng: np.random.Generator, style: Style, x: float, y: float, z: tuple[float, float]) -> Surface:
    return planks((-x, x), (-y, y), z, grain(rng, wood_of(rng, style, 0.2), int(rng.integers(3, 7))))


def table(rng: np.random.Generator, style: Style) -> Item:
    """A dining table: rectangular on four legs, or round on a column."""
    height = uniform(rng, 0.72, 0.77)
    if rng.random() < 0.3:
        radius, wood = uniform(rng, 0.48, 0.62), wood_of(rng, style)
        parts = [
            cylinder(radius, (height - 0.035, height), wood, sides=28),
            cylinder((0.06, 0.045), (0.03, height - 0.035), vary(rng, wood * 0.8)),
            cylinder((0.3, 0.26), (0, 0.03), vary(rng, wood * 0.8), sides=20),
        ]
        half = radius * 0.68
        return assemble("table", parts, [Support((-half, half), (-half, half), height)])
    x, y = uniform(rng, 1.1, 1.9) / 2, uniform(rng, 0.75, 0.95) / 2
    frame = wood_of(rng, style, 0.3)
    parts = [_board(rng, style, x, y, (height - 0.035, height))]
    parts += legs(x - 0.04, y - 0.04, height - 0.035, uniform(rng, 0.055, 0.085), frame, bool(rng.random() < 0.3))
    parts.append(block((-x + 0.1, x - 0.1), (-y + 0.06, -y + 0.08), (height - 0.12, height - 0.035), frame))
    parts.append(block((-x + 0.1, x - 0.1), (y - 0.08, y - 0.06), (height - 0.12, height - 0.035), frame))
    return assemble("table", parts, [Support((-x + 0.04, x - 0.04), (-y + 0.04, y - 0.04), height)])


def coffee_table(rng: np.random.Generator, style: Style) -> Item:
    """A low table, rectangular with a shelf below, or round."""
    height, wood = uniform(rng, 0.36, 0.46), wood_of(rng, style, 0.4)
    if rng.random() < 0.35:
        radius = uniform(rng, 0.32, 0.45)
        parts = [cylinder(radius, (height - 0.03, height), wood, sides=26)]
        half = radius * 0.68
        for k in range(3):
            a = 2 * np.pi * k / 3
            at = (radius * 0.7 * np.cos(a), radius * 0.7 * np.sin(a))
            parts.append(cylinder((0.015, 0.025), (0, height - 0.03), style.metal, at, sides=8))
        return assemble("coffee table", parts, [Support((-half, half), (-half, half), height)])
    x, y = uniform(rng, 0.8, 1.15) / 2, uniform(rng, 0.48, 0.62) / 2
    parts = [_board(rng, style, x, y, (height - 0.03, height))]
    parts += legs(x - 0.01, y - 0.01, height - 0.03, 0.05, wood, False)
    parts.append(block((-x + 0.05, x - 0.05), (-y + 0.03, y - 0.03), (0.12, 0.14), wood))
    top = Support((-x + 0.03, x - 0.03), (-y + 0.03, y - 0.03), height)
    shelf = Support((-x + 0.08, x - 0.08), (-y + 0.06, y - 0.06), 0.14, height - 0.03 - 0.14 - 0.02)
    return assemble("coffee table", parts, [top, shelf])


def desk(rng: np.random.Generator, style: Style) -> Item:
    """A writing desk with a block of drawers on one side."""
    x, y, height = uniform(rng, 1.15, 1.6) / 2, uniform(rng, 0.6, 0.75) / 2, uniform(rng, 0.72, 0.76)
    frame = style.metal if rng.random() < 0.4 else wood_of(rng, style, 0.3)
    parts = [_board(rng, style, x, y, (height - 0.03, height))]
    parts += legs(x - 0.02, y - 0.02, height - 0.03, 0.045, frame, False)
    side, body = (-1 if rng.random() < 0.5 else 1), wood_of(rng, style, 0.5)
    near, far = side * (x - 0.08), side * (x - 0.45)
    span = (min(near, far), max(near, far))
    parts.append(block(span, (-y + 0.06, y - 0.06), (0.1, height - 0.03), body))
    for k in range(3):
        low = 0.12 + k * (height - 0.17) / 3
        high = low + (height - 0.17) / 3 - 0.015
        parts.append(
            block((span[0] + 0.01, span[1] - 0.01), (y - 0.06, y - 0.045), (low, high), vary(rng, body * 1.04, 0.02))
        )
        middle = (span[0] + span[1]) / 2
        parts.append(
            block((middle - 0.05, middle + 0.05), (y - 0.045, y - 0.03), (high - 0.06, high - 0.045), style.metal)
        )
    return assemble("desk", parts, [Support((-x + 0.03, x - 0.03), (-y + 0.03, y - 0.03), height)])


def _quilt(rng: np.random.Generator, color: Color) -> Float64[np.ndarray, "10 12 3"]:
    """A blanket's pattern: plain patches, stripes or checks."""
    row, column = np.meshgrid(np.arange(10), np.arange(12), indexing="ij")
    other = vary(rng, pick(rng, FABRICS), 0.05) * 0.5 + color * 0.5
    kind = rng.integers(3)
    mask = (np.zeros_like(row), row % 3 == 0, (row + column) % 2)[kind].astype(bool)
    art = np.where(mask[..., None], other, color)
    return np.clip(art * (1 + rng.normal(0, 0.025, (10, 12, 1))), 0, 1)


def bed(rng: np.random.Generator, style: Style) -> Item:
    """A bed with headboard, mattress and a blanket; pillows come as things of their own."""
    width = uniform(rng, 0.9, 1.1) if rng.random() < 0.4 else uniform(rng, 1.4, 1.8)
    length, base, top = uniform(rng, 1.95, 2.1), uniform(rng, 0.24, 0.32), uniform(rng, 0.85, 1.15)
    x, y, wood = width / 2, length / 2, wood_of(rng, style, 0.3)
    sheet, blanket = vary(rng, np.array([0.93, 0.92, 0.9]), 0.02), fabric_of(rng, style)
    parts = legs(x - 0.02, y - 0.02, 0.1, 0.07, wood, False)
    parts.append(block((-x, x), (-y, y), (0.1, base), wood))
    upholstered = rng.random() < 0.4
    board = fabric_of(rng, style) if upholstered else wood
    parts.append(block((-x - 0.02, x + 0.02), (-y - 0.06, -y), (0.0, top), board))
    mattress = 0.2
    parts.append(pillow((width - 0.02, length - 0.03, mattress), (0, 0, base + mattress / 2), sheet, 0.12, 24, 8))
    high, fold = base + mattress, uniform(rng, -0.25, -0.05) * length
    parts.append(block((-x - 0.015, x + 0.015), (fold, y + 0.015), (high, high + 0.024), blanket))
    quilt = _quilt(rng, blanket)
    parts.append(mosaic((-x - 0.015, fold, high + 0.0245), (2 * x + 0.03, 0, 0), (0, y + 0.015 - fold, 0), quilt))
    for side in (-1, 1):
        edge = side * (x + 0.0075)
        parts.append(block((edge - 0.0075, edge + 0.0075), (fold, y + 0.015), (base - 0.02, high), blanket))
    parts.append(block((-x - 0.015, x + 0.015), (y, y + 0.015), (base - 0.02, high), blanket))
    parts.append(
        block((-x - 0.018, x + 0.018), (fold - 0.12, fold), (high, high + 0.03), vary(rng, blanket * 1.12, 0.03))
    )
    head = Support((-x + 0.05, x - 0.05), (-y + 0.02, fold - 0.14), high + 0.002, 0.9)
    foot = Support((-x + 0.1, x - 0.1), (fold + 0.05, y - 0.1), high + 0.026, 0.9)
    return assemble("bed", parts, [head, foot])
