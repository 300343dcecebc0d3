"""Writes filmed objects in the layout of MVImgNet 2.

ROOT/<class_id>/<instance_id>/images/NNN.jpg    pictures, order = time, numbers from 000 or later
                              masks/NNN.jpg     the object, JPEG: 0 and 255 with a fringe of compression
                              sparse/0/         cameras.bin images.bin points3D.bin; scale and axes arbitrary
ROOT/mvimgnet2_category.json                    class id to name; ``mvimgnet_category.txt`` in version 1
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64
from PIL import Image
from scipy.spatial.transform import Rotation

from qa_generation.writers.mvimgnet_colmap import write_binary, write_text
from qa_generation.writers.mvimgnet_turntable import Footage


@dataclass(frozen=True)
class ObjectLayout:
    """Which of the forms found in the release an object is written in.

    Attributes:
        camera_model: COLMAP's name of the lens model.
        prefixed_names: images are called ``images/NNN.jpg`` in the model instead of ``NNN.jpg``.
        model_format: of the sparse model.
        mask_format: ``png`` is what some tools convert masks to.
    """

    camera_model: str = "SIMPLE_RADIAL"
    prefixed_names: bool = False
    model_format: Literal["binary", "text"] = "binary"
    mask_format: Literal["jpg", "png"] = "jpg"


@dataclass(frozen=True, eq=False)
class Similarity:
    """How the world of a written model stands to the true one: ``scale * rotation @ p + shift``."""

    scale: float
    rotation: Float64[np.ndarray, "3 3"]
    shift: Float64[np.ndarray, "3"]

    def points(self, points: Float64[np.ndarray, "points 3"]) -> Float64[np.ndarray, "points 3"]:
        """Points in the written world."""
        return self.scale * points @ self.rotation.T + self.shift

    def poses(self, world_to_camera: Float64[np.ndarray, "views 4 4"]) -> Float64[np.ndarray, "views 4 4"]:
        """Poses from the written world, rigid, translations scaled."""
        moved = world_to_camera.copy()
        moved[:, :3, :3] = world_to_camera[:, :3, :3] @ self.rotation.T
        moved[:, :3, 3] = self.scale * world_to_camera[:, :3, 3] - moved[:, :3, :3] @ self.shift
        return moved


def draw_similarity(rng: np.random.Generator) -> Similarity:
    """Any rotation, any scale from 0.3 to 30, any shift."""
    rotation = Rotation.random(random_state=rng).as_matrix()
    return Similarity(float(10 ** rng.uniform(-0.5, 1.5)), rotation, rng.normal(size=3) * 5)


def write_object(
    root: Path,
    class_id: int,
    instance_id: str,
    footage: Footage,
    similarity: Similarity,
    layout: ObjectLayout | None = None,
) -> Path:
    """The folder of the object, written."""
    layout = layout or ObjectLayout()
    folder = root / str(class_id) / instance_id
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stems = [f"{1 + 2 * index:03d}" for index in range(len(footage.images))]
    for stem, image, mask in zip(stems, footage.images, footage.masks, strict=True):
        Image.fromarray(image).save(folder / "images" / f"{stem}.jpg", quality=92)
        grey = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
        # quality has no meaning for PNG and is passed over there
        grey.save(folder / "masks" / f"{stem}.{layout.mask_format}", quality=80)
    prefix = "images/" if layout.prefixed_names else ""
    write = write_binary if layout.model_format == "binary" else write_text
    write(
        folder / "sparse" / "0",
        footage,
        similarity.poses(footage.world_to_camera),
        similarity.points(footage.points),
        [f"{prefix}{stem}.jpg" for stem in stems],
        layout.camera_model,
    )
    return folder


def write_categories(root: Path, names: Mapping[int, str], version: Literal[1, 2] = 2) -> Path:
    """The category file of a version, written."""
    root.mkdir(parents=True, exist_ok=True)
    if version == 1:
        path = root / "mvimgnet_category.txt"
        path.write_bytes("".join(f"{number},{name}\r\n" for number, name in names.items()).encode())
    else:
        path = root / "mvimgnet2_category.json"
        path.write_text(json.dumps({str(number): name for number, name in names.items()}), encoding="utf-8")
    return path
