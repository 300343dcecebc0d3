"""Pictures, depth and instance ids of a room by ray casting, with lamp light, sunlight and cast shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from qa_generation.scene import Mesh
from qa_generation.synthetic.cameras import pixel_rays
from qa_generation.synthetic.lighting import Lamp, Lighting, Pane, bake

# shadow rays start this far from their surface, metres
SHADOW_OFFSET = 0.003
# luminance that the middle of a picture is brought to, before the tone curve
KEY = 0.38
_TABLE_SIZE, _TABLE_MAX = 8192, 8.0
_LUMINANCE = np.array([0.21, 0.72, 0.07], dtype=np.float32)
_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))


def make_caster(mesh: Mesh) -> o3d.t.geometry.RaycastingScene:
    """An Open3D ray caster over the mesh, built on one thread."""
    caster = o3d.t.geometry.RaycastingScene(nthreads=1)
    caster.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))
    return caster


@dataclass(frozen=True, eq=False)
class _Hits:
    """What one grid of rays met; arrays are flat over the pixels."""

    depth_m: Float32[np.ndarray, " n"]
    valid: Bool[np.ndarray, " n"]
    triangle: Int32[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]
    albedo: Float32[np.ndarray, "n 3"]
    baked: Float32[np.ndarray, "n 3"]


class Renderer:
    """Renders views of one room. All light that does not depend on the view is baked at construction."""

    def __init__(
        self,
        mesh: Mesh,
        colors: Float64[np.ndarray, "v 3"],
        normals: Float64[np.ndarray, "v 3"],
        glow: Float64[np.ndarray, " v"],
        lighting: Lighting,
        caster: o3d.t.geometry.RaycastingScene,
    ) -> None:
        self._caster, self._lighting = caster, lighting
        self._instances = mesh.triangle_instances
        smooth = normals.astype(np.float32)
        albedo = (colors**2.2).astype(np.float32)
        soft = bake(lighting, caster, mesh.vertices, smooth, mesh.triangles)
        radiance = albedo * (soft + glow.astype(np.float32)[:, None])
        table = np.concatenate([albedo, smooth, radiance], axis=1)[mesh.triangles]
        self._base = np.ascontiguousarray(table[:, 0])
        self._edge_u = table[:, 1] - table[:, 0]  # contiguous, as differences are
        self._edge_v = table[:, 2] - table[:, 0]
        self._exposure = 1.0
        self._tone = _tone_table()

    def expose(
        self, intrinsics: Float64[np.ndarray, "3 3"], poses: list[Float64[np.ndarray, "4 4"]], size: tuple[int, int]
    ) -> None:
        """Sets one exposure for all views, from coarse looks at the given poses."""
        coarse = (20, 15)
        scale = np.diag([coarse[0] / size[0], coarse[1] / size[1], 1.0])
        light = []
        for pose in poses:
            hits = self._cast(pixel_rays(scale @ intrinsics, pose, coarse))
            light.append(self._shade(hits, coarse) @ _LUMINANCE)
        middle = float(np.exp(np.mean(np.log(np.concatenate(light) + 0.02))))
        self._exposure = KEY / max(middle, 0.02)

    def render(
        self,
        intrinsics: Float64[np.ndarray, "3 3"],
        world_to_camera: Float64[np.ndarray, "4 4"],
        size: tuple[int, int],
        samples: int = 1,
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"], Int32[np.ndarray, "h w"]]:
        """Picture, depth in metres along z (0 = nothing hit) and instance ids; ``samples`` 4 smooths the picture.

        Depth and ids always belong to the exact pixel centres.
        """
        width, height = size
        hits = self._cast(pixel_rays(intrinsics, world_to_camera, size))
        if samples == 1:
            light = self._shade(hits, size)
            picture = self._develop(light)
        else:
            total = np.zeros((width * height, 3), dtype=np.uint16)
            for shift in _SUBPIXELS:
                part = self._cast(pixel_rays(intrinsics, world_to_camera, size, shift))
                total += self._develop(self._shade(part, size))
            picture = ((total + 2) // 4).astype(np.uint8)
        ids = np.where(hits.valid, self._instances.take(hits.triangle), 0).astype(np.int32)
        return picture.reshape(height, width, 3), hits.depth_m.reshape(height, width), ids.reshape(height, width)

    def _cast(self, rays: Float32[np.ndarray, "h w 6"]) -> _Hits:
        answer = self._caster.cast_rays(o3d.core.Tensor(rays), nthreads=1)
        distance = answer["t_hit"].numpy().reshape(-1)
        valid = np.isfinite(distance)
        depth = np.where(valid, distance, np.float32(0))
        triangle = np.where(valid, answer["primitive_ids"].numpy().reshape(-1), 0).astype(np.int32)
        uv = answer["primitive_uvs"].numpy().reshape(-1, 2)
        # take() is several times faster than indexing with brackets here
        values = self._edge_u.take(triangle, axis=0)
        values *= uv[:, :1]
        second = self._edge_v.take(triangle, axis=0)
        second *= uv[:, 1:]
        values += second
        values += self._base.take(triangle, axis=0)
        flat = rays.reshape(-1, 6)
        points = flat[:, :3] + flat[:, 3:] * depth[:, None]
        toward = np.where(_dot(values[:, 3:6], flat[:, 3:]) > 0, np.float32(-1), np.float32(1))
        return _Hits(depth, valid, triangle, points, values[:, 3:6] * toward[:, None], values[:, :3], values[:, 6:9])

    def _shade(self, hits: _Hits, size: tuple[int, int]) -> Float32[np.ndarray, "n 3"]:
        """Light that every pixel sends to the camera, linear."""
        direct = np.zeros_like(hits.albedo)
        start = hits.points + np.float32(SHADOW_OFFSET) * hits.normals
        for lamp in self._lighting.lamps:
            direct += self._lamp_light(lamp, hits, start, size)[:, None] * lamp.power
        if self._lighting.sun.any():
            sun = sum(self._sun_light(pane, hits, start) for pane in self._lighting.panes)
            direct += np.asarray(sun)[:, None] * self._lighting.sun.astype(np.float32)
        direct *= hits.albedo
        direct += hits.baked
        direct[~hits.valid] = 0
        return direct

    def _lamp_light(
        self, lamp: Lamp, hits: _Hits, start: Float32[np.ndarray, "n 3"], size: tuple[int, int]
    ) -> Float32[np.ndarray, " n"]:
        to = lamp.position - hits.points
        square = _dot(to, to)
        cosine = _dot(to, hits.normals) / np.sqrt(square)
        strength = np.maximum(cosine, 0) / (square + np.float32(0.25))
        if lamp.reach < 10:
            strength *= np.maximum(0, 1 - square / np.float32(lamp.reach**2))
        lit = np.flatnonzero(strength > 0.004)
        bulb = _disc_points(lamp, lit, size[0])
        rays = np.empty((len(lit), 6), dtype=np.float32)
        rays[:, :3] = start.take(lit, axis=0)
        rays[:, 3:] = bulb - rays[:, :3]
        # the ray ends where the shade begins
        reach = np.sqrt(square.take(lit))
        rays[:, 3:] *= (np.maximum(reach - np.float32(lamp.shade), np.float32(0.01)) / reach)[:, None]
        blocked = self._caster.test_occlusions(o3d.core.Tensor(rays), tnear=0.0, tfar=1.0, nthreads=1).numpy()
        seen = np.ones(len(strength), dtype=np.float32)
        seen[lit] = ~blocked
        return strength * _soften(seen, hits, size)

    def _sun_light(self, pane: Pane, hits: _Hits, start: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
        """Cosine of the sun on pixels that see it through this window, 0 elsewhere."""
        direction = self._lighting.sun_direction.astype(np.float32)
        out = np.zeros(len(start), dtype=np.float32)
        slope = -float(direction @ pane.normal)
        if slope < 0.05:
            return out
        # where the way to the sun crosses the plane just behind the window's bars
        distance = (
            (start - pane.origin.astype(np.float32)) @ pane.normal.astype(np.float32) + np.float32(0.125)
        ) / slope
        cosine = hits.normals @ direction
        crossing = start + distance[:, None] * direction - pane.origin.astype(np.float32)
        a = crossing @ (pane.along / (pane.along @ pane.along)).astype(np.float32)
        b = crossing @ (pane.up / (pane.up @ pane.up)).astype(np.float32)
        lit = np.flatnonzero((a > 0) & (a < 1) & (b > 0) & (b < 1) & (distance > 0.13) & (cosine > 0))
        if len(lit) == 0:
            return out
        rays = np.concatenate([start[lit], distance[lit, None] * direction], axis=1)
        blocked = self._caster.test_occlusions(o3d.core.Tensor(rays), tnear=0.0, tfar=1.0, nthreads=1).numpy()
        out[lit] = np.where(blocked, 0, cosine[lit])
        return out

    def _develop(self, light: Float32[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "n 3"]:
        scaled = light * np.float32(self._exposure * _TABLE_SIZE / _TABLE_MAX)
        return self._tone.take(np.minimum(scaled, _TABLE_SIZE - 1).astype(np.int32))


def _dot(a: Float32[np.ndarray, "... 3"], b: Float32[np.ndarray, "... 3"]) -> Float32[np.ndarray, "..."]:
    """Scalar products along the last axis, faster than einsum for vectors of three."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _tone_table() -> UInt8[np.ndarray, " entries"]:
    """8-bit sRGB of linear light 0 to 8: a soft shoulder (Reinhard with white point 4), then the display curve."""
    x = (np.arange(_TABLE_SIZE) + 0.5) * _TABLE_MAX / _TABLE_SIZE
    y = np.clip(x * (1 + x / 16) / (1 + x) * 1.45, 0, 1)
    return np.round(255 * y ** (1 / 2.2)).astype(np.uint8)


