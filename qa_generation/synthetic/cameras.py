"""Camera poses of a person who walks through the room and looks around."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int32

from qa_generation.raycast import RayCaster
from qa_generation.synthetic.placement import Arrangement

EYE_HEIGHT = (1.2, 1.8)
FOV_DEG = (60.0, 75.0)
# no camera looks at a wall or a wardrobe from nearer than this, metres
MIN_CENTRAL_DEPTH = 0.7
_GRID = (16, 12)
# this share of the views may show little but the room
BARE_SHARE = 0.12
PART_OF_ROOM = frozenset({"door", "window", "ceiling lamp", "curtain", "radiator", "picture", "mirror", "clock"})


def intrinsics_of(size: tuple[int, int], fov_deg: float) -> Float64[np.ndarray, "3 3"]:
    """Pinhole matrix of a picture of that size and horizontal field of view; square pixels, centre in the middle."""
    width, height = size
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def look(center: Float64[np.ndarray, "3"], yaw: float, pitch: float, roll: float) -> Float64[np.ndarray, "4 4"]:
    """``world_to_camera`` of a camera at ``center``; yaw turns about +z from +x, positive pitch looks up; radians."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, -s * right + c * down, forward])
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, -rotation @ center
    return out


def pixel_rays(
    intrinsics: Float64[np.ndarray, "3 3"],
    world_to_camera: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
    shift: tuple[float, float] = (0.0, 0.0),
) -> Float32[np.ndarray, "height width 6"]:
    """Rays (origin, direction) through pixel centres moved by ``shift`` pixels; their hit distance is depth along z."""
    width, height = size
    x = (np.arange(width) + shift[0] - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height) + shift[1] - intrinsics[1, 2]) / intrinsics[1, 1]
    rotation = world_to_camera[:3, :3]
    rays = np.empty((height, width, 6), dtype=np.float32)
    rays[..., :3] = -rotation.T @ world_to_camera[:3, 3]
    for k in range(3):
        rays[..., 3 + k] = x * rotation[0, k] + (y * rotation[1, k] + rotation[2, k])[:, None]
    return rays


def draw_views(
    arrangement: Arrangement,
    caster: RayCaster,
    triangle_instances: Int32[np.ndarray, " triangles"],
    count: int,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, "3 3"], list[Float64[np.ndarray, "4 4"]]]:
    """Intrinsics that all views share, and ``count`` poses that look at something and differ from each other."""
    fov = float(rng.uniform(*FOV_DEG))
    intrinsics = intrinsics_of(size, fov)
    centers = _standing_places(arrangement, rng, max(60, 3 * count))
    # a view should show things, not only the room: instance ids count from 1
    things = np.array([False, *(p.item.category not in PART_OF_ROOM for p in arrangement.placed)])
    targets = np.array([p.obb.center for p in arrangement.placed if p.item.category not in PART_OF_ROOM])
    look_at = _Probe(caster, things[triangle_instances] * triangle_instances, intrinsics_of(_GRID, fov))
    poses: list[Float64[np.ndarray, "4 4"]] = []
    states = np.zeros((0, 4))
    for attempt in range(40 * count):
        if len(poses) == count:
            break
        center = centers[int(rng.integers(len(centers)))]
        yaw, pitch = _aim(center, targets, rng)
        state = np.array([*center[:2], 1.6 * np.cos(yaw), 1.6 * np.sin(yaw)])
        # spread the views: a new one must differ from all others, by less the longer we search
        spread = 1.1 * 0.97**attempt if rng.random() < 0.75 else 0.15
        if len(states) and np.linalg.norm(states - state, axis=1).min() < spread:
            continue
        pose = look(center, yaw, pitch, float(rng.normal(0, 0.012)))
        if look_at.is_worthwhile(pose, bare=rng.random() < BARE_SHARE):
            poses.append(pose)
            states = np.concatenate([states, state[None]])
    # a very crowded room: take what stands free, looking to where the view is longest
    while len(poses) < count:
        poses.append(_widest(centers[int(rng.integers(len(centers)))], look_at, rng))
    return intrinsics, poses


