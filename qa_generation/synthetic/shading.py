"""Light that lamps and the sun send straight to what a picture shows, with cast shadows.

Arrays over pixels have their channels first, as in `render`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int64

from qa_generation.raycast import RayCaster
from qa_generation.synthetic.lighting import Lamp, Lighting, Pane

# shadow rays start this far from their surface, metres
SHADOW_OFFSET = 0.003
# how far behind the plane of the wall the bars of a window end, metres
_BEHIND_BARS = 0.125
# a lamp that adds less than this to a pixel is not asked for its shadow
_DIM = 0.004
# shadows blend between neighbours whose normals agree this well, and whose depth differs by this share per pixel
_SAME_FACE_COSINE, _SAME_FACE_DEPTH = 0.9, 0.03


@dataclass(frozen=True, eq=False)
class Hits:
    """What one grid of rays met; arrays are flat over the pixels, ``triangle`` is 0 where nothing was hit."""

    size: tuple[int, int]
    depth_m: Float32[np.ndarray, " n"]
    valid: Bool[np.ndarray, " n"]
    triangle: Int64[np.ndarray, " n"]
    points: Float32[np.ndarray, "3 n"]
    normals: Float32[np.ndarray, "3 n"]
    albedo: Float32[np.ndarray, "3 n"]
    baked: Float32[np.ndarray, "3 n"]

    @cached_property
    def starts(self) -> Float32[np.ndarray, "n 3"]:
        """Where shadow rays leave, a little off the surface."""
        return np.ascontiguousarray((self.points + np.float32(SHADOW_OFFSET) * self.normals).T)

    @cached_property
    def alike(self) -> dict[tuple[int, int], Float32[np.ndarray, "h w"]]:
        """1 where the pixel (rows, columns) further shows the same smooth face, for steps of one and two pixels."""
        width, height = self.size
        depth, normals = self.depth_m.reshape(height, width), self.normals.reshape(3, height, width)
        out = {}
        for rows, columns in ((0, 1), (0, 2), (1, 0), (2, 0)):
            here = np.s_[..., : height - rows, : width - columns]
            there = np.s_[..., rows:, columns:]
            near = np.float32(_SAME_FACE_DEPTH * (rows + columns)) * depth[here]
            same = np.abs(depth[here] - depth[there]) < near
            same &= dot(normals[here], normals[there]) > _SAME_FACE_COSINE
            out[rows, columns] = same.astype(np.float32)
        return out


def dot(a: Float32[np.ndarray, "3 *n"], b: Float32[np.ndarray, "3 *n"]) -> Float32[np.ndarray, "*n"]:
    """Scalar products over the first axis."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def direct_light(hits: Hits, lighting: Lighting, caster: RayCaster) -> Float32[np.ndarray, "3 n"]:
    """Irradiance of every pixel from lamps and sun."""
    out = np.zeros_like(hits.points)
    for lamp in lighting.lamps:
        light = _lamp_light(lamp, hits, caster)
        for k in range(3):
            out[k] += light * lamp.power[k]
    if lighting.sun.any():
        for pane in lighting.panes:
            sunlight = _sun_light(pane, lighting.sun_direction, hits, caster)
            if sunlight is not None:
                for k in range(3):
                    out[k] += sunlight * np.float32(lighting.sun[k])
    return out


