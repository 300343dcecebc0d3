"""Surfaces of the room itself: floor, ceiling, walls with their openings, skirting boards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from qa_generation.synthetic.layout import Opening, Rect, Room, Wall
from qa_generation.synthetic.parts import block
from qa_generation.synthetic.style import CARPETS, FLOORS, TILES, WHITE, Color, Style, pick, vary
from qa_generation.synthetic.surface import Surface, join

# the depth of window and door reveals, metres
WINDOW_RECESS, DOOR_RECESS = 0.14, 0.05
# light is baked per vertex, so big planes are cut into pieces of about this size, metres
PATCH = 0.3


def build_shell(room: Room, style: Style, rng: np.random.Generator) -> Surface:
    """Floor, ceiling and walls of the room as one surface; openings are left free, their reveals are closed."""
    accent = int(rng.integers(len(room.walls)))
    pattern = str(rng.choice(["plain", "stripes", "dado"], p=[0.6, 0.2, 0.2]))
    skirting = vary(rng, WHITE * 0.97 if rng.random() < 0.7 else style.wood, 0.02)
    parts = [_floor(room, rng), _ceiling(room, style)]
    for index, wall in enumerate(room.walls):
        paint = style.accent_wall if index == accent else style.wall
        parts.append(_wall_surface(wall, room.height, paint, style, pattern))
        parts += [_reveal(wall, opening, paint) for opening in wall.openings]
        parts += _skirting(wall, skirting)
    return join(parts)


def quads(
    corners: Float64[np.ndarray, "quads 4 3"], normal: Float64[np.ndarray, "3"], colors: Float64[np.ndarray, "quads 3"]
) -> Surface:
    """Flat quadrilaterals that share a normal, each with vertices of its own."""
    n = len(corners)
    triangles = (np.array([[0, 1, 2], [0, 2, 3]])[None] + 4 * np.arange(n)[:, None, None]).reshape(-1, 3)
    return Surface(
        vertices=corners.reshape(-1, 3),
        normals=np.tile(normal, (4 * n, 1)),
        colors=np.repeat(np.clip(colors, 0, 1), 4, axis=0),
        glow=np.zeros(4 * n),
        triangles=triangles,
    )


def _level_quads(rects: Float64[np.ndarray, "n 4"], z: float, up: bool, colors: Float64[np.ndarray, "n 3"]) -> Surface:
    x0, y0, x1, y1 = rects.T
    level = np.full(len(rects), z)
    corners = np.stack(
        [np.stack(c, axis=1) for c in ((x0, y0, level), (x1, y0, level), (x1, y1, level), (x0, y1, level))], axis=1
    )
    return quads(corners, np.array([0, 0, 1.0 if up else -1.0]), colors)


def _tiles(
    rect: Rect, size: tuple[float, float], offset: float
) -> tuple[Float64[np.ndarray, "n 4"], Float64[np.ndarray, "n 2"]]:
    """The pieces of a floor of boards that fall into ``rect``, with the (row, column) of the board each belongs to.

    Boards lie along x; row r is shifted by r times ``offset`` of a length, as floors are laid.
    """
    x0, y0, x1, y1 = rect
    length, breadth = size
    out, names = [], []
    for row in range(int(np.floor(y0 / breadth)), int(np.ceil(y1 / breadth))):
        low, high = max(row * breadth, y0), min((row + 1) * breadth, y1)
        shift = (row * offset) % 1.0 * length
        first, last = int(np.floor((x0 - shift) / length)), int(np.ceil((x1 - shift) / length))
        for column in range(first, last):
            left, right = max(column * length + shift, x0), min((column + 1) * length + shift, x1)
            if right - left < 1e-6 or high - low < 1e-6:
                continue
            cuts = np.linspace(left, right, max(1, round((right - left) / (1.4 * PATCH))) + 1)
            out += [(a, low, b, high) for a, b in pairwise(cuts)]
            names += [(row, column)] * (len(cuts) - 1)
    return np.array(out).reshape(-1, 4), np.array(names).reshape(-1, 2)


def _floor(room: Room, rng: np.random.Generator) -> Surface:
    kind = str(rng.choice(["boards", "tiles", "carpet"], p=[0.6, 0.22, 0.18]))
    if kind == "boards":
        size, offset = (float(rng.uniform(0.9, 1.6)), float(rng.uniform(0.13, 0.22))), 0.37
        base, spread, chequer = vary(rng, pick(rng, FLOORS)), 0.07, 1.0
    elif kind == "tiles":
        side = float(rng.uniform(0.33, 0.6))
        size, offset = (side, side), 0.0
        base, spread, chequer = vary(rng, pick(rng, TILES)), 0.025, 0.75 if rng.random() < 0.35 else 1.0
    else:
        size, offset = (PATCH, PATCH), 0.0
        base, spread, chequer = vary(rng, pick(rng, CARPETS)), 0.012, 1.0
    salt = int(rng.integers(1 << 30))
    pieces, names = zip(*(_tiles(r, size, offset) for r in room.rectangles), strict=True)
    rects, boards = np.concatenate(pieces), np.concatenate(names)
    tone = 1 + spread * _noise(boards, salt)
    tone *= np.where(boards.sum(axis=1) % 2 == 0, 1.0, chequer)
    warmth = 0.3 * spread * _noise(boards, salt + 1)
    return _level_quads(rects, 0.0, True, base * tone[:, None] + warmth[:, None] * np.array([1.0, 0.2, -0.8]))


def _noise(names: Float64[np.ndarray, "n 2"], salt: int) -> Float64[np.ndarray, " n"]:
    """About normal noise that depends on a board's name only, so that pieces of one board look alike."""
    rows, inverse = np.unique(names, axis=0, return_inverse=True)
    return np.random.default_rng(salt).standard_normal(len(rows))[inverse.reshape(-1)]


