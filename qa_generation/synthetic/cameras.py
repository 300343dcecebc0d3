"""Camera poses of a person who walks through the room and looks around."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from jaxtyping import Float32, Float64

from qa_generation.synthetic.placement import Arrangement

EYE_HEIGHT = (1.2, 1.8)
FOV_DEG = (60.0, 75.0)
# no camera looks at a wall or a wardrobe from nearer than this, metres
MIN_CENTRAL_DEPTH = 0.7
_PROBE = (16, 12)


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
    u, v = np.meshgrid(np.arange(width) + shift[0], np.arange(height) + shift[1])
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    rotation = world_to_camera[:3, :3]
    rays = np.empty((height, width, 6), dtype=np.float32)
    rays[..., :3] = -rotation.T @ world_to_camera[:3, 3]
    rays[..., 3:] = x[..., None] * rotation[0] + y[..., None] * rotation[1] + rotation[2]
    return rays


def draw_views(
    arrangement: Arrangement,
    caster: o3d.t.geometry.RaycastingScene,
    count: int,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, "3 3"], list[Float64[np.ndarray, "4 4"]]]:
    """Intrinsics that all views share, and ``count`` poses that look at something and differ from each other."""
    fov = float(rng.uniform(*FOV_DEG))
    intrinsics, probe = intrinsics_of(size, fov), intrinsics_of(_PROBE, fov)
    centers = _standing_places(arrangement, rng, max(60, 3 * count))
    targets = np.array([p.obb.center for p in arrangement.placed if p.item.category != "ceiling lamp"])
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
        if _sees_enough(caster, probe, pose):
            poses.append(pose)
            states = np.concatenate([states, state[None]])
    # a very crowded room: take what stands free, looking to where the view is longest
    while len(poses) < count:
        poses.append(_widest(centers[int(rng.integers(len(centers)))], caster, probe, rng))
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


def _probe(
    caster: o3d.t.geometry.RaycastingScene, intrinsics: Float64[np.ndarray, "3 3"], pose: Float64[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "12 16"]:
    rays = pixel_rays(intrinsics, pose, _PROBE)
    return caster.cast_rays(o3d.core.Tensor(rays), nthreads=1)["t_hit"].numpy()


def _sees_enough(
    caster: o3d.t.geometry.RaycastingScene, intrinsics: Float64[np.ndarray, "3 3"], pose: Float64[np.ndarray, "4 4"]
) -> bool:
    depth = _probe(caster, intrinsics, pose)
    middle = depth[3:9, 4:12]
    return bool(middle.min() > MIN_CENTRAL_DEPTH and np.median(depth) > 1.3 and depth.min() > 0.25)


def _widest(
    center: Float64[np.ndarray, "3"],
    caster: o3d.t.geometry.RaycastingScene,
    intrinsics: Float64[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Float64[np.ndarray, "4 4"]:
    options = [
        look(center, yaw, np.radians(-15), 0.0) for yaw in rng.uniform(-np.pi, np.pi) + np.arange(12) * np.pi / 6
    ]
    return max(options, key=lambda pose: float(np.median(_probe(caster, intrinsics, pose))))
