"""Small things that stand on furniture."""

from __future__ import annotations

import numpy as np

from qa_generation.synthetic.objects.item import Item, assemble, uniform
from qa_generation.synthetic.parts import ball, block, cylinder, lathe, leaf, pillow, tube
from qa_generation.synthetic.style import ACCENTS, DARK, FABRICS, LEAVES, WHITE, Color, Style, pick, rgb, vary
from qa_generation.synthetic.surface import Surface, rotation_x


def mug(rng: np.random.Generator, style: Style) -> Item:
    """A mug with a handle."""
    r, z = uniform(rng, 0.038, 0.05), uniform(rng, 0.085, 0.115)
    color = vary(rng, pick(rng, (*ACCENTS, WHITE)))
    inside = np.clip(color * 0.8 + 0.15, 0, 1)
    profile = [(0, 0), (r * 0.9, 0), (r, z), (r - 0.005, z), (r * 0.85, 0.012), (0, 0.012)]
    parts = [lathe(profile, [color, color, color, inside, rgb("4b2f20")], sides=16)]
    arc = [(r * 0.92 + 0.026 * np.sin(a), 0, z * 0.5 + z * 0.3 * np.cos(a)) for a in np.linspace(0, np.pi, 7)]
    parts.append(tube(arc, 0.006, color, 6))
    return assemble("mug", parts)


def bottle(rng: np.random.Generator, style: Style) -> Item:
    """A glass or plastic bottle with a label and a cap."""
    r, z = uniform(rng, 0.033, 0.045), uniform(rng, 0.22, 0.32)
    glass = vary(rng, pick(rng, tuple(rgb(t) for t in ("2f5d3a", "6b4a23", "7fa8b8", "284b63", "8c2f39", "b7c9a8"))))
    label, cap = vary(rng, pick(rng, (*ACCENTS, WHITE))), pick(rng, (*ACCENTS, DARK))
    profile = [(0, 0), (r, 0), (r, z * 0.2), (r, z * 0.45), (r, z * 0.6), (r * 0.36, z * 0.76), (r * 0.34, z * 0.92)]
    parts = [lathe(profile, [glass, glass, label, glass, glass, glass], sides=16)]
    parts.append(cylinder(r * 0.42, (z * 0.92, z), cap, sides=10))
    return assemble("bottle", parts)


def vase(rng: np.random.Generator, style: Style) -> Item:
    """A turned vase, sometimes with a few stems and blossoms."""
    z, belly, neck = uniform(rng, 0.18, 0.32), uniform(rng, 0.055, 0.095), uniform(rng, 0.02, 0.045)
    color, at = vary(rng, pick(rng, ACCENTS)), uniform(rng, 0.3, 0.5)
    t = np.linspace(0, 1, 8)
    radius = neck + (belly - neck) * np.exp(-(((t - at) / 0.28) ** 2))
    outer = list(zip(radius, t * z, strict=True))
    parts = [
        lathe([(0, 0), *outer, (radius[-1] - 0.006, z), (radius[-2] - 0.006, z * 0.85), (0, z * 0.84)], color, sides=18)
    ]
    if rng.random() < 0.5:
        blossom = vary(rng, pick(rng, ACCENTS))
        for _ in range(int(rng.integers(3, 6))):
            a, lean, up = uniform(rng, 0, 2 * np.pi), uniform(rng, 0.02, 0.09), uniform(rng, 0.12, 0.24)
            tip = (lean * np.cos(a), lean * np.sin(a), z + up)
            parts.append(
                tube([(0, 0, z * 0.85), (tip[0] * 0.3, tip[1] * 0.3, z + up * 0.5), tip], 0.003, pick(rng, LEAVES), 4)
            )
            parts.append(ball((0.024, 0.024, 0.018), tip, vary(rng, blossom), 8, 5))
    return assemble("vase", parts)


def bowl(rng: np.random.Generator, style: Style) -> Item:
    """A bowl, empty or with fruit."""
    r, z = uniform(rng, 0.09, 0.15), uniform(rng, 0.05, 0.085)
    color = vary(rng, pick(rng, (*ACCENTS, WHITE)))
    t = np.linspace(0, np.pi / 2, 5)
    outer = [(r * (0.35 + 0.65 * np.sin(a)), z * (1 - np.cos(a))) for a in t]
    inner = [(x * 0.93, y + 0.006) for x, y in outer[::-1]]
    inner[0] = (inner[0][0], z)
    parts = [lathe([(0, 0), *outer, *inner, (0, 0.006)], color, sides=20)]
    if rng.random() < 0.5:
        fruit = pick(rng, tuple(rgb(t) for t in ("d9492f", "e39b2d", "7fb04a", "c94f6d")))
        size = r * 0.3
        for k in range(4):
            a = k * np.pi / 2 + 0.3
            at = (
                (0.0, 0.0, z + size * 0.5)
                if k == 3
                else (r * 0.42 * np.cos(a), r * 0.42 * np.sin(a), z * 0.35 + size * 0.8)
            )
            parts.append(ball(size, at, vary(rng, fruit), 12, 7))
    return assemble("bowl", parts)


