"""Films a mesh from around: pictures, exact masks and poses, and sparse points with tracks as a matcher would find.

The lens is COLMAP's: x right, y down, z forward, one focal length, a radial term, the centre of the first pixel at
(0.5, 0.5). Nothing here is shared with the reader of the layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from qa_generation.raycast import RayCaster
from qa_generation.synthetic.surface import Surface

_SUN = np.array([0.5, -0.3, 0.8]) / np.linalg.norm([0.5, -0.3, 0.8])
# a matcher finds a point in this share of the pictures that show it, and needs three of them for a track
_FOUND, _SHORTEST_TRACK = 0.7, 3
# texture does not match at steeper angles than this cosine
_LEAST_COSINE = 0.25


@dataclass(frozen=True)
class TurntableConfig:
    """How an object is filmed.

    Attributes:
        views: pictures, evenly spread over the arc.
        size: (width, height), pixels.
        focal: focal length over the longer side.
        radial: first radial coefficient of the lens.
        arc_deg: how far round the camera goes; 360 is a full turn.
        elevation_deg: lowest and highest angle above the level, reached in waves.
        distance: nearest and farthest camera, in diameters of the object.
        aim_error_deg, roll_deg: standard deviation of the hand's tremor.
        points: surface points offered to the matcher.
    """

    views: int = 30
    size: tuple[int, int] = (320, 240)
    focal: float = 1.1
    radial: float = 0.04
    arc_deg: float = 360.0
    elevation_deg: tuple[float, float] = (10.0, 45.0)
    distance: tuple[float, float] = (1.6, 2.2)
    aim_error_deg: float = 1.5
    roll_deg: float = 1.5
    points: int = 1500

    @property
    def focal_px(self) -> float:
        """Focal length, pixels."""
        return self.focal * max(self.size)


@dataclass(frozen=True, eq=False)
class Footage:
    """A filmed object, metres, +z up, standing on z = 0.

    Attributes:
        config: how it was filmed.
        world_to_camera: true poses.
        images, masks: pictures (RGB) and where they show the object.
        points, colors: sparse points with a track.
        found: which view's matcher found which point.
        pixels: where, COLMAP's convention; NaN where not found.
    """

    config: TurntableConfig
    world_to_camera: Float64[np.ndarray, "views 4 4"]
    images: tuple[UInt8[np.ndarray, "height width 3"], ...]
    masks: tuple[Bool[np.ndarray, "height width"], ...]
    points: Float64[np.ndarray, "points 3"]
    colors: UInt8[np.ndarray, "points 3"]
    found: Bool[np.ndarray, "views points"]
    pixels: Float64[np.ndarray, "views points 2"]


def film(surface: Surface, config: TurntableConfig, rng: np.random.Generator) -> Footage:
    """The object filmed; the same surface, settings and generator state give the same footage."""
    low, high = surface.bounds
    poses = camera_path((low + high) / 2, float(np.linalg.norm(high - low)), config, rng)
    stage = _Stage(surface)
    pictures = [stage.picture(pose, config) for pose in poses]
    points, normals, colors = stage.sample(config.points, rng)
    found, pixels = stage.find(points, normals, poses, config, rng)
    kept = found.sum(axis=0) >= _SHORTEST_TRACK
    return Footage(
        config=config,
        world_to_camera=poses,
        images=tuple(image for image, _ in pictures),
        masks=tuple(mask for _, mask in pictures),
        points=points[kept],
        colors=colors[kept],
        found=found[:, kept],
        pixels=pixels[:, kept],
    )


def camera_path(
    center: Float64[np.ndarray, "3"], diameter: float, config: TurntableConfig, rng: np.random.Generator
) -> Float64[np.ndarray, "views 4 4"]:
    """World-to-camera poses round the centre, counter-clockwise as seen from above, from a random start."""
    count = config.views
    step = config.arc_deg / (count if config.arc_deg >= 360 else max(count - 1, 1))
    azimuth = np.radians(rng.uniform(0, 360) + step * np.arange(count))
    waves = 0.5 + 0.5 * np.sin(np.linspace(0, 2 * np.pi, count)[:, None] * [1.5, 1.0] + rng.uniform(0, 2 * np.pi, 2))
    spans = np.array([config.elevation_deg, config.distance])
    elevation, distance = (spans[:, 0] + waves * np.ptp(spans, axis=1)).T
    elevation = np.radians(elevation)
    directions = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose, direction, reach in zip(poses, directions, distance * diameter, strict=True):
        position = center + reach * direction
        right = np.cross(-direction, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(-direction, right), -direction])
        tremor = np.radians(rng.normal(size=3) * [config.aim_error_deg, config.aim_error_deg, config.roll_deg])
        pose[:3, :3] = _small_rotation(tremor) @ rotation
        pose[:3, 3] = -pose[:3, :3] @ position
    return poses


def _small_rotation(angles: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation by a vector of radians (Rodrigues)."""
    angle = float(np.linalg.norm(angles))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = angles / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def through_lens(
    camera_points: Float64[np.ndarray, "*shape 3"], config: TurntableConfig
) -> Float64[np.ndarray, "*shape 2"]:
    """Pixels (COLMAP's convention) of points in front of the camera."""
    plane = camera_points[..., :2] / camera_points[..., 2:]
    stretched = plane * (1 + config.radial * (plane**2).sum(axis=-1, keepdims=True))
    return config.focal_px * stretched + np.array(config.size) / 2


