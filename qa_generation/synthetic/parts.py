"""Primitive surfaces that objects are put together from: blocks, lathes, pillows, tubes, leaves, mosaics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from qa_generation.synthetic.style import Color
from qa_generation.synthetic.surface import Surface, Vector

Span = tuple[float, float]

# two neighbouring profile segments of a lathe are shaded as one smooth surface up to this angle
SMOOTH_COSINE = np.cos(np.radians(50))

_QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def _cube() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positions: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    for axis in range(3):
        for side in (0, 1):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            corners = np.zeros((4, 3))
            corners[:, axis] = side
            corners[1:3, u] = 1
            corners[2:4, v] = 1
            normal = np.zeros(3)
            normal[axis] = 2 * side - 1
            triangles.append((_QUAD if side else _QUAD[:, ::-1]) + 4 * len(positions))
            positions.append(corners)
            normals.append(np.tile(normal, (4, 1)))
    return np.concatenate(positions), np.concatenate(normals), np.concatenate(triangles)


_CUBE_POSITIONS, _CUBE_NORMALS, _CUBE_TRIANGLES = _cube()


def block(x: Span, y: Span, z: Span, color: Color, glow: float = 0.0) -> Surface:
    """A box over three intervals, metres."""
    low, high = np.array([x[0], y[0], z[0]]), np.array([x[1], y[1], z[1]])
    return Surface(
        vertices=low + _CUBE_POSITIONS * (high - low),
        normals=_CUBE_NORMALS,
        colors=np.tile(color, (24, 1)),
        glow=np.full(24, glow),
        triangles=_CUBE_TRIANGLES,
    )


def planks(x: Span, y: Span, z: Span, colors: Sequence[Color]) -> Surface:
    """A board over three intervals, glued from one block per colour, side by side along x."""
    edges = np.linspace(x[0], x[1], len(colors) + 1)
    blocks = [block((edges[i], edges[i + 1]), y, z, color) for i, color in enumerate(colors)]
    return Surface(
        vertices=np.concatenate([b.vertices for b in blocks]),
        normals=np.tile(_CUBE_NORMALS, (len(blocks), 1)),
        colors=np.concatenate([b.colors for b in blocks]),
        glow=np.zeros(24 * len(blocks)),
        triangles=np.concatenate([_CUBE_TRIANGLES + 24 * i for i in range(len(blocks))]),
    )


def lathe(
    profile: Sequence[tuple[float, float]],
    color: Color | Sequence[Color],
    center: tuple[float, float] = (0.0, 0.0),
    sides: int = 14,
    glow: float = 0.0,
) -> Surface:
    """The surface swept by ``profile``, points (radius, z) in metres, about the vertical line through ``center``.

    Walk the profile from the bottom up on the outside. ``color`` is one colour or one per profile segment. Corners
    sharper than about 50 degrees stay sharp.
    """
    points = np.asarray(profile, dtype=np.float64)
    step = np.diff(points, axis=0)
    keep = np.linalg.norm(step, axis=1) > 1e-9
    step, lower, upper = step[keep], points[:-1][keep], points[1:][keep]
    outward = np.stack([step[:, 1], -step[:, 0]], axis=1) / np.linalg.norm(step, axis=1, keepdims=True)
    n = len(step)
    joint = (outward[:-1] * outward[1:]).sum(axis=1) > SMOOTH_COSINE
    blend = np.where(joint[:, None], outward[:-1] + outward[1:], 0)
    normal_low, normal_high = outward.copy(), outward.copy()
    normal_low[1:] = np.where(joint[:, None], blend, outward[1:])
    normal_high[:-1] = np.where(joint[:, None], blend, outward[:-1])

    angle = np.arange(sides) * (2 * np.pi / sides)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ring_points = np.stack([lower, upper], axis=1).reshape(2 * n, 2)
    ring_normals = np.stack([normal_low, normal_high], axis=1).reshape(2 * n, 2)
    ring_normals /= np.linalg.norm(ring_normals, axis=1, keepdims=True)
    vertices = _spin(ring_points, circle)
    vertices[:, :2] += center
    shades = np.asarray(color, dtype=np.float64)
    shades = np.tile(shades, (n, 1)) if shades.ndim == 1 else shades[keep]
    return Surface(
        vertices=vertices,
        normals=_spin(ring_normals, circle),
        colors=np.repeat(shades, 2 * sides, axis=0),
        glow=np.full(len(vertices), glow),
        triangles=_ring_triangles(n, sides),
    )


def _spin(rings: Float64[np.ndarray, "rings 2"], circle: Float64[np.ndarray, "sides 2"]) -> Float64[np.ndarray, "v 3"]:
    out = np.empty((len(rings), len(circle), 3))
    out[..., :2] = rings[:, None, :1] * circle
    out[..., 2] = rings[:, None, 1]
    return out.reshape(-1, 3)


def _ring_triangles(strips: int, sides: int) -> np.ndarray:
    i = np.arange(sides)
    j = (i + 1) % sides
    strip = np.concatenate([np.stack([i, j, j + sides], 1), np.stack([i, j + sides, i + sides], 1)])
    return (strip[None] + (2 * sides * np.arange(strips))[:, None, None]).reshape(-1, 3)


def cylinder(
    radius: float | Span,
    z: Span,
    color: Color,
    center: tuple[float, float] = (0.0, 0.0),
    sides: int = 12,
    glow: float = 0.0,
) -> Surface:
    """A closed cylinder, or a cone when ``radius`` is (bottom, top), metres."""
    low, high = radius if isinstance(radius, tuple) else (radius, radius)
    return lathe([(0, z[0]), (low, z[0]), (high, z[1]), (0, z[1])], color, center, sides, glow)


def ball(
    radius: float | Vector, center: Vector, color: Color | Sequence[Color], sides: int = 14, rings: int = 8
) -> Surface:
    """A sphere, or an ellipsoid when ``radius`` has three entries, metres; one colour, or one per ring from below."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    profile = list(zip(np.maximum(np.cos(angle), 0), np.sin(angle), strict=True))
    unit = lathe(profile, color, sides=sides)
    return unit.stretched(np.broadcast_to(np.asarray(radius, dtype=np.float64), 3)).moved(center)