def books(rng: np.random.Generator, style: Style) -> Item:
    """A few books: a lying stack, or a standing row."""
    parts: list[Surface] = []
    paper = rgb("efe8d6")
    if rng.random() < 0.5:
        z = 0.0
        for _ in range(int(rng.integers(2, 5))):
            x, y, thick = uniform(rng, 0.15, 0.2) / 2, uniform(rng, 0.2, 0.26) / 2, uniform(rng, 0.02, 0.045)
            parts += [p.turned(uniform(rng, -0.2, 0.2)).moved((0, 0, z)) for p in _book(rng, x, y, thick, paper)]
            z += thick
        return assemble("books", parts)
    at = 0.0
    for _ in range(int(rng.integers(4, 10))):
        thick, height, depth = uniform(rng, 0.018, 0.045), uniform(rng, 0.19, 0.25), uniform(rng, 0.13, 0.17)
        cover = vary(rng, pick(rng, ACCENTS + FABRICS), 0.08)
        parts.append(block((at, at + thick), (-depth, 0), (0, height), cover))
        parts.append(
            block((at + 0.003, at + thick - 0.003), (-depth + 0.004, -0.004), (height, height + 0.0008), paper)
        )
        parts.append(block((at, at + thick), (0, 0.0012), (height * 0.7, height * 0.8), cover * 0.6 + 0.3))
        at += thick + 0.001
    return assemble("books", parts)


def _book(rng: np.random.Generator, x: float, y: float, thick: float, paper: np.ndarray) -> list[Surface]:
    cover = vary(rng, pick(rng, ACCENTS + FABRICS), 0.08)
    return [
        block((-x, x), (-y, y), (0, 0.004), cover),
        block((-x, x), (-y, y), (thick - 0.004, thick), cover),
        block((-x + 0.004, x - 0.006), (-y + 0.006, y - 0.006), (0.004, thick - 0.004), paper),
        block((-x, -x + 0.004), (-y, y), (0, thick), cover),
    ]


def plant(rng: np.random.Generator, style: Style) -> Item:
    """A plant in a pot: small for a table or tall for the floor."""
    tall = rng.random() < 0.45
    pot = uniform(rng, 0.14, 0.2) if tall else uniform(rng, 0.06, 0.09)
    z = pot * uniform(rng, 1.4, 1.9)
    clay, green = vary(rng, pick(rng, (*ACCENTS, WHITE, rgb("b5653f")))), pick(rng, LEAVES)
    profile = [(0, 0), (pot * 0.72, 0), (pot, z), (pot * 0.9, z), (pot * 0.88, z * 0.88), (0, z * 0.88)]
    parts = [lathe(profile, [clay, clay, clay, clay * 0.7, rgb("4a3626")], sides=18)]
    if tall and rng.random() < 0.5:
        top = uniform(rng, 1.0, 1.5)
        parts.append(cylinder((0.022, 0.014), (z * 0.85, top * 0.8), rgb("7a5a3a"), sides=7))
        for _ in range(14):
            at = np.array([rng.normal(0, 0.13), rng.normal(0, 0.13), top * 0.85 + rng.normal(0, 0.13)])
            at = np.clip(at, [-0.24, -0.24, top * 0.6], [0.24, 0.24, top * 1.1])
            parts.append(ball(rng.uniform(0.08, 0.14, 3) * [1, 1, 0.75], at, vary(rng, green, 0.1), 9, 6))
        return assemble("plant", parts)
    reach = uniform(rng, 0.3, 0.45) if tall else uniform(rng, 0.12, 0.2)
    count = int(rng.integers(16, 26)) if tall else int(rng.integers(12, 18))
    for k in range(count):
        heading, up = 2.4 * k + rng.normal(0, 0.2), uniform(rng, 0.4, 1.9) * reach
        out = reach * uniform(rng, 0.35, 1.0)
        parts.append(leaf((0, 0, z * 0.86), heading, out, reach * uniform(rng, 0.22, 0.4), up, vary(rng, green, 0.1)))
    return assemble("plant", parts)


def cushion(rng: np.random.Generator, style: Style) -> Item:
    """A square scatter pillow leaning back a little."""
    side, color = uniform(rng, 0.36, 0.46), vary(rng, pick(rng, ACCENTS + FABRICS))
    puff = pillow((side, side, uniform(rng, 0.11, 0.15)), (0, 0, 0), color, 0.62, 20, 8)
    return assemble("pillow", [puff.rotated(rotation_x(uniform(rng, -1.25, -1.0)))])