def _disc_points(lamp: Lamp, pixels: Int32[np.ndarray, " n"], width: int) -> Float32[np.ndarray, "n 3"]:
    """For each pixel one of four points of the glowing disc, so that any 2x2 pixels see all four."""
    row = pixels // width
    corner = ((pixels - row * width) & 1) + 2 * (row & 1)
    angle = np.pi / 2 * np.arange(4) + 0.6
    disc = lamp.size * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return (lamp.position + disc.astype(np.float32)).take(corner, axis=0)


def _soften(seen: Float32[np.ndarray, " n"], hits: _Hits, size: tuple[int, int]) -> Float32[np.ndarray, " n"]:
    """Mean of the shadow over 2x2 pixels of one face, which turns the four bulb points into a soft edge."""
    width, height = size
    grid, normals = seen.reshape(height, width), hits.normals.reshape(height, width, 3)
    depth = hits.depth_m.reshape(height, width)
    total, weight = grid.copy(), np.ones_like(grid)
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
        here, there = (slice(0, height - dy), slice(0, width - dx)), (slice(dy, None), slice(dx, None))
        alike = np.abs(depth[here] - depth[there]) < 0.04 * depth[here]
        alike &= _dot(normals[here], normals[there]) > 0.9
        total[here] += grid[there] * alike
        weight[here] += alike
    return (total / weight).reshape(-1)
