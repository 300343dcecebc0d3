"""Things with a plug: screens, lamps, a clock."""

from __future__ import annotations

import numpy as np

from qa_generation.synthetic.objects.item import Item, assemble, uniform
from qa_generation.synthetic.parts import ball, block, cylinder, lathe, mosaic, tube
from qa_generation.synthetic.style import ACCENTS, BLACK, DARK, WHITE, Style, pick, rgb, vary
from qa_generation.synthetic.surface import Surface, rotation_x

_WARM = rgb("ffe2b0")


def _screen(rng: np.random.Generator, width: float, z: tuple[float, float], y: float) -> Surface:
    """A screen facing +y that shows a coloured picture, or is dark."""
    origin, u, v = (width / 2, y, z[0]), (-width, 0, 0), (0, 0, z[1] - z[0])
    if rng.random() < 0.4:
        sheen = np.linspace(0.03, 0.12, 4)[:, None, None] * np.ones((4, 4, 3)) + [0, 0.005, 0.015]
        return mosaic(origin, u, v, sheen, smooth=True)
    base, other = pick(rng, ACCENTS), pick(rng, ACCENTS)
    blend = np.linspace(0, 1, 6)[:, None, None]
    picture = (1 - blend) * base + blend * other + rng.normal(0, 0.06, (6, 8, 3))
    return mosaic(origin, u, v, np.clip(picture, 0, 1), glow=0.6, smooth=bool(rng.random() < 0.6))


def tv(rng: np.random.Generator, style: Style) -> Item:
    """A wide flat screen on two feet."""
    width = uniform(rng, 0.85, 1.3)
    height, x = width * 0.57, width / 2
    parts = [block((-x, x), (-0.025, 0.02), (0.05, 0.05 + height), BLACK)]
    parts.append(_screen(rng, width - 0.03, (0.065, 0.035 + height), 0.0205))
    for side in (-1, 1):
        at = side * x * 0.6
        parts.append(block((at - 0.015, at + 0.015), (-0.11, 0.11), (0, 0.012), DARK))
        parts.append(block((at - 0.012, at + 0.012), (-0.015, 0.015), (0.012, 0.05), DARK))
    return assemble("tv", parts)


def monitor(rng: np.random.Generator, style: Style) -> Item:
    """A computer screen on a column."""
    width, case = uniform(rng, 0.45, 0.64), DARK if rng.random() < 0.7 else rgb("c9ccd0")
    height, x, low = width * 0.58, width / 2, 0.1
    parts = [block((-x, x), (-0.02, 0.02), (low, low + height), case)]
    parts.append(_screen(rng, width - 0.024, (low + 0.014, low + height - 0.012), 0.0205))
    parts.append(block((-0.03, 0.03), (-0.04, -0.02), (0.01, low + height * 0.5), case))
    parts.append(block((-0.12, 0.12), (-0.1, 0.08), (0, 0.012), case))
    return assemble("monitor", parts)


def laptop(rng: np.random.Generator, style: Style) -> Item:
    """An open notebook computer."""
    x, y = uniform(rng, 0.30, 0.36) / 2, uniform(rng, 0.21, 0.25) / 2
    case = vary(rng, rgb("b9bdc2") if rng.random() < 0.6 else rgb("3a3d42"), 0.04)
    parts = [block((-x, x), (-y, y), (0, 0.016), case)]
    keys = np.tile(rgb("2a2b2e"), (4, 10, 1)) * rng.uniform(0.8, 1.3, (4, 10, 1))
    parts.append(mosaic((-x * 0.86, -y * 0.75, 0.0165), (x * 1.72, 0, 0), (0, y * 0.95, 0), np.clip(keys, 0, 1)))
    parts.append(block((-x * 0.3, x * 0.3), (y * 0.35, y * 0.85), (0.016, 0.0166), case * 0.85))
    lid = [block((-x, x), (-0.008, 0), (0, 2 * y), case), _screen(rng, 2 * x - 0.02, (0.012, 2 * y - 0.012), 0.0005)]
    tilt = rotation_x(uniform(rng, 0.2, 0.45))
    parts += [p.rotated(tilt).moved((0, -y, 0.018)) for p in lid]
    return assemble("laptop", parts)


def lamp(rng: np.random.Generator, style: Style) -> Item:
    """A table lamp with a shade on a turned foot."""
    foot, height = vary(rng, pick(rng, ACCENTS)), uniform(rng, 0.32, 0.5)
    low, high, shade = uniform(rng, 0.1, 0.15), uniform(rng, 0.06, 0.1), uniform(rng, 0.14, 0.2)
    belly = uniform(rng, 0.04, 0.075)
    neck = height - shade
    profile = [
        (0, 0),
        (0.06, 0),
        (0.06, 0.012),
        (0.03, 0.03),
        (belly, neck * 0.45),
        (0.014, neck * 0.85),
        (0.012, height - 0.06),
    ]
    parts = [lathe(profile, foot, sides=16)]
    cloth = vary(rng, rgb("f3e6cd"), 0.04)
    parts.append(
        lathe(
            [(low, height - shade), (high, height), (high - 0.004, height), (low - 0.004, height - shade)],
            cloth,
            sides=18,
            glow=0.5,
        )
    )
    return assemble("lamp", parts, lamp=(0, 0, height - shade * 0.4, low + 0.06))