def _lamp_light(lamp: Lamp, hits: Hits, caster: RayCaster) -> Float32[np.ndarray, " n"]:
    to = lamp.position[:, None] - hits.points
    square = dot(to, to)
    strength = dot(to, hits.normals)
    np.maximum(strength, 0, out=strength)
    strength /= np.sqrt(square) * (square + np.float32(0.25))
    if lamp.reach < 10:
        strength *= np.maximum(0, 1 - square / np.float32(lamp.reach**2))
    lit = np.flatnonzero(strength > _DIM)
    if len(lit) == 0:
        return strength
    rays = np.empty((len(lit), 6), dtype=np.float32)
    rays[:, :3] = hits.starts.take(lit, axis=0)
    rays[:, 3:] = _disc_points(lamp, lit, hits.size[0])
    rays[:, 3:] -= rays[:, :3]
    # the ray ends where the shade begins
    part = 1 - np.float32(lamp.shade) / np.sqrt(square.take(lit))
    np.maximum(part, np.float32(0.01), out=part)
    for k in (3, 4, 5):
        rays[:, k] *= part
    blocked = caster.blocked(rays, far=1.0)
    seen = np.ones(len(strength), dtype=np.float32)
    seen[lit[blocked]] = 0
    strength *= _soften(seen, hits)
    return strength


def _sun_light(
    pane: Pane, sun_direction: np.ndarray, hits: Hits, caster: RayCaster
) -> Float32[np.ndarray, " n"] | None:
    """Cosine of the sun on pixels that see it through this window, 0 elsewhere; None if the window sees no sun."""
    slope = -float(sun_direction @ pane.normal)
    if slope < 0.05:
        return None
    direction, normal, origin = (a.astype(np.float32)[:, None] for a in (sun_direction, pane.normal, pane.origin))
    offset = hits.points - origin
    # where the way to the sun crosses the plane just behind the window's bars
    distance = (dot(offset, normal) + np.float32(_BEHIND_BARS)) / np.float32(slope)
    inside = dot(hits.normals, direction) > 0
    inside &= distance > np.float32(_BEHIND_BARS)
    for edge in (pane.along, pane.up):
        axis = (edge / (edge @ edge)).astype(np.float32)[:, None]
        place = dot(offset, axis) + distance * dot(direction, axis)
        inside &= (place > 0) & (place < 1)
    lit = np.flatnonzero(inside)
    if len(lit) == 0:
        return None
    out = np.zeros(len(distance), dtype=np.float32)
    rays = np.empty((len(lit), 6), dtype=np.float32)
    rays[:, :3] = hits.starts.take(lit, axis=0)
    rays[:, 3:] = distance.take(lit)[:, None] * direction[:, 0]
    blocked = caster.blocked(rays, far=1.0)
    free = lit[~blocked]
    out[free] = dot(hits.normals[:, free], direction)
    return out


def _disc_points(lamp: Lamp, pixels: Int64[np.ndarray, " n"], width: int) -> Float32[np.ndarray, "n 3"]:
    """For each pixel one of sixteen points of the glowing disc, so that any 4x4 pixels see all of them."""
    row = pixels // width
    cell = ((pixels - row * width) & 3) + 4 * (row & 3)
    # neighbours get points far from each other: a sunflower visited in steps of five
    k = np.arange(16) * 5 % 16
    radius, angle = lamp.size * np.sqrt((k + 0.5) / 16), 2.399963 * k
    disc = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], axis=1)
    return (lamp.position + disc.astype(np.float32)).take(cell, axis=0)


def _soften(seen: Float32[np.ndarray, " n"], hits: Hits) -> Float32[np.ndarray, " n"]:
    """Mean of the shadow over 4x4 pixels of one face, which turns the sixteen bulb points into a soft edge."""
    width, height = hits.size
    grid = seen.reshape(height, width)
    for rows, columns in ((0, 1), (1, 0)):
        near, far = hits.alike[rows, columns], hits.alike[2 * rows, 2 * columns]
        total, weight = grid.copy(), np.ones_like(grid)
        here, there = np.s_[: height - rows, : width - columns], np.s_[rows:, columns:]
        total[here] += grid[there] * near
        weight[here] += near
        total[there] += grid[here] * near
        weight[there] += near
        here, there = np.s_[: height - 2 * rows, : width - 2 * columns], np.s_[2 * rows :, 2 * columns :]
        total[here] += grid[there] * far
        weight[here] += far
        total /= weight
        grid = total
    return grid.reshape(-1)
