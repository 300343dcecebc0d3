"""Rooms made by ``spatialvlm synth``: exact depth and poses in metres."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reconstruction.frames import Capture, PosedFrame, listed
from geometry_encoders.reconstruction.cropping import CameraImage
from qa_generation.errors import InputError, SceneError
from qa_generation.readers.base import SceneReader, open_reader
from qa_generation.scene import Scene


def captures(root: Path, reader: str = "synthetic") -> list[Capture]:
    """Every room under the folder; other readers with depth work too.

    Raises:
        InputError: no such folder or no room in it.
    """
    source = open_reader(reader, root)
    rooms = source.scene_ids()
    if not rooms:
        raise InputError(f"{root}: no rooms, expected folders made by spatialvlm synth")
    return [listed(room, partial(_capture, source, room)) for room in rooms]


def _capture(source: SceneReader, room: str) -> Capture:
    scene = source.read(room)
    return Capture(room, tuple(view.view_id for view in scene.views), partial(_read, scene))


def _read(scene: Scene, name: str) -> PosedFrame:
    view = scene.view(name)
    depth = view.read_depth() if view.read_depth is not None else None
    if depth is None:
        raise SceneError(f"scene {scene.scene_id}: view {name} has no depth, expected a depth map")
    try:
        with Image.open(io.BytesIO(view.image.read()), formats=("PNG", "JPEG")) as picture:
            image = np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ... for broken files
        raise SceneError(f"{view.image.path}: cannot be decoded ({error}), expected a whole JPEG or PNG") from None
    if depth.shape != image.shape[:2]:
        raise SceneError(
            f"scene {scene.scene_id}: depth of view {name} is {depth.shape}, its picture {image.shape[:2]}"
        )
    pose = np.linalg.inv(view.world_to_camera)
    return PosedFrame(name, CameraImage(image, depth, view.intrinsics), pose)
