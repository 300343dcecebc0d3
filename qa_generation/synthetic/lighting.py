"""Light of a room: lamps, sun through windows, and the soft part of the light, baked into vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from qa_generation.raycast import RayCaster
from qa_generation.synthetic.layout import Room
from qa_generation.synthetic.placement import Arrangement
from qa_generation.synthetic.style import rgb

# ambient occlusion looks this far, metres, in this many directions
AMBIENT_REACH, AMBIENT_RAYS = 1.1, 16
# the sky's part of one window is gathered from this many points of it
WINDOW_POINTS = 4
_UP, _EAST = np.array([0, 0, 1], dtype=np.float32), np.array([1, 0, 0], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Lamp:
    """A lamp: irradiance is ``power`` cos / (r^2 + 0.25); shadows count from ``shade`` metres off the bulb outwards.

    ``size`` is the radius of the glowing disc, metres; ``reach`` how far the lamp is taken into account.
    """

    position: Float32[np.ndarray, "3"]
    power: Float32[np.ndarray, "3"]
    shade: float
    size: float
    reach: float


@dataclass(frozen=True, eq=False)
class Pane:
    """The bright rectangle of a window: ``origin`` plus two edges, in the plane of the wall; normal points inwards."""

    origin: Float64[np.ndarray, "3"]
    along: Float64[np.ndarray, "3"]
    up: Float64[np.ndarray, "3"]
    normal: Float64[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Lighting:
    """All light of one room.

    Attributes:
        ambient_up, ambient_down: what reaches an unshaded face that looks up, or down.
        sky: radiance of the windows.
        sun: irradiance, zero on a grey day; sun_direction: unit vector towards the sun.
    """

    lamps: tuple[Lamp, ...]
    panes: tuple[Pane, ...]
    ambient_up: Float64[np.ndarray, "3"]
    ambient_down: Float64[np.ndarray, "3"]
    sky: Float64[np.ndarray, "3"]
    sun: Float64[np.ndarray, "3"]
    sun_direction: Float64[np.ndarray, "3"]


def draw_lighting(arrangement: Arrangement, rng: np.random.Generator) -> Lighting:
    """A random mood: sunny, grey or evening."""
    panes = window_panes(arrangement.room)
    sunny = bool(panes) and rng.random() < 0.6
    evening = not panes or rng.random() < 0.25
    warm, cool = rgb("fff0d8"), rgb("e4eefc")
    ceiling_power = float(rng.uniform(1.5, 2.3)) * (1.3 if evening else 0.85)
    lamps = []
    above = [p for p in arrangement.placed if p.item.category == "ceiling lamp"]
    for placed in arrangement.placed:
        if placed.item.lamp is None:
            continue
        x, y, z, shade = placed.item.lamp
        at = np.array([*placed.to_room(x, y), placed.position[2] + z], dtype=np.float32)
        if placed.item.category == "ceiling lamp":
            lamps.append(Lamp(at, (warm * ceiling_power / len(above)).astype(np.float32), shade, 0.2, 20.0))
        elif rng.random() < 0.7:
            power = rgb("ffd9a0") * float(rng.uniform(0.12, 0.25))
            lamps.append(Lamp(at, power.astype(np.float32), shade, 0.05, 2.2))
    day = 0.35 if evening else 1.0
    mood = 0.5 * (warm + cool) * float(rng.uniform(0.26, 0.34))
    pane = panes[int(rng.integers(len(panes)))] if panes else None
    return Lighting(
        lamps=tuple(lamps),
        panes=panes,
        ambient_up=mood * 1.1,
        ambient_down=mood * rgb("f0dcc4") * 0.85,
        sky=cool * 1.5 * day,
        sun=rgb("ffeccb") * (float(rng.uniform(1.3, 2.0)) * day if sunny else 0.0),
        sun_direction=_sun_direction(pane, rng),
    )


def window_panes(room: Room) -> tuple[Pane, ...]:
    """The windows of a plan as light-giving rectangles."""
    panes = []
    for wall in room.walls:
        for o in wall.openings:
            if o.kind == "window":
                origin = np.array([*wall.point(o.along[0], 0.005), o.z[0]])
                along = np.array([*wall.direction, 0.0]) * (o.along[1] - o.along[0])
                up = np.array([0, 0, o.z[1] - o.z[0]])
                panes.append(Pane(origin, along, up, np.array([*wall.inward, 0.0])))
    return tuple(panes)


def _sun_direction(pane: Pane | None, rng: np.random.Generator) -> Float64[np.ndarray, "3"]:
    outward = -pane.normal if pane is not None else np.array([1.0, 0, 0])
    azimuth = np.arctan2(outward[1], outward[0]) + rng.uniform(-0.8, 0.8)
    height = np.radians(rng.uniform(25, 50))
    return np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])


def bake(
    lighting: Lighting,
    caster: RayCaster,
    vertices: Float32[np.ndarray, "v 3"],
    normals: Float32[np.ndarray, "v 3"],
    triangles: Float32[np.ndarray, "t 3"],
) -> Float32[np.ndarray, "v 3"]:
    """Irradiance at every vertex from the ambient light, shaded by what is near, and from the sky in the windows."""
    same = _coincident(vertices, normals)
    count = np.bincount(same)
    # neighbouring faces share the light of a common corner: one look for all, and no seams
    points = _group_means(_pulled(vertices, triangles), same, count)
    normals = _group_means(normals, same, count)
    points = points + np.float32(0.004) * normals
    open_share = 1 - _blocked_share(caster, points, normals)
    height = normals[:, 2:] * 0.5 + 0.5
    ambient = lighting.ambient_up * height + lighting.ambient_down * (1 - height)
    out = ambient * (0.3 + 0.7 * open_share)[:, None]
    for pane in lighting.panes:
        out += lighting.sky * _pane_light(caster, pane, points, normals)[:, None]
    return out.astype(np.float32)[same]


def _coincident(vertices: Float32[np.ndarray, "v 3"], normals: Float32[np.ndarray, "v 3"]) -> Int64[np.ndarray, " v"]:
    """A number per vertex, equal for vertices within about 2 mm and with about the same normal."""
    place = np.round((vertices + 1) * 500).astype(np.int64) & 0x1FFF
    facing = np.round((normals + 1) * 10).astype(np.int64)
    key = np.zeros(len(vertices), dtype=np.int64)
    for column, bits in ((place, 13), (facing, 5)):
        for k in range(3):
            key = (key << bits) | column[:, k]
    return np.unique(key, return_inverse=True)[1]


def _group_means(
    values: Float32[np.ndarray, "v 3"], groups: Int64[np.ndarray, " v"], count: Int64[np.ndarray, " g"]
) -> Float32[np.ndarray, "g 3"]:
    return np.stack([np.bincount(groups, values[:, k]) / count for k in range(3)], axis=1).astype(np.float32)


def _pulled(vertices: Float32[np.ndarray, "v 3"], triangles: Float32[np.ndarray, "t 3"]) -> Float32[np.ndarray, "v 3"]:
    """Vertices moved a little to the middle of their faces, off the edges that they share with other things."""
    centers = vertices[triangles].mean(axis=1)
    flat = triangles.reshape(-1)
    count = np.maximum(np.bincount(flat, minlength=len(vertices)), 1)
    mean = np.stack(
        [np.bincount(flat, np.repeat(centers[:, k], 3), minlength=len(vertices)) / count for k in range(3)], axis=1
    )
    return (vertices + 0.12 * (mean - vertices)).astype(np.float32)


def _blocked_share(
    caster: RayCaster, points: Float32[np.ndarray, "v 3"], normals: Float32[np.ndarray, "v 3"]
) -> Float32[np.ndarray, " v"]:
    """Share of cosine-weighted directions in which something is nearer than ``AMBIENT_REACH``."""
    k = np.arange(AMBIENT_RAYS)
    radius, angle = np.sqrt((k + 0.5) / AMBIENT_RAYS), k * 2.399963
    local = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], axis=1).astype(
        np.float32
    )
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, _UP, _EAST)
    tangent = np.cross(normals, helper)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    other = np.cross(normals, tangent)
    rays = np.empty((len(points), AMBIENT_RAYS, 6), dtype=np.float32)
    rays[..., :3] = points[:, None]
    rays[..., 3:] = local @ np.stack([tangent, other, normals], axis=1)
    hits = caster.blocked(rays, far=AMBIENT_REACH)
    return hits.mean(axis=1, dtype=np.float32)


def _pane_light(
    caster: RayCaster,
    pane: Pane,
    points: Float32[np.ndarray, "v 3"],
    normals: Float32[np.ndarray, "v 3"],
) -> Float32[np.ndarray, " v"]:
    """Form factor of the window seen from every vertex, with shadows."""
    area = np.linalg.norm(pane.along) * np.linalg.norm(pane.up)
    out = np.zeros(len(points), dtype=np.float32)
    for a, b in ((0.25, 0.3), (0.75, 0.3), (0.25, 0.7), (0.75, 0.7)):
        target = (pane.origin + a * pane.along + b * pane.up + 0.01 * pane.normal).astype(np.float32)
        to = target - points
        square = (to**2).sum(axis=1)
        weight = (to * normals).sum(axis=1) * -(to @ pane.normal.astype(np.float32)) / np.maximum(square**2, 1e-6)
        weight = np.minimum(weight * np.float32(area / np.pi / WINDOW_POINTS), 0.6)
        lit = np.flatnonzero(weight > 0.002)
        rays = np.concatenate([points[lit], to[lit]], axis=1)
        blocked = caster.blocked(rays, far=0.99)
        out[lit] += np.where(blocked, 0, weight[lit])
    return out