def floor_lamp(rng: np.random.Generator, style: Style) -> Item:
    """A standing lamp with a shade."""
    height, metal = uniform(rng, 1.4, 1.7), style.metal
    low, high, shade = uniform(rng, 0.17, 0.24), uniform(rng, 0.1, 0.17), uniform(rng, 0.22, 0.3)
    parts = [
        cylinder((0.15, 0.14), (0, 0.025), metal, sides=20),
        cylinder(0.012, (0.025, height - 0.05), metal, sides=8),
    ]
    cloth = vary(rng, rgb("f5ead6") if rng.random() < 0.7 else pick(rng, ACCENTS), 0.04)
    ring = [(low, height - shade), (high, height), (high - 0.004, height), (low - 0.004, height - shade)]
    parts.append(lathe(ring, cloth, sides=20, glow=0.5))
    return assemble("floor lamp", parts, lamp=(0, 0, height - shade * 0.4, low + 0.1))


def ceiling_lamp(rng: np.random.Generator, style: Style) -> Item:
    """A pendant or a flat ceiling light; it hangs from its upper end."""
    cloth = vary(rng, rgb("f6eddc"), 0.03)
    if rng.random() < 0.5:
        radius, drop = uniform(rng, 0.18, 0.26), uniform(rng, 0.35, 0.6)
        bowl = [(radius * np.cos(a), 0.16 * np.sin(a)) for a in np.linspace(0, np.pi / 2 - 0.15, 5)]
        parts = [lathe(bowl, vary(rng, pick(rng, ACCENTS)), sides=22, glow=0.12)]
        parts.append(lathe([(0.0, 0.02), (radius * 0.96, 0.01)], _WARM, sides=22, glow=0.9))
        parts.append(cylinder(0.006, (0.14, drop), DARK, sides=6))
        parts.append(cylinder(0.05, (drop - 0.03, drop), style.metal))
        return assemble("ceiling lamp", parts, lamp=(0, 0, 0.0, radius + 0.05))
    radius = uniform(rng, 0.17, 0.24)
    dome = [(radius * np.cos(a), 0.1 - 0.1 * np.sin(a)) for a in np.linspace(np.pi / 2, 0, 5)]
    parts = [lathe(dome, cloth, sides=22, glow=0.8), cylinder(radius + 0.015, (0.1, 0.125), style.metal, sides=22)]
    return assemble("ceiling lamp", parts, lamp=(0, 0, -0.02, radius + 0.05))


def clock(rng: np.random.Generator, style: Style) -> Item:
    """A round wall clock."""
    radius, rim = uniform(rng, 0.13, 0.2), vary(rng, DARK if rng.random() < 0.5 else pick(rng, ACCENTS))
    face = [(0, 0), (radius, 0), (radius, 0.035), (radius - 0.015, 0.035), (radius - 0.018, 0.02), (0, 0.02)]
    parts = [lathe(face, [rim, rim, rim, rim, WHITE], sides=28)]
    for a in np.arange(12) * np.pi / 6:
        tick = block((-0.005, 0.005), (radius * 0.72, radius * 0.84), (0.02, 0.023), BLACK)
        c, s = np.cos(a), np.sin(a)
        parts.append(tick.rotated(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])))
    for length, width in ((0.5, 0.008), (0.68, 0.005)):
        a = uniform(rng, 0, 2 * np.pi)
        hand = block((-width, width), (-0.02, radius * length), (0.023, 0.026), BLACK)
        c, s = np.cos(a), np.sin(a)
        parts.append(hand.rotated(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])))
    # the face was turned about z; now it looks along +y
    return assemble("clock", [p.rotated(rotation_x(-np.pi / 2)) for p in parts])


def speaker(rng: np.random.Generator, style: Style) -> Item:
    """A loudspeaker with two cones."""
    x, y, z = uniform(rng, 0.16, 0.22) / 2, uniform(rng, 0.18, 0.24) / 2, uniform(rng, 0.3, 0.42)
    case = vary(rng, style.wood if rng.random() < 0.5 else DARK)
    parts = [
        block((-x, x), (-y, y), (0, z), case),
        block((-x + 0.008, x - 0.008), (y, y + 0.004), (0.008, z - 0.008), BLACK),
    ]
    for radius, height in ((x * 0.72, z * 0.34), (x * 0.4, z * 0.76)):
        cone = lathe(
            [(radius, 0), (radius, 0.008), (radius * 0.85, 0.01), (radius * 0.3, 0.002), (0, 0.004)],
            rgb("8b8f94"),
            sides=18,
        )
        parts.append(cone.rotated(rotation_x(-np.pi / 2)).moved((0, y + 0.004, height)))
    return assemble("speaker", parts)


def fan(rng: np.random.Generator, style: Style) -> Item:
    """A table fan: foot, stem, ring and blades."""
    radius, stem = uniform(rng, 0.13, 0.17), uniform(rng, 0.12, 0.2)
    color, blade = vary(rng, pick(rng, ACCENTS)), vary(rng, WHITE * 0.95, 0.02)
    middle = stem + radius
    parts = [cylinder((0.1, 0.08), (0, 0.025), color, sides=18), cylinder(0.014, (0.025, middle), color, sides=8)]
    for y, scale in ((0.03, 1.0), (0.085, 1.0)):
        ring = [
            (radius * scale * np.cos(a), y, middle + radius * scale * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 21)
        ]
        parts.append(tube(ring, 0.005, style.metal, 5))
    for k in range(4):
        vane = block((-0.035, 0.035), (0.05, 0.056), (0.02, radius * 0.9), blade)
        a = k * np.pi / 2 + 0.4
        c, s = np.cos(a), np.sin(a)
        parts.append(vane.rotated(np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])).moved((0, 0, middle)))
    parts.append(ball((0.03, 0.05, 0.03), (0, 0.04, middle), color, 10, 6))
    return assemble("fan", parts)
