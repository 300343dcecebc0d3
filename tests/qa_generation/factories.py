"""Tiny scenes made of axis-aligned boxes at known places, seen by cameras at known poses.

Everything is closed form, so that a test can work out on paper what must be seen:

    scene = make_scene([Part("chair", (2, 0, 0.5), (0.5, 0.5, 1.0))], [level_camera((0, 0, 0.5), (1, 0, 0))])

Boxes with a category become instances 1, 2, ... in the given order; boxes without one are bare surface (id 0), good for
walls that hide things. ``furnished_room`` is the ready-made one: several objects, repeated categories, a ring of views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from PIL import Image

from qa_generation.scene import Blob, Instance, Mesh, OrientedBox, Scene, View

Vector = tuple[float, float, float]

_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_BOX_TRIANGLES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ],
    dtype=np.int32,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One axis-aligned box: an instance when it has a category, else bare surface. Metres."""

    category: str
    center: Vector
    extents: Vector


@dataclass(frozen=True)
class Camera:
    """Where a view stands and looks, metres; ``up`` is any direction that is not the line of sight."""

    eye: Vector
    target: Vector
    up: Vector = (0.0, 0.0, 1.0)


def look_at(eye: Vector, target: Vector, up: Vector = (0.0, 0.0, 1.0)) -> Float64[np.ndarray, "4 4"]:
    """World-to-camera transform (OpenCV axes, metres) of a camera at ``eye`` that sees ``target`` in its centre."""
    forward = np.subtract(target, eye).astype(np.float64)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, -rotation @ np.asarray(eye, dtype=np.float64)
    return transform


def level_camera(eye: Vector, direction: Vector) -> Camera:
    """A camera at ``eye`` that looks along ``direction``."""
    return Camera(eye, (eye[0] + direction[0], eye[1] + direction[1], eye[2] + direction[2]))


def pinhole(size: tuple[int, int], fov_deg: float) -> Float64[np.ndarray, "3 3"]:
    """Intrinsics of square pixels, principal point in the picture's middle, horizontal field of view ``fov_deg``."""
    width, height = size
    focal = width / 2.0 / math.tan(math.radians(fov_deg) / 2.0)
    return np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])


def box_mesh(parts: Sequence[Part]) -> Mesh:
    """The surface of all parts, twelve triangles each; parts with a category carry ids 1, 2, ... in order."""
    vertices, triangles, ids, next_id = [], [], [], 1
    for index, part in enumerate(parts):
        vertices.append(_BOX_CORNERS * part.extents + part.center)
        triangles.append(_BOX_TRIANGLES + 8 * index)
        ids.append(np.full(12, next_id if part.category else 0))
        next_id += bool(part.category)
    return Mesh(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate(ids).astype(np.int32),
    )


def make_scene(
    parts: Sequence[Part],
    cameras: Sequence[Camera],
    *,
    size: tuple[int, int] = (160, 120),
    fov_deg: float = 60.0,
    intrinsics: Float64[np.ndarray, "3 3"] | None = None,
    folder: Path | None = None,
    scene_id: str = "toy_0001",
    dataset: str = "synthetic",
) -> Scene:
    """The scene of those boxes and cameras; views are called ``frame_000000``, ``frame_000010``, ...

    With ``folder`` each view's picture is written there as a small PNG, without it the pictures cannot be read.
    """
    labelled = [part for part in parts if part.category]
    instances = {
        number: Instance(number, part.category, OrientedBox(np.array(part.center), np.eye(3), np.array(part.extents)))
        for number, part in enumerate(labelled, start=1)
    }
    matrix = pinhole(size, fov_deg) if intrinsics is None else np.asarray(intrinsics, dtype=np.float64)
    views = []
    for number, camera in enumerate(cameras):
        view_id = f"frame_{number * 10:06d}"
        path = (folder or Path("no_such_folder")) / f"{view_id}.png"
        if folder is not None:
            _write_picture(path, size, number)
        views.append(View(view_id, Blob(path), matrix, look_at(camera.eye, camera.target, camera.up), size))
    mesh = box_mesh(parts)
    return Scene(scene_id, dataset, tuple(views), instances, lambda: mesh)


def room_shell(extents: Vector, thickness: float = 0.1) -> list[Part]:
    """Floor, ceiling and four walls (bare surface) around the box [0, x] x [0, y] x [0, z], metres."""
    x, y, z = extents
    t = thickness
    return [
        Part("", (x / 2, y / 2, -t / 2), (x, y, t)),
        Part("", (x / 2, y / 2, z + t / 2), (x, y, t)),
        Part("", (-t / 2, y / 2, z / 2), (t, y, z)),
        Part("", (x + t / 2, y / 2, z / 2), (t, y, z)),
        Part("", (x / 2, -t / 2, z / 2), (x, t, z)),
        Part("", (x / 2, y + t / 2, z / 2), (x, t, z)),
    ]


FURNITURE: tuple[Part, ...] = (
    Part("table", (2.5, 2.0, 0.375), (1.4, 0.8, 0.75)),
    Part("chair", (1.3, 2.0, 0.45), (0.45, 0.45, 0.9)),
    Part("chair", (3.7, 2.0, 0.45), (0.45, 0.45, 0.9)),
    Part("chair", (2.5, 0.9, 0.45), (0.45, 0.45, 0.9)),
    Part("cabinet", (0.3, 3.4, 0.9), (0.6, 1.0, 1.8)),
    Part("bookshelf", (4.8, 3.3, 1.0), (0.4, 1.2, 2.0)),
    Part("box", (4.6, 0.4, 0.2), (0.4, 0.4, 0.4)),
    Part("box", (0.5, 0.5, 0.25), (0.5, 0.5, 0.5)),
    Part("monitor", (2.5, 2.1, 0.95), (0.5, 0.1, 0.4)),
    Part("lamp", (2.0, 1.9, 0.95), (0.2, 0.2, 0.4)),
)


def furnished_room(
    folder: Path | None = None, *, views: int = 12, size: tuple[int, int] = (160, 120), scene_id: str = "toy_room"
) -> Scene:
    """A 5 x 4 x 2.6 m room with ``FURNITURE`` (ids 1-10) and ``views`` cameras on a ring at 1.5 m looking across it."""
    cameras = []
    for number in range(views):
        angle = 2.0 * math.pi * number / views
        eye = (2.5 + 2.2 * math.cos(angle), 2.0 + 1.7 * math.sin(angle), 1.5)
        aim = angle + 2.4 * math.sin(7.0 * number)  # every camera looks another way, so that overlaps vary
        cameras.append(Camera(eye, (2.5 - 1.2 * math.cos(aim), 2.0 - 1.2 * math.sin(aim), 0.6)))
    shell = room_shell((5.0, 4.0, 2.6))
    return make_scene([*FURNITURE, *shell], cameras, size=size, folder=folder, scene_id=scene_id)


def _write_picture(path: Path, size: tuple[int, int], number: int) -> None:
    width, height = size
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None].repeat(width, axis=1)
    picture = np.stack([rows, np.full_like(rows, (37 * number) % 256), rows[::-1]], axis=-1)
    Image.fromarray(picture).save(path)