def _standing_places(arrangement: Arrangement, rng: np.random.Generator, count: int) -> Float64[np.ndarray, "n 3"]:
    """Eye points over free floor, or over low things that one can lean across."""
    room = arrangement.room
    points = rng.uniform([0, 0, EYE_HEIGHT[0]], [room.width, room.depth, EYE_HEIGHT[1]], (30 * count, 3))
    free = room.contains(points[:, :2], 0.3)
    for placed in arrangement.placed:
        block = placed.block
        if block.z[0] > EYE_HEIGHT[1] + 0.2 or block.z[1] < 0.1:
            continue
        c, s = np.cos(block.yaw), np.sin(block.yaw)
        local = np.abs((points[:, :2] - block.center) @ np.array([[c, -s], [s, c]]))
        margin = 0.2 if block.z[1] > 0.7 else 0.0
        free &= (local > np.array(block.half) + margin).any(axis=1)
    chosen = points[free]
    if len(chosen) == 0:
        chosen = points[room.contains(points[:, :2], 0.3)]
        chosen[:, 2] = EYE_HEIGHT[1]
    return chosen[:count]


def _aim(
    center: Float64[np.ndarray, "3"], targets: Float64[np.ndarray, "n 3"], rng: np.random.Generator
) -> tuple[float, float]:
    """Half of the time towards a thing, else anywhere; a little downwards as people look at rooms."""
    if rng.random() < 0.55 and len(targets):
        offset = targets[int(rng.integers(len(targets)))] - center
        yaw = float(np.arctan2(offset[1], offset[0]) + rng.normal(0, 0.25))
        pitch = float(np.arctan2(offset[2], np.hypot(offset[0], offset[1])) * 0.7 + rng.normal(0, 0.06))
        return yaw, float(np.clip(pitch, np.radians(-38), np.radians(8)))
    return float(rng.uniform(-np.pi, np.pi)), float(np.radians(rng.uniform(-28, 2)))


class _Probe:
    """Coarse looks at the room that tell whether a pose is worth a view."""

    def __init__(
        self,
        caster: RayCaster,
        thing_of_triangle: Int32[np.ndarray, " triangles"],
        intrinsics: Float64[np.ndarray, "3 3"],
    ) -> None:
        self._caster, self._things, self._intrinsics = caster, thing_of_triangle, intrinsics

    def is_worthwhile(self, pose: Float64[np.ndarray, "4 4"], bare: bool) -> bool:
        """Whether nothing is too near, and unless ``bare``, whether two things or more fill a tenth of the view."""
        depth, things = self.look(pose)
        middle = depth[3:9, 4:12]
        if middle.min() < MIN_CENTRAL_DEPTH or np.median(depth) < 1.3 or depth.min() < 0.25:
            return False
        return bare or bool((things > 0).mean() > 0.1 and len(np.unique(things)) > 2)

    def look(self, pose: Float64[np.ndarray, "4 4"]) -> tuple[Float32[np.ndarray, "12 16"], Int32[np.ndarray, "12 16"]]:
        """Depth and id of the thing seen (0 for the room itself) on a coarse grid."""
        rays = pixel_rays(self._intrinsics, pose, _GRID)
        distance, triangles, _ = self._caster.nearest(rays)
        hit = triangles >= 0
        return distance, np.where(hit, self._things[np.where(hit, triangles, 0)], 0)


def _widest(center: Float64[np.ndarray, "3"], probe: _Probe, rng: np.random.Generator) -> Float64[np.ndarray, "4 4"]:
    """The pose at ``center`` that sees farthest, of twelve around."""
    headings = rng.uniform(-np.pi, np.pi) + np.arange(12) * np.pi / 6
    options = [look(center, yaw, np.radians(-15), 0.0) for yaw in headings]
    return max(options, key=lambda pose: float(np.median(probe.look(pose)[0])))