def _ceiling(room: Room, style: Style) -> Surface:
    rects = np.concatenate([_tiles(r, (2 * PATCH, 2 * PATCH), 0.0)[0] for r in room.rectangles])
    return _level_quads(rects, room.height, False, np.tile(style.ceiling, (len(rects), 1)))


def _wall_surface(wall: Wall, height: float, paint: Color, style: Style, pattern: str) -> Surface:
    """The wall cut into patches along a grid that keeps to the edges of its openings."""
    along = _steps([0.0, wall.length, *(s for o in wall.openings for s in o.along)], PATCH)
    up = _steps([0.0, 0.95, height, *(z for o in wall.openings for z in o.z)], 1.5 * PATCH)
    s0, z0 = (g.reshape(-1) for g in np.meshgrid(along[:-1], up[:-1], indexing="ij"))
    s1, z1 = (g.reshape(-1) for g in np.meshgrid(along[1:], up[1:], indexing="ij"))
    middle_s, middle_z = (s0 + s1) / 2, (z0 + z1) / 2
    keep = np.ones(len(s0), dtype=bool)
    for o in wall.openings:
        keep &= ~((middle_s > o.along[0]) & (middle_s < o.along[1]) & (middle_z > o.z[0]) & (middle_z < o.z[1]))
    colors = np.tile(paint, (len(s0), 1))
    if pattern == "stripes":
        stripe = np.floor(middle_s / PATCH).astype(int) % 2 == 0
        colors = np.where(stripe[:, None], paint * 0.93, paint)
    elif pattern == "dado":
        colors = np.where((middle_z < 0.95)[:, None], 0.45 * style.accent_wall + 0.5 * paint, paint)

    def corner(s: Float64[np.ndarray, " n"], z: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        return np.concatenate([wall.start + s[:, None] * wall.direction, z[:, None]], axis=1)

    corners = np.stack([corner(s0, z0), corner(s1, z0), corner(s1, z1), corner(s0, z1)], axis=1)
    return quads(corners[keep], np.array([*wall.inward, 0.0]), colors[keep])


def _steps(edges: list[float], step: float) -> Float64[np.ndarray, " n"]:
    """All ``edges``, and between them as many cuts as keep the pieces near ``step`` long."""
    fixed = np.unique(edges)
    pieces = [np.linspace(a, b, max(1, round((b - a) / step)) + 1)[:-1] for a, b in pairwise(fixed)]
    return np.concatenate([*pieces, fixed[-1:]])


def _reveal(wall: Wall, opening: Opening, paint: Color) -> Surface:
    """The four inner faces of an opening, and for safety a back plate behind it."""
    deep = (WINDOW_RECESS if opening.kind == "window" else DOOR_RECESS) + 0.02
    (s0, s1), (z0, z1) = opening.along, opening.z

    def at(s: float, z: float, off: float) -> Float64[np.ndarray, "3"]:
        return np.array([*wall.point(s, off), z])

    faces = [
        (at(s0, z0, 0), at(s1, z0, 0), at(s1, z0, -deep), at(s0, z0, -deep), np.array([0, 0, 1.0])),
        (at(s0, z1, 0), at(s1, z1, 0), at(s1, z1, -deep), at(s0, z1, -deep), np.array([0, 0, -1.0])),
        (at(s0, z0, 0), at(s0, z1, 0), at(s0, z1, -deep), at(s0, z0, -deep), np.array([*wall.direction, 0])),
        (at(s1, z0, 0), at(s1, z1, 0), at(s1, z1, -deep), at(s1, z0, -deep), np.array([*-wall.direction, 0])),
        (at(s0, z0, -deep), at(s1, z0, -deep), at(s1, z1, -deep), at(s0, z1, -deep), np.array([*wall.inward, 0])),
    ]
    shade = np.clip(0.4 * paint + 0.58, 0, 1)
    return join([quads(np.stack(f[:4])[None], f[4], shade[None]) for f in faces])


def _skirting(wall: Wall, color: Color, height: float = 0.08, thick: float = 0.012) -> list[Surface]:
    """Boards along the foot of the wall, left out at doors."""
    doors = [o.along for o in wall.openings if o.kind == "door"]
    stops = [0.0, *(s for a, b in doors for s in (a - 0.07, b + 0.07)), wall.length]
    out = []
    for low, high in zip(stops[::2], stops[1::2], strict=True):
        a, b = wall.point(low), wall.point(high, thick)
        if high - low > 0.02:
            out.append(
                block((min(a[0], b[0]), max(a[0], b[0])), (min(a[1], b[1]), max(a[1], b[1])), (0, height), color)
            )
    return out
