"""Plans of rooms: a rectangle with pieces cut out of it, its walls, doors and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 in metres


@dataclass(frozen=True)
class Opening:
    """A door or window in a wall: an interval along the wall and one in height, metres."""

    kind: str
    along: tuple[float, float]
    z: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Wall:
    """One straight wall; the room lies to the left of its direction."""

    start: Float64[np.ndarray, "2"]
    direction: Float64[np.ndarray, "2"]
    length: float
    outer: bool
    openings: tuple[Opening, ...] = ()

    @property
    def inward(self) -> Float64[np.ndarray, "2"]:
        """Unit vector from the wall into the room."""
        return np.array([-self.direction[1], self.direction[0]])

    @property
    def yaw(self) -> float:
        """Turn that makes an item's front (+y) look into the room."""
        return float(np.arctan2(self.direction[1], self.direction[0]))

    def point(self, along: float, off: float = 0.0) -> Float64[np.ndarray, "2"]:
        """The place ``along`` metres down the wall and ``off`` metres into the room."""
        return self.start + along * self.direction + off * self.inward


@dataclass(frozen=True)
class Room:
    """The plan: the rectangle (0, 0)-(width, depth) without ``cuts``, ``height`` metres high."""

    width: float
    depth: float
    height: float
    cuts: tuple[Rect, ...] = ()
    walls: tuple[Wall, ...] = field(default=(), compare=False)

    @cached_property
    def grid_lines(self) -> tuple[Float64[np.ndarray, " nx"], Float64[np.ndarray, " ny"]]:
        """Every x and every y at which the outline has a corner."""
        xs = np.unique([0.0, self.width, *(c[i] for c in self.cuts for i in (0, 2))])
        ys = np.unique([0.0, self.depth, *(c[i] for c in self.cuts for i in (1, 3))])
        return xs, ys

    @cached_property
    def cells(self) -> Bool[np.ndarray, "nx ny"]:
        """Which rectangles of the grid of ``grid_lines`` belong to the room."""
        xs, ys = self.grid_lines
        middle_x, middle_y = (xs[:-1] + xs[1:]) / 2, (ys[:-1] + ys[1:]) / 2
        inside = np.ones((len(middle_x), len(middle_y)), dtype=bool)
        for x0, y0, x1, y1 in self.cuts:
            inside &= ~((middle_x > x0) & (middle_x < x1))[:, None] | ~((middle_y > y0) & (middle_y < y1))[None, :]
        return inside

    @property
    def rectangles(self) -> list[Rect]:
        """The floor as rectangles that touch but do not overlap."""
        xs, ys = self.grid_lines
        return [(float(xs[i]), float(ys[j]), float(xs[i + 1]), float(ys[j + 1])) for i, j in np.argwhere(self.cells)]

    @property
    def area(self) -> float:
        """Floor area, square metres."""
        return sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.rectangles)

    def contains(self, points: Float64[np.ndarray, "n 2"], margin: float = 0.0) -> Bool[np.ndarray, " n"]:
        """Which points lie in the room and at least ``margin`` metres from every wall."""
        x, y = points[:, 0], points[:, 1]
        inside = (x >= margin) & (x <= self.width - margin) & (y >= margin) & (y <= self.depth - margin)
        for x0, y0, x1, y1 in self.cuts:
            inside &= (x < x0 - margin) | (x > x1 + margin) | (y < y0 - margin) | (y > y1 + margin)
        return inside


def draw_room(rng: np.random.Generator) -> Room:
    """A random plan with walls, doors and windows: rectangular, L, T, Z or U shaped, or with an alcove."""
    width, depth = float(rng.uniform(3.8, 6.4)), float(rng.uniform(3.5, 5.6))
    height = float(rng.uniform(2.45, 2.9))
    shape = rng.choice(["rectangle", "l", "alcove", "z", "chimney"], p=[0.34, 0.26, 0.18, 0.1, 0.12])
    room = Room(width, depth, height, _cuts(str(shape), width, depth, rng))
    return Room(width, depth, height, room.cuts, _open_walls(_walls(room), height, rng))


