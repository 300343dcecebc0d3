"""A small hand-made street: ground, walls and boxes for everything that is annotated, some of it moving.

Street frame: x along the road, y to the left, z up, metres; the road is the plane z = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from qa_generation.open3d_native import open3d

GROUND_M = 120.0
GROUND_COLOR = (96, 98, 100)
SKY_COLOR = (176, 204, 232)


@dataclass(frozen=True)
class Block:
    """An upright box that stands at ``position`` (its middle, at time 0) and moves evenly.

    Attributes:
        size: length, width and height, metres.
        heading: direction of its length, radians from x towards y.
        velocity: metres per second.
        color: red, green, blue.
        kind: ``vehicle``, ``pedestrian``, ``sign`` or ``cyclist``, ``unknown``, or empty for what nobody annotated.
        name: id of the annotated object.
    """

    position: tuple[float, float, float]
    size: tuple[float, float, float]
    heading: float = 0.0
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    color: tuple[int, int, int] = (150, 140, 128)
    kind: str = ""
    name: str = ""

    def center(self, time_s: float) -> Float64[np.ndarray, "3"]:
        return np.array(self.position) + time_s * np.array(self.velocity)

    def vertices(self, time_s: float) -> Float64[np.ndarray, "8 3"]:
        """Corners, bit 0 of the number along the length, bit 1 along the width, bit 2 up."""
        signs = np.array([[(n & 1) - 0.5, (n >> 1 & 1) - 0.5, (n >> 2 & 1) - 0.5] for n in range(8)])
        local = signs * np.array(self.size)
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        turned = np.stack(
            [cos * local[:, 0] - sin * local[:, 1], sin * local[:, 0] + cos * local[:, 1], local[:, 2]], axis=1
        )
        return turned + self.center(time_s)


# quads of a block as corner numbers
_SIDES = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))


@dataclass(frozen=True, eq=False)
class Hits:
    """What rays meet first: distance in units of the ray's direction (infinity = sky), block (-1 = ground or sky)."""

    distance: Float32[np.ndarray, " rays"]
    block: Int32[np.ndarray, " rays"]


