"""Things to sit on."""

from __future__ import annotations

import numpy as np

from qa_generation.synthetic.objects.item import Item, Support, assemble, uniform
from qa_generation.synthetic.parts import block, cylinder, pillow, tube
from qa_generation.synthetic.style import DARK, Color, Style, fabric_of, vary, wood_of
from qa_generation.synthetic.surface import Surface, rotation_x


def legs(x: float, y: float, height: float, thickness: float, color: Color, round_: bool) -> list[Surface]:
    """Four legs under the corners of a rectangle of half sizes x, y; their outer faces are flush with it, metres."""
    out = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            cx, cy = sx * (x - thickness / 2), sy * (y - thickness / 2)
            if round_:
                out.append(cylinder((thickness * 0.32, thickness * 0.5), (0, height), color, (cx, cy), sides=8))
            else:
                half = thickness / 2
                out.append(block((cx - half, cx + half), (cy - half, cy + half), (0, height), color))
    return out


def chair(rng: np.random.Generator, style: Style) -> Item:
    """A dining chair with a slatted, ladder or solid back."""
    width, depth = uniform(rng, 0.40, 0.48), uniform(rng, 0.40, 0.46)
    seat, top = uniform(rng, 0.43, 0.48), uniform(rng, 0.80, 1.0)
    wood, thick = wood_of(rng, style, 0.4), uniform(rng, 0.032, 0.045)
    x, y = width / 2, depth / 2
    parts = legs(x - 0.01, y - 0.01, seat - 0.03, thick, wood, bool(rng.random() < 0.4))
    if rng.random() < 0.5:
        parts.append(pillow((width, depth, 0.07), (0, 0, seat - 0.015), fabric_of(rng, style), 0.25))
    else:
        parts.append(block((-x, x), (-y, y), (seat - 0.03, seat), wood))
    back_y = (-y, -y + thick)
    for side in (-1, 1):
        inner, outer = side * (x - thick), side * x
        parts.append(block((min(inner, outer), max(inner, outer)), back_y, (seat, top), wood))
    kind = rng.integers(3)
    if kind == 0:
        for z in np.linspace(seat + 0.12, top - 0.05, 3):
            parts.append(block((-x, x), (-y + 0.005, -y + 0.027), (z - 0.035, z + 0.035), wood))
    elif kind == 1:
        parts.append(block((-x, x), back_y, (top - 0.06, top), wood))
        for cx in np.linspace(-x + 0.08, x - 0.08, 4):
            parts.append(block((cx - 0.012, cx + 0.012), (-y + 0.006, -y + 0.026), (seat, top - 0.06), wood))
    else:
        parts.append(block((-x, x), (-y + 0.004, -y + 0.03), (seat + 0.1, top), fabric_of(rng, style)))
    return assemble("chair", parts, [Support((-x + 0.06, x - 0.06), (-y + 0.08, y - 0.04), seat + 0.02, 0.6)])


def office_chair(rng: np.random.Generator, style: Style) -> Item:
    """A swivel chair on a five-armed base with castors."""
    seat, fabric = uniform(rng, 0.45, 0.52), fabric_of(rng, style, 0.7)
    radius, metal = uniform(rng, 0.27, 0.31), DARK if rng.random() < 0.6 else style.metal
    parts = [cylinder(0.03, (0.08, seat - 0.05), metal), cylinder((0.07, 0.04), (0.06, 0.12), metal)]
    for k in range(5):
        a = 2 * np.pi * k / 5 + np.pi / 2
        tip = (radius * np.cos(a), radius * np.sin(a))
        parts.append(tube([(0, 0, 0.09), (tip[0] * 0.6, tip[1] * 0.6, 0.085), (*tip, 0.065)], 0.02, metal, 5))
        parts.append(cylinder(0.028, (0, 0.055), DARK, tip, sides=8))
    parts.append(pillow((0.5, 0.48, 0.1), (0, 0, seat - 0.03), fabric, 0.35))
    back = pillow((0.46, 0.09, uniform(rng, 0.42, 0.6)), (0, 0, 0), fabric, 0.4)
    height = float(back.bounds[1, 2])
    parts.append(back.rotated(rotation_x(0.14)).moved((0, -0.22, seat + 0.1 + height)))
    parts.append(tube([(0, -0.12, seat - 0.06), (0, -0.24, seat - 0.02), (0, -0.25, seat + 0.22)], 0.02, metal, 6))
    if rng.random() < 0.6:
        for side in (-1, 1):
            x = side * 0.27
            parts.append(tube([(side * 0.2, 0, seat - 0.05), (x, 0, seat - 0.04), (x, 0, seat + 0.2)], 0.014, metal, 6))
            parts.append(block((x - 0.035, x + 0.035), (-0.12, 0.13), (seat + 0.19, seat + 0.215), DARK))
    return assemble("office chair", parts, [Support((-0.15, 0.15), (-0.12, 0.18), seat + 0.025, 0.5)])


