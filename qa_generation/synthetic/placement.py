"""Where things stand: collision tests between oriented boxes, and the ways to put an item somewhere free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from qa_generation.scene import OrientedBox
from qa_generation.synthetic.layout import Rect, Room, Wall
from qa_generation.synthetic.objects.item import Item, Support
from qa_generation.synthetic.surface import Surface, rotation_z

# boxes may come this close without counting as touching, metres
TOLERANCE = 0.002
# furniture stays this far from the wall behind it (skirting boards stand 12 mm proud), metres
WALL_GAP = 0.016
# free floor in front of a door, metres
DOOR_CLEARANCE = 0.75


class Block(NamedTuple):
    """A box that stands upright: centre, half extents in its own frame, turn, interval in height; metres, radians."""

    center: tuple[float, float]
    half: tuple[float, float]
    yaw: float
    z: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Placed:
    """An item at a place in the room; ``parent`` is the index of what it stands on, -1 for room surfaces."""

    item: Item
    position: tuple[float, float, float]
    yaw: float
    parent: int = -1

    @property
    def block(self) -> Block:
        """The upright box around the item."""
        x, y, z = self.item.size
        return Block(self.position[:2], (x / 2, y / 2), self.yaw, (self.position[2], self.position[2] + float(z)))

    @property
    def surface(self) -> Surface:
        """The item's surface in the room."""
        return self.item.surface.turned(self.yaw).moved(self.position)

    @property
    def obb(self) -> OrientedBox:
        """The oriented box that holds the item exactly."""
        size = self.item.size
        center = np.add(self.position, (0, 0, size[2] / 2))
        return OrientedBox(center, rotation_z(self.yaw).T, size)

    def to_room(self, x: float, y: float) -> tuple[float, float]:
        """A point of the item's frame seen from above, in the room."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return float(self.position[0] + c * x - s * y), float(self.position[1] + s * x + c * y)


def block_rows(blocks: Sequence[Block]) -> Float64[np.ndarray, "n 7"]:
    """The boxes as numbers: centre x y, half extents x y, turn, lower and upper height."""
    return np.array([(*b.center, *b.half, b.yaw, *b.z) for b in blocks], dtype=np.float64).reshape(-1, 7)


def overlapping(
    one: Block, numbers: Float64[np.ndarray, "n 7"], tolerance: float = TOLERANCE
) -> Bool[np.ndarray, " n"]:
    """Which boxes, given as `block_rows`, share more than ``tolerance`` metres with ``one`` (separating axis test)."""
    gap = numbers[:, :2] - one.center
    # most boxes are far away or at another height: look at the others only
    reach = np.hypot(*one.half) + np.hypot(numbers[:, 2], numbers[:, 3])
    hit = gap[:, 0] ** 2 + gap[:, 1] ** 2 < reach**2
    hit &= (numbers[:, 5] < one.z[1] - tolerance) & (numbers[:, 6] > one.z[0] + tolerance)
    near = np.flatnonzero(hit)
    if len(near):
        hit[near] = _shadows_cross(one, numbers[near], gap[near], tolerance)
    return hit


def _shadows_cross(
    one: Block, numbers: Float64[np.ndarray, "n 7"], gap: Float64[np.ndarray, "n 2"], tolerance: float
) -> Bool[np.ndarray, " n"]:
    """Whether the footprints overlap when seen along each of the four edge directions."""
    half_x, half_y, yaw = numbers[:, 2], numbers[:, 3], numbers[:, 4]
    x, y = gap[:, 0], gap[:, 1]
    across, along = np.abs(np.sin(yaw - one.yaw)), np.abs(np.cos(yaw - one.yaw))
    c, s = np.cos(one.yaw), np.sin(one.yaw)
    crossing = np.abs(c * x + s * y) < one.half[0] + half_x * along + half_y * across - tolerance
    crossing &= np.abs(c * y - s * x) < one.half[1] + half_x * across + half_y * along - tolerance
    c, s = np.cos(yaw), np.sin(yaw)
    crossing &= np.abs(c * x + s * y) < half_x + one.half[0] * along + one.half[1] * across - tolerance
    crossing &= np.abs(c * y - s * x) < half_y + one.half[0] * across + one.half[1] * along - tolerance
    return crossing


def _upright(rect: Rect) -> Block:
    x0, y0, x1, y1 = rect
    return Block(((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2), 0.0, (0.0, 9.0))


@dataclass(eq=False)
class Arrangement:
    """The room being furnished. Every ``place_...`` method returns the index of what it placed, or None."""

    room: Room
    rng: np.random.Generator
    placed: list[Placed] = field(default_factory=list)
    _blocks: Float64[np.ndarray, "n 7"] = field(default_factory=lambda: block_rows([]))
    _keep_free: Float64[np.ndarray, "n 7"] = field(default_factory=lambda: block_rows([]))
    _cuts: Float64[np.ndarray, "n 7"] = field(default_factory=lambda: block_rows([]))

    def __post_init__(self) -> None:
        keep_free = []
        for wall in self.room.walls:
            for opening in wall.openings:
                if opening.kind == "door":
                    middle = wall.point(sum(opening.along) / 2, DOOR_CLEARANCE / 2)
                    half = (opening.along[1] - opening.along[0]) / 2
                    keep_free.append(Block((middle[0], middle[1]), (half, DOOR_CLEARANCE / 2), wall.yaw, (0, 2.2)))
                else:
                    middle = wall.point(sum(opening.along) / 2, 0.1)
                    half = (opening.along[1] - opening.along[0]) / 2 + 0.05
                    keep_free.append(Block((middle[0], middle[1]), (half, 0.1), wall.yaw, (opening.z[0] - 0.04, 3.0)))

        self._keep_free = block_rows(keep_free)
        self._cuts = block_rows([_upright(rect) for rect in self.room.cuts])

    def add(self, item: Item, position: tuple[float, float, float], yaw: float, parent: int = -1) -> int:
        """Puts the item there without asking."""
        placed = Placed(item, position, yaw, parent)
        self.placed.append(placed)
        self._blocks = np.concatenate([self._blocks, block_rows([placed.block])])
        return len(self.placed) - 1

    def fits(self, placed: Placed, gap: float = 0.0) -> bool:
        """Whether the item stays in the room and out of everything but its parent; ``gap`` is kept around, metres."""
        b = placed.block
        if b.z[1] > self.room.height - 0.01 or not self._inside(b):
            return False
        if placed.parent < 0 and overlapping(b, self._keep_free).any():
            return False
        wide = Block(b.center, (b.half[0] + gap, b.half[1] + gap), b.yaw, b.z)
        hits = overlapping(wide, self._blocks)
        if placed.parent >= 0:
            hits[placed.parent] = False
        return not hits.any()

    def is_free(self, placed: Placed) -> bool:
        """Whether the item's box shares no space with that of any other; walls are not asked."""
        return not overlapping(placed.block, self._blocks).any()

    def _inside(self, b: Block) -> bool:
        c, s = np.cos(b.yaw), np.sin(b.yaw)
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        corners = np.array(b.center) + (signs * b.half) @ np.array([[c, s], [-s, c]])
        if not self.room.contains(corners, 0.012).all():
            return False
        return not overlapping(b, self._cuts).any()

    def try_at(
        self, item: Item, x: float, y: float, yaw: float, z: float = 0.0, parent: int = -1, gap: float = 0.0
    ) -> int | None:
        """Places the item exactly there if it fits."""
        if not self.fits(Placed(item, (x, y, z), yaw, parent), gap):
            return None
        return self.add(item, (x, y, z), yaw, parent)

    def place_at_wall(self, item: Item, tries: int = 40, gap: float = 0.03) -> int | None:
        """Places the item on the floor with its back to a wall."""
        sx, sy = item.size[0], item.size[1]
        walls = [w for w in self.room.walls if w.length > sx + 0.05]
        for _ in range(tries if walls else 0):
            wall = walls[int(self.rng.integers(len(walls)))]
            along = float(self.rng.uniform(sx / 2 + 0.02, wall.length - sx / 2 - 0.02))
            at = wall.point(along, sy / 2 + WALL_GAP)
            index = self.try_at(item, float(at[0]), float(at[1]), wall.yaw, gap=gap)
            if index is not None:
                return index
        return None

    def place_free(self, item: Item, tries: int = 20, gap: float = 0.1, yaw: float | None = None) -> int | None:
        """Places the item somewhere on the floor, turned as given or at random."""
        reach = float(np.hypot(*item.size[:2])) / 2
        for _ in range(tries):
            x = float(
                self.rng.uniform(min(reach, self.room.width / 2), max(self.room.width - reach, self.room.width / 2))
            )
            y = float(
                self.rng.uniform(min(reach, self.room.depth / 2), max(self.room.depth - reach, self.room.depth / 2))
            )
            turn = float(self.rng.uniform(-np.pi, np.pi)) if yaw is None else yaw
            index = self.try_at(item, x, y, turn, gap=gap)
            if index is not None:
                return index
        return None

    def place_on(
        self, item: Item, parent: int, tries: int = 8, yaw: float | None = None, level: int | None = None
    ) -> int | None:
        """Places the item on a support of ``parent``, on level ``level`` or any; ``yaw`` is relative to the parent."""
        base = self.placed[parent]
        supports = base.item.supports
        for _ in range(tries if supports else 0):
            support = supports[int(self.rng.integers(len(supports))) if level is None else level]
            turn = float(self.rng.uniform(-0.6, 0.6)) if yaw is None else yaw
            spot = self._spot(item, support, turn)
            if spot is None:
                continue
            x, y = base.to_room(*spot)
            index = self.try_at(item, x, y, base.yaw + turn, base.position[2] + support.z + 0.0005, parent, gap=0.008)
            if index is not None:
                return index
        return None

    def _spot(self, item: Item, support: Support, turn: float) -> tuple[float, float] | None:
        """A random place for the item's centre that keeps its footprint on the support, in the parent's frame."""
        sx, sy, sz = item.size
        c, s = abs(np.cos(turn)), abs(np.sin(turn))
        half_x, half_y = (c * sx + s * sy) / 2, (s * sx + c * sy) / 2
        low_x, high_x = support.x[0] + half_x, support.x[1] - half_x
        low_y, high_y = support.y[0] + half_y, support.y[1] - half_y
        if sz > support.headroom or low_x > high_x or low_y > high_y:
            return None
        return float(self.rng.uniform(low_x, high_x)), float(self.rng.uniform(low_y, high_y))

    def place_on_wall(self, item: Item, z: float, tries: int = 12) -> int | None:
        """Hangs the item with its lower edge at height ``z`` on a free piece of wall."""
        sx, sy, sz = item.size
        walls = [w for w in self.room.walls if w.length > sx + 0.1]
        for _ in range(tries if walls else 0):
            wall = walls[int(self.rng.integers(len(walls)))]
            along = float(self.rng.uniform(sx / 2 + 0.05, wall.length - sx / 2 - 0.05))
            if _hits_opening(wall, along - sx / 2, along + sx / 2, z, z + float(sz)):
                continue
            at = wall.point(along, sy / 2 + 0.002)
            placed = Placed(item, (float(at[0]), float(at[1]), z), wall.yaw)
            if (
                not overlapping(placed.block._replace(half=(sx / 2 + 0.04, sy / 2)), self._blocks).any()
                and z + sz < self.room.height
            ):
                return self.add(item, placed.position, wall.yaw)
        return None


def _hits_opening(wall: Wall, low: float, high: float, z0: float, z1: float) -> bool:
    return any(
        low < o.along[1] + 0.12 and high > o.along[0] - 0.12 and z0 < o.z[1] + 0.12 and z1 > o.z[0] - 0.05
        for o in wall.openings
    )