@dataclass(frozen=True)
class Street:
    """Blocks on a plane, and the car that drives along x from x = 0 at ``speed`` metres per second."""

    blocks: tuple[Block, ...]
    speed: float = 8.0
    # where the street lies in the world, and how it is turned and inclined there (radians: about z, then about y)
    world_position: tuple[float, float, float] = (12_345.678, -23_456.789, 31.25)
    world_turn: tuple[float, float] = (0.7, 0.05)

    @property
    def world_from_street(self) -> Float64[np.ndarray, "4 4"]:
        turn, tilt = self.world_turn
        about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
        about_y = np.array([[math.cos(tilt), 0, math.sin(tilt)], [0, 1, 0], [-math.sin(tilt), 0, math.cos(tilt)]])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = about_z @ about_y, self.world_position
        return pose

    def street_from_vehicle(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """The car's pose: it sways a little from side to side, so that no two poses have the same rotation."""
        yaw = 0.03 * math.sin(1.3 * time_s)
        pose = np.eye(4)
        pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
        pose[:3, 3] = [self.speed * time_s, 0.3 * math.sin(0.9 * time_s), 0.0]
        return pose

    def world_from_vehicle(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        return self.world_from_street @ self.street_from_vehicle(time_s)

    def annotated(self) -> list[Block]:
        return [block for block in self.blocks if block.kind]

    def at(self, time_s: float) -> Snapshot:
        return Snapshot(self.blocks, time_s)


@dataclass(frozen=True)
class Snapshot:
    """The street at one moment, ready for rays."""

    blocks: Sequence[Block]
    time_s: float
    colors: UInt8[np.ndarray, "blocks_and_two 3"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = np.array([*(block.color for block in self.blocks), SKY_COLOR, GROUND_COLOR], dtype=np.uint8)
        object.__setattr__(self, "colors", table)

    @cached_property
    def mesh(self) -> tuple[Float32[np.ndarray, "vertices 3"], Int32[np.ndarray, "triangles 3"]]:
        """Twelve triangles for each block in order, then two for the ground."""
        corners = [block.vertices(self.time_s) for block in self.blocks]
        quads = [[8 * number + corner for corner in side] for number in range(len(corners)) for side in _SIDES]
        base = 8 * len(corners)
        ground = [
            [-GROUND_M, -GROUND_M, 0],
            [GROUND_M, -GROUND_M, 0],
            [GROUND_M, GROUND_M, 0],
            [-GROUND_M, GROUND_M, 0],
        ]
        quads.append([base, base + 1, base + 2, base + 3])
        triangles = [half for a, b, c, d in quads for half in ((a, b, c), (a, c, d))]
        vertices = np.concatenate([*corners, np.array(ground)])
        return vertices.astype(np.float32), np.array(triangles, dtype=np.int32)

    def cast(self, origins: Float64[np.ndarray, "rays 3"], directions: Float64[np.ndarray, "rays 3"]) -> Hits:
        """First hits of rays in the street frame."""
        rays = np.concatenate([np.broadcast_to(origins, directions.shape), directions], axis=1).astype(np.float32)
        answer = self._caster.cast_rays(open3d().core.Tensor.from_numpy(rays), nthreads=1)
        triangle = answer["primitive_ids"].numpy().view(np.int32)
        block = np.where((triangle >= 0) & (triangle < 12 * len(self.blocks)), triangle // 12, -1)
        return Hits(answer["t_hit"].numpy(), block.astype(np.int32))

    def color_of(self, hits: Hits) -> UInt8[np.ndarray, "rays 3"]:
        sky, ground = len(self.blocks), len(self.blocks) + 1
        bare = np.where(np.isfinite(hits.distance), ground, sky)
        return self.colors[np.where(hits.block >= 0, hits.block, bare)]

    @cached_property
    def _caster(self) -> Any:
        vertices, triangles = self.mesh
        scene = open3d().t.geometry.RaycastingScene(nthreads=1)
        to_tensor = open3d().core.Tensor.from_numpy
        scene.add_triangles(to_tensor(vertices), to_tensor(triangles.astype(np.uint32)))
        return scene


def hand_made_street() -> Street:
    """Parked and driving cars, people, signs and a cyclist between two rows of houses; a wall hides one car."""
    blocks = [
        *(Block((x, y, 4.0), (17.0, 6.0, 8.0)) for x in range(-50, 90, 20) for y in (-19.0, 19.0)),
        # a free-standing wall with a car behind it that no camera sees at first
        Block((15.0, -7.2, 1.5), (9.0, 0.3, 3.0), color=(120, 84, 70)),
        _object("vehicle", 1, (15.0, -9.4, 0.8), (4.4, 1.9, 1.6), 0.0, (200, 40, 40)),
        _object("vehicle", 2, (9.0, 5.6, 0.85), (4.8, 2.0, 1.7), 0.02, (40, 70, 200)),
        _object("vehicle", 3, (19.5, 6.0, 0.75), (4.2, 1.8, 1.5), -0.03, (230, 200, 40)),
        _object("vehicle", 4, (31.0, -5.5, 1.3), (6.5, 2.3, 2.6), 0.0, (240, 130, 30)),
        _object("vehicle", 5, (24.0, 0.4, 0.8), (4.6, 1.9, 1.6), 0.0, (150, 60, 190), (7.0, 0.0, 0.0)),
        _object("vehicle", 6, (44.0, 3.4, 0.8), (4.5, 1.9, 1.6), math.pi, (60, 190, 190), (-9.0, 0.0, 0.0)),
        _object("vehicle", 7, (1.0, 7.5, 0.8), (4.5, 1.9, 1.6), 0.4, (110, 200, 60)),
        _object("vehicle", 8, (2.0, -8.0, 0.8), (4.3, 1.8, 1.6), -0.2, (60, 110, 60)),
        _object("pedestrian", 1, (12.0, 9.0, 0.9), (0.6, 0.6, 1.8), 0.3, (250, 120, 180), (0.9, 0.6, 0.0)),
        _object("pedestrian", 2, (7.0, -5.5, 0.85), (0.6, 0.7, 1.7), 1.2, (90, 40, 120)),
        _object("pedestrian", 3, (1.5, 10.5, 0.85), (0.7, 0.6, 1.7), 2.0, (20, 60, 90)),
        _object("pedestrian", 4, (0.0, -11.0, 0.9), (0.6, 0.6, 1.8), 2.0, (250, 250, 160)),
        _object("sign", 1, (11.0, -4.6, 2.3), (0.1, 0.8, 0.8), math.pi, (230, 20, 90)),
        _object("sign", 2, (17.0, 9.3, 2.6), (0.1, 0.9, 0.7), 2.9, (20, 230, 40)),
        _object("sign", 3, (3.0, 11.5, 2.4), (0.8, 0.1, 0.8), 0.1, (15, 15, 20)),
        _object("cyclist", 1, (14.0, 3.2, 0.9), (1.8, 0.7, 1.8), 0.0, (130, 250, 250), (4.5, 0.0, 0.0)),
    ]
    return Street(tuple(blocks))


def _object(
    kind: str,
    number: int,
    position: tuple[float, float, float],
    size: tuple[float, float, float],
    heading: float,
    color: tuple[int, int, int],
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Block:
    return Block(position, size, heading, velocity, color, kind, f"{kind}-{number:02d}-handmade-street")