def bed_pillow(rng: np.random.Generator, style: Style) -> Item:
    """A bed pillow lying flat."""
    color = vary(rng, WHITE * 0.97 if rng.random() < 0.6 else pick(rng, FABRICS), 0.03)
    size = (uniform(rng, 0.52, 0.64), uniform(rng, 0.36, 0.42), uniform(rng, 0.12, 0.15))
    return assemble("pillow", [pillow(size, (0, 0, 0), color, 0.55, 20, 8)])


def toy_ball(rng: np.random.Generator, style: Style) -> Item:
    """A ball with coloured bands."""
    r, a, b = uniform(rng, 0.08, 0.13), pick(rng, ACCENTS), pick(rng, (*ACCENTS, WHITE))
    sphere = ball(r, (0, 0, 0), [vary(rng, (a, b)[k % 2], 0.02) for k in range(10)], 18, 10)
    return assemble("ball", [sphere.rotated(rotation_x(uniform(rng, 0, np.pi)))])


def teddy_bear(rng: np.random.Generator, style: Style) -> Item:
    """A sitting teddy bear."""
    fur = vary(rng, pick(rng, tuple(rgb(t) for t in ("a9743f", "7a4f2c", "d2b38a", "b8a79a", "c98a8a"))))
    light, k = np.clip(fur * 1.25, 0, 1), uniform(rng, 0.8, 1.35)
    blobs: list[tuple[tuple[float, ...], tuple[float, ...], Color]] = [
        ((0.085, 0.075, 0.1), (0, 0, 0.1), fur),
        ((0.072, 0.066, 0.064), (0, 0.005, 0.235), fur),
        ((0.032, 0.03, 0.026), (0, 0.064, 0.222), light),
        ((0.05, 0.02, 0.06), (0, 0.062, 0.1), light),
        ((0.01, 0.008, 0.008), (0, 0.093, 0.23), DARK),
    ]
    for s in (-1, 1):
        blobs += [
            ((0.026, 0.016, 0.026), (s * 0.055, 0, 0.295), fur),
            ((0.03, 0.034, 0.068), (s * 0.098, 0.03, 0.125), fur),
            ((0.036, 0.075, 0.036), (s * 0.06, 0.085, 0.036), fur),
            ((0.03, 0.01, 0.03), (s * 0.06, 0.156, 0.038), light),
            ((0.008, 0.006, 0.009), (s * 0.026, 0.066, 0.25), DARK),
        ]
    return assemble("teddy bear", [ball(np.array(r) * k, np.array(c) * k, color, 10, 6) for r, c, color in blobs])


def backpack(rng: np.random.Generator, style: Style) -> Item:
    """A standing backpack with a front pocket and straps."""
    color = vary(rng, pick(rng, ACCENTS + FABRICS))
    width, depth, z = uniform(rng, 0.27, 0.34), uniform(rng, 0.16, 0.2), uniform(rng, 0.38, 0.48)
    parts = [pillow((width, depth, z), (0, 0, z / 2), color, 0.4, 20, 10)]
    parts.append(
        pillow(
            (width * 0.75, 0.1, z * 0.42), (0, depth / 2 + 0.01, z * 0.3), vary(rng, color * 0.85, 0.03), 0.35, 16, 8
        )
    )
    parts.append(
        block((-width * 0.3, width * 0.3), (depth / 2 + 0.055, depth / 2 + 0.064), (z * 0.42, z * 0.435), DARK)
    )
    for s in (-1, 1):
        x = s * width * 0.25
        back = -depth / 2
        parts.append(
            tube(
                [
                    (x, back + 0.03, z * 0.92),
                    (x, back - 0.03, z * 0.75),
                    (x, back - 0.03, z * 0.4),
                    (x, back + 0.03, z * 0.15),
                ],
                0.013,
                DARK,
                6,
            )
        )
    parts.append(
        tube(
            [(0.03 * np.cos(a), -0.02, z - 0.01 + 0.045 * np.sin(a)) for a in np.linspace(0, np.pi, 6)], 0.007, DARK, 5
        )
    )
    return assemble("backpack", parts)


def candle(rng: np.random.Generator, style: Style) -> Item:
    """A thick candle on a plate."""
    r, z, wax = uniform(rng, 0.03, 0.042), uniform(rng, 0.09, 0.18), vary(rng, pick(rng, (*ACCENTS, WHITE)))
    parts = [lathe([(0, 0), (r * 1.7, 0), (r * 2, 0.012), (0, 0.012)], style.metal, sides=16)]
    parts.append(lathe([(r, 0.012), (r, z), (r * 0.8, z - 0.006), (0, z - 0.008)], wax, sides=14))
    parts.append(cylinder(0.002, (z - 0.008, z + 0.012), DARK, sides=5))
    parts.append(lathe([(0, z + 0.01), (0.007, z + 0.022), (0, z + 0.045)], rgb("ffc66b"), sides=8, glow=1.5))
    return assemble("candle", parts)
