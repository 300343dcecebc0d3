"""7Scenes (Shotton et al., CVPR 2013): Kinect sequences, depth projected into the colour camera."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.reconstruction.datasets.files import (
    check_root,
    check_same_size,
    read_depth_png,
    read_matrix,
    read_picture,
    resize_to,
)
from benchmarks.reconstruction.frames import Capture, PosedFrame, listed
from geometry_encoders.reconstruction.cropping import CameraImage
from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import check_pose

SIZE = (640, 480)
INTRINSICS = np.array([[525, 0, 320], [0, 525, 240], [0, 0, 1]], dtype=np.float64)
_SPLIT = "TestSplit.txt"
_LINE = re.compile(r"(?:sequence|seq-?)0*(\d+)")


def captures(root: Path) -> list[Capture]:
    """The test sequences of every scene folder that holds a ``TestSplit.txt``.

    Layout: ``SCENE/TestSplit.txt`` with lines such as ``sequence3``, and ``SCENE/seq-03/frame-000000`` with the endings
    ``.color.png``, ``.depth.proj.png`` (millimetres, 65535 = missing) and ``.pose.txt`` (camera to world, metres).

    Raises:
        InputError: no such folder or no scene in it.
    """
    check_root(root, "the folder with the scenes of 7Scenes")
    splits = sorted(root.glob(f"*/{_SPLIT}"))
    if not splits:
        raise InputError(f"{root}: no scene with a {_SPLIT}, expected folders such as chess/{_SPLIT}")
    return [capture for split in splits for capture in _captures_of(split)]


def _captures_of(split: Path) -> list[Capture]:
    scene = split.parent
    try:
        numbers = _test_numbers(split)
    except SceneError as error:
        return [Capture(scene.name, (), partial(_read, scene), str(error))]
    return [listed(f"{scene.name}/seq-{number:02d}", partial(_capture, scene, number)) for number in numbers]


def _test_numbers(split: Path) -> list[int]:
    lines = [line.strip() for line in split.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    numbers = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise SceneError(f"{split}: line {line!r}, expected names such as sequence1")
        numbers.append(int(found.group(1)))
    if not numbers:
        raise SceneError(f"{split}: names no sequence, expected lines such as sequence1")
    return numbers


def _capture(scene: Path, number: int) -> Capture:
    folder = scene / f"seq-{number:02d}"
    if not folder.is_dir():
        raise SceneError(f"{folder}: no such folder, expected sequence {number} that {_SPLIT} names")
    frames = tuple(sorted(path.name.removesuffix(".color.png") for path in folder.glob("frame-*.color.png")))
    if not frames:
        raise SceneError(f"{folder}: no frames, expected files such as frame-000000.color.png")
    return Capture(f"{scene.name}/{folder.name}", frames, partial(_read, folder))


def _read(folder: Path, name: str) -> PosedFrame:
    depth_path = folder / f"{name}.depth.proj.png"
    if not depth_path.is_file() and (folder / f"{name}.depth.png").is_file():
        raise SceneError(f"{depth_path}: no such file, expected depth projected into the colour camera, not .depth.png")
    depth = read_depth_png(depth_path)
    check_same_size(depth, SIZE, depth_path, "that the intrinsics of 7Scenes belong to")
    pose_path = folder / f"{name}.pose.txt"
    pose = check_pose(read_matrix(pose_path, (4, 4), "a 4x4 pose, camera to world"), str(pose_path))
    image = resize_to(read_picture(folder / f"{name}.color.png"), SIZE)
    return PosedFrame(name, CameraImage(image, depth, INTRINSICS.astype(np.float32)), pose)