class _Stage:
    """The object on a patterned floor."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        low, high = surface.bounds
        reach, middle = 6 * float(np.linalg.norm(high - low)), (low + high) / 2
        corners = np.array([[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]]) + middle[:2]
        floor = np.column_stack([corners, np.full(4, low[2] - 1e-4)])
        self._grain = float(np.linalg.norm(high - low)) / 12
        self._vertices = np.concatenate([surface.vertices, floor])
        first = len(surface.vertices)
        quad = first + np.array([[0, 1, 2], [0, 2, 3]])
        self._triangles: Int64[np.ndarray, "triangles 3"] = np.concatenate([surface.triangles, quad])
        self._caster = RayCaster(self._vertices.astype(np.float32), self._triangles.astype(np.int32))

    def picture(
        self, pose: Float64[np.ndarray, "4 4"], config: TurntableConfig
    ) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
        """What the camera sees, and which pixels show the object."""
        width, height = config.size
        origin = -pose[:3, :3].T @ pose[:3, 3]
        directions = _lens_rays(config) @ pose[:3, :3]
        rays = np.concatenate([np.broadcast_to(origin, directions.shape), directions], axis=-1).astype(np.float32)
        hit = self._caster.nearest(rays)
        shown = np.full((height, width, 3), 0.82)
        struck = hit.triangle >= 0
        mask = struck & (hit.triangle < len(self._surface.triangles))
        places = origin + hit.distance[struck, None].astype(np.float64) * directions[struck]
        shown[struck] = self._paint(hit.triangle[struck], hit.uv[struck], places)
        return (255 * np.clip(shown, 0, 1)).round().astype(np.uint8), mask

    def _paint(self, triangle: np.ndarray, uv: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Colour in daylight of places on the surface; a fine pattern gives every part of it texture."""
        on_floor = triangle >= len(self._surface.triangles)
        corners = self._surface.triangles[np.where(on_floor, 0, triangle)]
        weights = np.column_stack([1 - uv.sum(axis=1), uv])[:, :, None]
        color = (self._surface.colors[corners] * weights).sum(axis=1)
        normal = (self._surface.normals[corners] * weights).sum(axis=1)
        light = 0.45 + 0.55 * np.abs(normal @ _SUN)
        tiles = np.floor(places[:, :2] / (6 * self._grain)).sum(axis=1) % 2
        color[on_floor] = (0.42 + 0.16 * tiles[on_floor])[:, None]
        light[on_floor] = 1.0
        return color * (light * (0.85 + 0.15 * _grain(places / self._grain)))[:, None]

    def sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, normals and colours: on the object by area, and a third as many on the floor round it."""
        surface = self._surface
        corners = surface.vertices[surface.triangles]
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(facing, axis=1)
        chosen = rng.choice(len(area), count, p=area / area.sum())
        u, v = rng.random((2, count))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        weights = np.column_stack([1 - u - v, u, v])[:, :, None]
        points = (corners[chosen] * weights).sum(axis=1)
        colors = (surface.colors[surface.triangles[chosen]] * weights).sum(axis=1)
        low, high = surface.bounds
        floor = rng.uniform(2 * low[:2] - high[:2], 2 * high[:2] - low[:2], (count // 3, 2))
        floor = np.column_stack([floor, np.full(len(floor), low[2] - 1e-4)])
        return (
            np.concatenate([points, floor]),
            np.concatenate([facing[chosen] / area[chosen, None], np.tile([0.0, 0.0, 1.0], (len(floor), 1))]),
            (255 * np.concatenate([colors, np.full((len(floor), 3), 0.5)])).astype(np.uint8),
        )

    def find(
        self,
        points: np.ndarray,
        normals: np.ndarray,
        poses: Float64[np.ndarray, "views 4 4"],
        config: TurntableConfig,
        rng: np.random.Generator,
    ) -> tuple[Bool[np.ndarray, "views points"], Float64[np.ndarray, "views points 2"]]:
        """Which view's matcher finds which point, and at which pixel, with noise of a third of a pixel."""
        found = np.zeros((len(poses), len(points)), dtype=bool)
        pixels = np.full((len(poses), len(points), 2), np.nan)
        for index, pose in enumerate(poses):
            origin = -pose[:3, :3].T @ pose[:3, 3]
            line = points - origin
            cosine = np.abs((line * normals).sum(axis=1)) / np.linalg.norm(line, axis=1)
            camera = points @ pose[:3, :3].T + pose[:3, 3]
            at = through_lens(camera, config)
            inside = (camera[:, 2] > 0) & (at >= 0).all(axis=1) & (at < np.array(config.size)).all(axis=1)
            rays = np.concatenate([np.broadcast_to(origin, line.shape), line], axis=1).astype(np.float32)
            clear = self._caster.nearest(rays).distance > 1 - 1e-3
            found[index] = inside & clear & (cosine > _LEAST_COSINE) & (rng.random(len(points)) < _FOUND)
            pixels[index, found[index]] = (at + rng.normal(scale=0.3, size=at.shape))[found[index]]
        return found, pixels


def _lens_rays(config: TurntableConfig) -> Float64[np.ndarray, "height width 3"]:
    """Direction of every pixel: the radius before distortion solves r + k r^3 = distorted radius (Newton)."""
    width, height = config.size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    bent = np.stack([x - width / 2, y - height / 2], axis=-1) / config.focal_px
    target = np.linalg.norm(bent, axis=-1)
    radius = target.copy()
    for _ in range(20):
        radius -= (radius + config.radial * radius**3 - target) / (1 + 3 * config.radial * radius**2)
    straight = bent * (radius / np.maximum(target, 1e-12))[..., None]
    return np.concatenate([straight, np.ones((height, width, 1))], axis=-1)


def _grain(places: Float64[np.ndarray, "places 3"]) -> Float64[np.ndarray, " places"]:
    """A smooth pattern through space, -1 to 1."""
    x, y, z = (2 * np.pi * places).T
    return np.sin(x + 0.7 * np.sin(1.3 * y)) * np.sin(1.1 * y + 0.8 * np.sin(z)) * np.cos(0.9 * z + np.sin(0.7 * x))
