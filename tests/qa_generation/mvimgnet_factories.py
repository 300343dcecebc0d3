"""A filmed object in the layout of MVImgNet, written once, and the ways in which real folders are broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from qa_generation.seeding import generator
from qa_generation.synthetic.parts import block
from qa_generation.synthetic.surface import Surface, join
from qa_generation.writers.mvimgnet import ObjectLayout, Similarity, draw_similarity, write_object
from qa_generation.writers.mvimgnet_turntable import Footage, TurntableConfig, film

CLASS_ID, INSTANCE_ID = 366, "3707ded1"
SCENE_ID = f"{CLASS_ID}-{INSTANCE_ID}"
CONFIG = TurntableConfig(views=12, size=(160, 120), points=700)


def stepped_block() -> Surface:
    """A thing that looks unlike itself from every side."""
    red, green, blue = np.array([0.8, 0.3, 0.2]), np.array([0.3, 0.7, 0.3]), np.array([0.2, 0.4, 0.8])
    parts = [
        block((-0.1, 0.1), (-0.06, 0.06), (0.0, 0.08), red),
        block((-0.1, -0.02), (-0.06, 0.06), (0.08, 0.16), green),
        block((0.03, 0.09), (-0.02, 0.06), (0.08, 0.1), blue),
    ]
    return join(parts)


def filmed(config: TurntableConfig = CONFIG, seed: int = 0) -> Footage:
    """The block, filmed."""
    return film(stepped_block(), config, generator(seed, "test object"))


def write(root: Path, footage: Footage, layout: ObjectLayout | None = None, seed: int = 0) -> Similarity:
    """Writes the footage below ``root`` and tells where its world went."""
    similarity = draw_similarity(generator(seed, "test world"))
    write_object(root, CLASS_ID, INSTANCE_ID, footage, similarity, layout)
    return similarity


def folder_of(root: Path) -> Path:
    """The object's folder."""
    return root / str(CLASS_ID) / INSTANCE_ID


def copy(source: Path, target: Path) -> Path:
    """A copy of a written data set, and the object's folder in it."""
    shutil.copytree(source, target)
    return folder_of(target)


def turn_by_exif(path: Path, orientation: int) -> None:
    """Marks a picture as turned without touching its pixels."""
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(path, exif=exif, quality=92)