def stool(rng: np.random.Generator, style: Style) -> Item:
    """A round stool, low or at bar height."""
    height = uniform(rng, 0.42, 0.5) if rng.random() < 0.7 else uniform(rng, 0.62, 0.72)
    radius, wood = uniform(rng, 0.15, 0.19), wood_of(rng, style, 0.6)
    parts = [cylinder(radius, (height - 0.04, height), wood, sides=18)]
    if rng.random() < 0.4:
        parts.append(
            cylinder((radius * 0.95, radius * 0.85), (height, height + 0.04), fabric_of(rng, style, 0.8), sides=18)
        )
    count, spread = (3 if rng.random() < 0.4 else 4), radius * uniform(rng, 0.9, 1.15)
    for k in range(count):
        a = 2 * np.pi * (k + 0.5) / count
        c, s = np.cos(a), np.sin(a)
        parts.append(
            tube([(spread * c, spread * s, 0), (radius * 0.6 * c, radius * 0.6 * s, height - 0.03)], 0.016, wood)
        )
    ring = [
        (spread * 0.86 * np.cos(a), spread * 0.86 * np.sin(a), height * 0.35) for a in np.linspace(0, 2 * np.pi, 13)
    ]
    parts.append(tube(ring, 0.008, wood, 5))
    half = radius * 0.6
    top = max(float(p.bounds[1, 2]) for p in parts)
    return assemble("stool", parts, [Support((-half, half), (-half, half), top, 1.0)])


def bench(rng: np.random.Generator, style: Style) -> Item:
    """A long bench, bare or with a seat pad."""
    length, depth, height = uniform(rng, 0.9, 1.4), uniform(rng, 0.32, 0.4), uniform(rng, 0.42, 0.47)
    wood, x, y = wood_of(rng, style, 0.4), length / 2, depth / 2
    parts = [block((-x, x), (-y, y), (height - 0.04, height), wood)]
    for side in (-1, 1):
        inner = side * (x - 0.12)
        parts.append(block((inner - 0.02, inner + 0.02), (-y + 0.03, y - 0.03), (0, height - 0.04), wood))
    parts.append(block((-x + 0.12, x - 0.12), (-0.015, 0.015), (0.16, 0.22), wood))
    top = height
    if rng.random() < 0.5:
        top += 0.05
        parts.append(
            pillow((length - 0.04, depth - 0.02, 0.05), (0, 0, height + 0.025), fabric_of(rng, style, 0.7), 0.2)
        )
    return assemble("bench", parts, [Support((-x + 0.05, x - 0.05), (-y + 0.03, y - 0.03), top, 1.2)])


def _upholstered(rng: np.random.Generator, style: Style, category: str, width: float, seats: int) -> Item:
    fabric = fabric_of(rng, style)
    shade, frame = vary(rng, fabric * 0.93, 0.02), wood_of(rng, style, 0.3)
    depth, seat, top = uniform(rng, 0.82, 0.95), uniform(rng, 0.40, 0.45), uniform(rng, 0.74, 0.88)
    arm, arm_top, foot = uniform(rng, 0.10, 0.2), uniform(rng, 0.56, 0.64), uniform(rng, 0.06, 0.14)
    x, y, back = width / 2, depth / 2, 0.2
    parts = legs(x - 0.03, y - 0.03, foot, 0.05, frame, True)
    parts.append(block((-x + 0.01, x - 0.01), (-y, y - 0.03), (foot, seat - 0.14), shade))
    parts.append(block((-x + arm, x - arm), (-y, -y + back - 0.04), (foot, top - 0.06), shade))
    for side in (-1, 1):
        parts.append(
            pillow(
                (arm, depth - 0.02, arm_top - foot), (side * (x - arm / 2), 0, (arm_top + foot) / 2), fabric, 0.18, 20
            )
        )
    inner = width - 2 * arm
    each = inner / seats
    for k in range(seats):
        cx = -inner / 2 + each * (k + 0.5)
        parts.append(pillow((each - 0.01, depth - back, 0.17), (cx, back / 2 - 0.01, seat - 0.07), fabric, 0.22, 20))
        parts.append(
            pillow(
                (each - 0.01, 0.2, top - seat + 0.05), (cx, -y + back - 0.02, (top + seat - 0.03) / 2), fabric, 0.3, 20
            )
        )
    surface = Support((-inner / 2 + 0.03, inner / 2 - 0.03), (-y + back + 0.12, y - 0.08), seat + 0.016, 1.0)
    return assemble(category, parts, [surface])


def sofa(rng: np.random.Generator, style: Style) -> Item:
    """A sofa for two or three."""
    seats = int(rng.integers(2, 4))
    return _upholstered(rng, style, "sofa", uniform(rng, 0.66, 0.76) * seats + 0.3, seats)


def armchair(rng: np.random.Generator, style: Style) -> Item:
    """An upholstered chair for one."""
    return _upholstered(rng, style, "armchair", uniform(rng, 0.78, 0.95), 1)


def ottoman(rng: np.random.Generator, style: Style) -> Item:
    """A soft footstool, round or square."""
    fabric, height = fabric_of(rng, style, 0.7), uniform(rng, 0.34, 0.44)
    size = uniform(rng, 0.42, 0.6)
    if rng.random() < 0.5:
        parts = [pillow((size, size, height), (0, 0, height / 2), fabric, 0.5, 20)]
    else:
        parts = [pillow((size, size, height - 0.06), (0, 0, height / 2 + 0.03), fabric, 0.2, 20)]
        parts += legs(size / 2 - 0.04, size / 2 - 0.04, 0.1, 0.04, wood_of(rng, style), True)
    half = size * 0.25
    return assemble("ottoman", parts, [Support((-half, half), (-half, half), height, 1.0)])