def _cuts(shape: str, width: float, depth: float, rng: np.random.Generator) -> tuple[Rect, ...]:
    def mirrored(cut: Rect) -> Rect:
        x0, y0, x1, y1 = cut
        x0, x1 = (width - x1, width - x0) if flip_x else (x0, x1)
        y0, y1 = (depth - y1, depth - y0) if flip_y else (y0, y1)
        return (x0, y0, x1, y1)

    flip_x, flip_y = rng.random() < 0.5, rng.random() < 0.5
    a, b = float(rng.uniform(0.25, 0.45)) * width, float(rng.uniform(0.25, 0.42)) * depth
    cuts: list[Rect] = []
    if shape == "l":
        cuts = [(0, 0, a, b)]
    elif shape == "alcove":
        left, right, deep = 0.22 * width, 0.75 * width, float(rng.uniform(0.5, 0.9))
        cuts = [(0, 0, left, deep), (right, 0, width, deep)]
    elif shape == "z":
        cuts = [(0, 0, 0.3 * width, 0.28 * depth), (0.72 * width, 0.7 * depth, width, depth)]
    elif shape == "chimney":
        middle, half = float(rng.uniform(0.35, 0.65)) * width, float(rng.uniform(0.4, 0.7))
        cuts = [(middle - half, 0, middle + half, float(rng.uniform(0.3, 0.5)))]
    return tuple(mirrored(c) for c in cuts)


def _walls(room: Room) -> list[Wall]:
    """Walls along every side between a cell inside and one outside, neighbours in line joined."""
    xs, ys = room.grid_lines
    inside = np.pad(room.cells, 1)
    walls = []
    nx, ny = room.cells.shape
    for axis, count, across in ((0, ny + 1, nx), (1, nx + 1, ny)):
        lines, other = (xs, ys) if axis == 0 else (ys, xs)
        for k in range(count):
            for sign in (1, -1):
                run: list[int] = []
                for i in range(across + 1):
                    if i < across and _is_side(inside, axis, k, i, sign):
                        run.append(i)
                    elif run:
                        walls.append(
                            _wall(lines[run[0]], lines[run[-1] + 1], other[k], axis, sign, k in (0, count - 1))
                        )
                        run = []
    return walls


def _is_side(inside: Bool[np.ndarray, "x y"], axis: int, line: int, i: int, sign: int) -> bool:
    """Whether cell ``i`` along ``line`` has the room on one side only: above or right of it for ``sign`` 1."""
    cell = (lambda k: inside[i + 1, k]) if axis == 0 else (lambda k: inside[k, i + 1])
    below, above = bool(cell(line)), bool(cell(line + 1))
    return above and not below if sign == 1 else below and not above


def _wall(low: float, high: float, at: float, axis: int, sign: int, outer: bool) -> Wall:
    # the room lies left: walls below it run to +x, right of it to +y, above it to -x, left of it to -y
    forward = sign == 1 if axis == 0 else sign == -1
    begin = low if forward else high
    start = np.array([begin, at]) if axis == 0 else np.array([at, begin])
    direction = np.zeros(2)
    direction[axis] = 1.0 if forward else -1.0
    return Wall(start, direction, float(high - low), outer)


def _open_walls(walls: Sequence[Wall], height: float, rng: np.random.Generator) -> tuple[Wall, ...]:
    """The walls with one or two doors and one to three windows put in where they fit."""
    openings: list[list[Opening]] = [[] for _ in walls]
    wanted = ["door"] * (1 if rng.random() < 0.75 else 2) + ["window"] * int(rng.integers(1, 4))
    sill, top = float(rng.uniform(0.8, 1.0)), min(height - 0.25, float(rng.uniform(2.05, 2.2)))
    door_width, door_height = float(rng.uniform(0.78, 0.9)), float(rng.uniform(1.98, 2.08))
    for kind in wanted:
        for _ in range(12):
            index = int(rng.choice(len(walls), p=_shares(walls)))
            wall = walls[index]
            span = door_width if kind == "door" else float(rng.uniform(0.8, 1.9))
            if (kind == "window" and not wall.outer) or wall.length < span + 0.6:
                continue
            low = float(rng.uniform(0.3, wall.length - span - 0.3))
            z = (0.0, door_height) if kind == "door" else (sill, top)
            if all(low > o.along[1] + 0.35 or low + span < o.along[0] - 0.35 for o in openings[index]):
                openings[index].append(Opening(kind, (low, low + span), z))
                break
    return tuple(
        Wall(w.start, w.direction, w.length, w.outer, tuple(sorted(o, key=lambda p: p.along)))
        for w, o in zip(walls, openings, strict=True)
    )


def _shares(walls: Sequence[Wall]) -> Float64[np.ndarray, " walls"]:
    lengths = np.array([w.length for w in walls])
    return lengths / lengths.sum()
