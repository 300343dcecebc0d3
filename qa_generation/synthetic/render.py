"""Pictures, depth and instance ids of a room by ray casting, with lamp light, sunlight and cast shadows.

Arrays over pixels have their channels first: numpy works along the long last axis at several times the speed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from qa_generation.raycast import RayCaster
from qa_generation.scene import Mesh
from qa_generation.synthetic.cameras import pixel_rays
from qa_generation.synthetic.lighting import Lighting, bake
from qa_generation.synthetic.shading import Hits, direct_light, dot

# luminance that the middle of a picture is brought to, before the tone curve
KEY = 0.38
_LUMINANCE = np.array([0.21, 0.72, 0.07], dtype=np.float32)
_TABLE_SIZE, _TABLE_MAX = 4096, 8.0
_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
# places of the channels in the table of what a triangle's corners look like
_ALBEDO, _NORMAL, _BAKED, _CHANNELS = slice(0, 3), slice(3, 6), slice(6, 9), 9
_PIECE = 1 << 14


class Renderer:
    """Renders views of one room. All light that does not depend on the view is baked at construction."""

    def __init__(
        self,
        mesh: Mesh,
        colors: Float64[np.ndarray, "v 3"],
        normals: Float64[np.ndarray, "v 3"],
        glow: Float64[np.ndarray, " v"],
        lighting: Lighting,
        caster: RayCaster,
    ) -> None:
        self._caster, self._lighting = caster, lighting
        self._instances = mesh.triangle_instances
        smooth = normals.astype(np.float32)
        albedo = (colors**2.2).astype(np.float32)
        soft = bake(lighting, caster, mesh.vertices, smooth, mesh.triangles)
        radiance = albedo * (soft + glow.astype(np.float32)[:, None])
        corner = np.concatenate([albedo, smooth, radiance], axis=1)[mesh.triangles]
        # a row per triangle: its first corner, and the ways from there to the other two
        self._table = np.concatenate([corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]], axis=1)
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
            light.append(dot(self._shade(hits), _LUMINANCE[:, None]))
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
            picture = self._develop(self._shade(hits))
        else:
            total = np.zeros((width * height, 3), dtype=np.uint16)
            for shift in _SUBPIXELS:
                part = self._cast(pixel_rays(intrinsics, world_to_camera, size, shift))
                total += self._develop(self._shade(part))
            picture = ((total + 2) // 4).astype(np.uint8)
        ids = np.where(hits.valid, self._instances.take(hits.triangle), 0).astype(np.int32)
        return picture.reshape(height, width, 3), hits.depth_m.reshape(height, width), ids.reshape(height, width)

    def _cast(self, rays: Float32[np.ndarray, "h w 6"]) -> Hits:
        nearest = self._caster.nearest(rays)
        distance = nearest.distance.reshape(-1)
        valid = np.isfinite(distance)
        depth = np.where(valid, distance, np.float32(0))
        triangle = np.where(valid, nearest.triangle.reshape(-1), 0).astype(np.int64)
        values = self._interpolated(triangle, nearest.uv.reshape(-1, 2))
        origin, direction = rays[0, 0, :3, None], np.ascontiguousarray(rays.reshape(-1, 6)[:, 3:].T)
        normals = values[_NORMAL]
        normals *= np.where(dot(normals, direction) > 0, np.float32(-1), np.float32(1))
        direction *= depth
        direction += origin
        height, width = rays.shape[:2]
        return Hits((width, height), depth, valid, triangle, direction, normals, values[_ALBEDO], values[_BAKED])

    def _interpolated(
        self, triangle: Int64[np.ndarray, " n"], uv: Float32[np.ndarray, "n 2"]
    ) -> Float32[np.ndarray, "9 n"]:
        """All channels at barycentric places in triangles, piece by piece, so that the pieces stay in the cache."""
        out = np.empty((_CHANNELS, len(triangle)), dtype=np.float32)
        for start in range(0, len(triangle), _PIECE):
            piece = slice(start, start + _PIECE)
            # take() is several times faster than indexing with brackets here
            rows = self._table.take(triangle[piece], axis=0).T
            u, v = np.ascontiguousarray(uv[piece].T)
            part = out[:, piece]
            np.multiply(rows[_CHANNELS : 2 * _CHANNELS], u, out=part)
            part += rows[2 * _CHANNELS :] * v
            part += rows[:_CHANNELS]
        return out

    def _shade(self, hits: Hits) -> Float32[np.ndarray, "3 n"]:
        """Light that every pixel sends to the camera, linear."""
        light = direct_light(hits, self._lighting, self._caster)
        light *= hits.albedo
        light += hits.baked
        light *= hits.valid
        return light

    def _develop(self, light: Float32[np.ndarray, "3 n"]) -> UInt8[np.ndarray, "n 3"]:
        # the table's steps are even in the square root of light: fine where it is dark
        light *= np.float32(self._exposure / _TABLE_MAX)
        np.sqrt(light, out=light)
        light *= np.float32(_TABLE_SIZE - 1)
        np.minimum(light, np.float32(_TABLE_SIZE - 1), out=light)
        return np.ascontiguousarray(self._tone.take(light.astype(np.int32)).T)


def _tone_table() -> UInt8[np.ndarray, " entries"]:
    """8-bit sRGB of linear light 0 to 8: a soft shoulder (Reinhard with white point 4), then the display curve."""
    x = _TABLE_MAX * (np.arange(_TABLE_SIZE) / (_TABLE_SIZE - 1)) ** 2
    y = np.clip(x * (1 + x / 16) / (1 + x) * 1.45, 0, 1)
    return np.round(255 * y ** (1 / 2.2)).astype(np.uint8)
