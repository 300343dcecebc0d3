"""The checks that readers share: what passes, and what the sentence says when something does not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import (
    check_file,
    check_image,
    check_image_file,
    check_intrinsics,
    check_pose,
    check_size,
    check_views,
)

POSE = np.array([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], dtype=np.float64)
CAMERA = [[500, 0, 320], [0, 510, 240], [0, 0, 1]]


def changed(matrix: np.ndarray | list, place: tuple[int, int], value: float) -> np.ndarray:
    out = np.array(matrix, dtype=np.float64)
    out[place] = value
    return out


def test_a_rigid_pose_comes_back_as_float64() -> None:
    pose = check_pose(POSE.tolist(), "here")
    assert pose.dtype == np.float64
    np.testing.assert_array_equal(pose, POSE)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (changed(POSE, (0, 3), np.nan), "NaN"),
        (changed(POSE, (2, 3), -np.inf), "infinity"),
        (np.diag([2.0, 2, 2, 1]), "not rigid"),
        (np.diag([1.0, 1, -1, 1]), "mirrors"),
        (changed(POSE, (3, 0), 0.5), "last row"),
        (np.eye(3), "shape"),
        ("pose", "no matrix"),
        (None, "(4, 4)"),
    ],
)
def test_a_pose_that_is_none_is_named_with_its_place(matrix: object, words: str) -> None:
    with pytest.raises(SceneError) as caught:
        check_pose(matrix, "scan.sens: frame 7")
    assert str(caught.value).startswith("scan.sens: frame 7: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (changed(CAMERA, (0, 0), 0), "focal length is (0, 510)"),
        (changed(CAMERA, (1, 1), -510), "focal length"),
        (changed(CAMERA, (0, 2), np.nan), "NaN"),
        (changed(CAMERA, (0, 2), 900), "outside the 640x480 picture"),
        (changed(CAMERA, (2, 2), 0), "pinhole"),
        (np.eye(4), "shape"),
    ],
)
def test_intrinsics_that_are_none_are_named(matrix: np.ndarray, words: str) -> None:
    np.testing.assert_array_equal(check_intrinsics(CAMERA, (640, 480), "here"), np.array(CAMERA, dtype=float))
    with pytest.raises(SceneError, match="camera 3: ") as caught:
        check_intrinsics(matrix, (640, 480), "camera 3")
    assert words in str(caught.value)


@pytest.mark.parametrize("size", [(0, 480), (640, -1), (20_000, 20_000), (640,), "640", None])
def test_a_size_that_is_none_or_too_much_is_named(size: object) -> None:
    assert check_size([640, 480], "here") == (640, 480)
    with pytest.raises(SceneError, match="view 1: size is"):
        check_size(size, "view 1")


def encoded(kind: str, size: tuple[int, int] = (31, 17)) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_pass_whole_and_fail_cut(kind: str, tmp_path: Path) -> None:
    data, path = encoded(kind), tmp_path / "picture"
    assert check_image(data, (31, 17), "here") == (31, 17)
    path.write_bytes(data)
    check_image_file(path, (31, 17))
    with pytest.raises(SceneError, match="31x17, expected 30x17"):
        check_image(data, (30, 17), "here")
    with pytest.raises(SceneError, match="31x17, expected 31x18"):
        check_image_file(path, (31, 18))
    for cut in (len(data) - 1, len(data) // 2, 3):
        path.write_bytes(data[:cut])
        with pytest.raises(SceneError, match="picture"):
            check_image_file(path, (31, 17))
    with pytest.raises(SceneError, match="here: picture cannot be decoded"):
        check_image(data[: len(data) // 2], None, "here")


def test_missing_and_empty_files_and_lonely_views(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"poses\.txt: no such file, expected the poses"):
        check_file(tmp_path / "poses.txt", "the poses")
    (tmp_path / "poses.txt").touch()
    with pytest.raises(SceneError, match="is empty"):
        check_file(tmp_path / "poses.txt", "the poses")
    check_views(2, "scene")
    with pytest.raises(SceneError, match="scene has 1 usable view, expected at least 2"):
        check_views(1, "scene")