def pillow(
    size: Vector, center: Vector, color: Color, roundness: float = 0.45, sides: int = 16, rings: int = 8
) -> Surface:
    """A puffed box (superellipsoid) of full ``size`` about ``center``, metres; ``roundness`` 1 is an ellipsoid."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[:, None]
    phi = (np.arange(sides) + 0.5) * (2 * np.pi / sides)

    def power(x: np.ndarray, exponent: float) -> np.ndarray:
        return np.sign(x) * np.abs(x) ** exponent

    def shape(e: float) -> np.ndarray:
        flat = power(np.cos(theta), e)
        return np.stack(
            [
                flat * power(np.cos(phi), e),
                flat * power(np.sin(phi), e),
                np.broadcast_to(power(np.sin(theta), e), (rings + 1, sides)),
            ],
            axis=-1,
        ).reshape(-1, 3)

    half = np.asarray(size, dtype=np.float64) / 2
    normals = shape(2 - roundness) / half
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    points = shape(roundness)
    # the widest ring would fall short of the full width where no sample lies on an axis
    points /= np.abs(points).max(axis=0)
    i = np.arange(sides)
    j = (i + 1) % sides
    strip = np.concatenate([np.stack([i, j, j + sides], 1), np.stack([i, j + sides, i + sides], 1)])
    triangles = (strip[None] + (sides * np.arange(rings))[:, None, None]).reshape(-1, 3)
    n = len(points)
    return Surface(points * half + np.asarray(center), normals, np.tile(color, (n, 1)), np.zeros(n), triangles)


def tube(path: Sequence[Vector], radius: float, color: Color, sides: int = 7) -> Surface:
    """A round bar along a polyline, metres; its ends are open."""
    points = np.asarray(path, dtype=np.float64)
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    helper = np.eye(3)[np.abs(tangents).mean(axis=0).argmin()]
    side = np.cross(tangents, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangents, side)
    angle = np.arange(sides) * (2 * np.pi / sides)
    normals = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    vertices = (points[:, None] + radius * normals).reshape(-1, 3)
    i = np.arange(sides)
    j = (i + 1) % sides
    strip = np.concatenate([np.stack([i, j, j + sides], 1), np.stack([i, j + sides, i + sides], 1)])
    triangles = (strip[None] + (sides * np.arange(len(points) - 1))[:, None, None]).reshape(-1, 3)
    n = len(vertices)
    return Surface(vertices, normals.reshape(-1, 3), np.tile(color, (n, 1)), np.zeros(n), triangles)


def mosaic(
    origin: Vector,
    edge_u: Vector,
    edge_v: Vector,
    colors: Float64[np.ndarray, "rows columns 3"],
    glow: float = 0.0,
    smooth: bool = False,
) -> Surface:
    """A flat rectangle of coloured cells: columns run along ``edge_u``, rows along ``edge_v``, both in metres.

    With ``smooth`` the colours belong to the (rows x columns) grid points and blend; otherwise every cell has its own.
    """
    start, u, v = (np.asarray(a, dtype=np.float64) for a in (origin, edge_u, edge_v))
    rows, columns = colors.shape[:2]
    normal = np.cross(u, v)
    normal /= np.linalg.norm(normal)
    if smooth:
        column, row = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
        vertices = start + column.reshape(-1, 1) * u + row.reshape(-1, 1) * v
        a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
        triangles = _grid_triangles(a, columns)
        shades = colors.reshape(-1, 3)
    else:
        left, low = (g.reshape(-1, 1) for g in np.meshgrid(np.arange(columns), np.arange(rows)))
        right = (left + np.array([0, 1, 1, 0])) / columns
        up = (low + np.array([0, 0, 1, 1])) / rows
        vertices = (start + right[..., None] * u + up[..., None] * v).reshape(-1, 3)
        triangles = (_QUAD[None] + 4 * np.arange(rows * columns)[:, None, None]).reshape(-1, 3)
        shades = np.repeat(colors.reshape(-1, 3), 4, axis=0)
    n = len(vertices)
    return Surface(vertices, np.tile(normal, (n, 1)), shades.astype(np.float64), np.full(n, glow), triangles)


def _grid_triangles(corner: np.ndarray, columns: int) -> np.ndarray:
    """Two triangles for the grid cell above and right of each vertex in ``corner``."""
    right, above, opposite = corner + 1, corner + columns, corner + columns + 1
    return np.concatenate([np.stack([corner, right, opposite], 1), np.stack([corner, opposite, above], 1)])


def drape(x: Span, z: Span, folds: int, depth: float, color: Color) -> Surface:
    """A hanging cloth over two intervals, metres, that waves by ``depth`` about the plane y = 0, ``folds`` times."""
    columns = 6 * folds + 1
    t = np.linspace(0, 1, columns)
    wave = 2 * np.pi * folds * t
    slope = depth / 2 * np.cos(wave) * 2 * np.pi * folds / (x[1] - x[0])
    normal = np.stack([-slope, np.ones(columns), np.zeros(columns)], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    rows = 5
    vertices = np.empty((rows, columns, 3))
    vertices[..., 0], vertices[..., 1] = x[0] + t * (x[1] - x[0]), depth / 2 * np.sin(wave)
    vertices[..., 2] = np.linspace(*z, rows)[:, None]
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    triangles = _grid_triangles(a, columns)
    shade = np.tile(np.asarray(color) * (0.93 + 0.07 * np.sin(wave))[:, None], (rows, 1))
    n = rows * columns
    return Surface(vertices.reshape(-1, 3), np.tile(normal, (rows, 1)), np.clip(shade, 0, 1), np.zeros(n), triangles)


def leaf(base: Vector, heading: float, length: float, width: float, rise: float, color: Color) -> Surface:
    """A bent blade that leaves ``base`` towards ``heading`` (radians), climbs by about ``rise`` and droops, metres."""
    t = np.array([0.0, 0.3, 0.65, 1.0])
    out = np.array([np.cos(heading), np.sin(heading), 0.0])
    across = np.array([-out[1], out[0], 0.0])
    spine = (
        np.asarray(base)
        + (t * length)[:, None] * out
        + (rise * (1.9 * t - 1.2 * t**2))[:, None] * np.array([0, 0, 1.0])
    )
    half = (width / 2 * np.array([0.25, 1.0, 0.8, 0.05]))[:, None] * across
    vertices = np.stack([spine - half, spine + half], axis=1).reshape(-1, 3)
    slope = np.gradient(spine, axis=0)
    normals = np.cross(slope, across)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    a = 2 * np.arange(3)
    triangles = np.concatenate([np.stack([a, a + 1, a + 3], 1), np.stack([a, a + 3, a + 2], 1)])
    shade = np.asarray(color) * np.repeat([0.8, 0.95, 1.05, 1.1], 2)[:, None]
    return Surface(vertices, np.repeat(-normals, 2, axis=0), np.clip(shade, 0, 1), np.zeros(8), triangles)
