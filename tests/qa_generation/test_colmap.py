"""COLMAP models: what pycolmap writes is read the same, by hand written bytes too, and damage is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.errors import SceneError
from qa_generation.readers.colmap import has_colmap, read_colmap, read_colmap_points

HALF_TURN_ABOUT_Z = (0.0, 0.0, 0.0, 1.0)


def camera_bytes(camera_id: int, model: int, size: tuple[int, int], params: list[float]) -> bytes:
    return struct.pack(f"<IiQQ{len(params)}d", camera_id, model, *size, *params)


def image_bytes(image_id: int, camera_id: int, name: bytes, points: int = 0) -> bytes:
    pose = struct.pack("<I7dI", image_id, *HALF_TURN_ABOUT_Z, 1.0, 2.0, 3.0, camera_id)
    return pose + name + b"\0" + struct.pack("<Q", points) + struct.pack("<ddq", 5.0, 6.0, -1) * points


def point_bytes(point_id: int, xyz: tuple[float, float, float], images: list[int]) -> bytes:
    head = struct.pack("<Q3d3Bd", point_id, *xyz, 10, 20, 30, 0.5) + struct.pack("<Q", len(images))
    return head + b"".join(struct.pack("<II", image, 7) for image in images)


def counted(*records: bytes) -> bytes:
    return struct.pack("<Q", len(records)) + b"".join(records)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    folder = tmp_path / "binary"
    folder.mkdir()
    cameras = [
        camera_bytes(9, 0, (640, 480), [500.0, 320.0, 240.0]),
        camera_bytes(4, 5, (64, 48), [50.0, 51.0, 32.5, 24.0, 0.1, -0.02, 0.003, -0.0004]),
    ]
    (folder / "cameras.bin").write_bytes(counted(*cameras))
    (folder / "images.bin").write_bytes(counted(image_bytes(30, 9, b"images/b.jpg", 2), image_bytes(7, 4, b"a b.jpg")))
    points = [point_bytes(12, (1.0, 2.0, 3.0), [30, 7, 30]), point_bytes(3, (0.0, 0.0, 1.0), [])]
    (folder / "points3D.bin").write_bytes(counted(*points))
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "cameras.txt").write_text(
        "# Camera list\n9 SIMPLE_PINHOLE 640 480 500 320 240\n"
        "4 OPENCV_FISHEYE 64 48 50 51 32.5 24 0.1 -0.02 0.003 -0.0004\n"
    )
    (folder / "images.txt").write_text(
        "# Image list\n30 0 0 0 1 1 2 3 9 images/b.jpg\n5 6 -1 5 6 -1\n7 0 0 0 1 1 2 3 4 a b.jpg\n\n"
    )
    (folder / "points3D.txt").write_text("# Points\n12 1 2 3 10 20 30 0.5 30 7 7 7 30 7\n3 0 0 1 10 20 30 0.5\n")
    return folder


@pytest.mark.parametrize("form", ["binary", "text"])
def test_records_are_read_as_they_stand(form: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(form)
    model = read_colmap(folder)
    assert [(image.image_id, image.name, image.camera_id) for image in model.images] == [
        (7, "a b.jpg", 4),
        (30, "images/b.jpg", 9),
    ]
    # a half turn about z, then the translation
    expected = [[-1, 0, 0, 1], [0, -1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(model.images[0].world_to_camera, expected, atol=1e-15)
    pinhole, fisheye = model.cameras[9], model.cameras[4]
    assert pinhole.size == (640, 480) and pinhole.distortion == ()
    np.testing.assert_array_equal(pinhole.intrinsics, [[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    assert fisheye.lens == "fisheye" and fisheye.distortion == (0.1, -0.02, 0.003, -0.0004)
    np.testing.assert_array_equal(fisheye.intrinsics, [[50, 0, 32], [0, 51, 23.5], [0, 0, 1]])
    points = read_colmap_points(folder)
    assert points.ids.tolist() == [3, 12]
    np.testing.assert_array_equal(points.xyz, [[0, 0, 1], [1, 2, 3]])
    assert points.images_of(0).tolist() == []
    assert points.images_of(1).tolist() == [30, 7, 30]


MODELS = [
    ("SIMPLE_PINHOLE", 0, [500, 300, 200], ()),
    ("PINHOLE", 1, [500, 510, 300, 200], ()),
    ("SIMPLE_RADIAL", 2, [500, 300, 200, 0.1], (0.1, 0, 0, 0, 0, 0, 0, 0)),
    ("SIMPLE_RADIAL", 2, [500, 300, 200, 0.0], ()),
    ("RADIAL", 3, [500, 300, 200, 0.1, 0.2], (0.1, 0.2, 0, 0, 0, 0, 0, 0)),
    ("OPENCV", 4, [500, 510, 300, 200, 0.1, 0.2, 0.3, 0.4], (0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0)),
    ("OPENCV_FISHEYE", 5, [500, 510, 300, 200, 0, 0, 0, 0], (0, 0, 0, 0)),
    ("FULL_OPENCV", 6, [500, 510, 300, 200, *range(1, 9)], tuple(range(1, 9))),
]


@pytest.mark.parametrize(("name", "number", "params", "distortion"), MODELS)
def test_every_camera_model(
    binary: Path, name: str, number: int, params: list[float], distortion: tuple[float, ...]
) -> None:
    (binary / "cameras.bin").write_bytes(
        counted(camera_bytes(9, number, (640, 480), params), camera_bytes(4, 0, (8, 8), [8, 4, 4]))
    )
    camera = read_colmap(binary).cameras[9]
    assert (camera.model, camera.distortion) == (name, distortion)
    assert camera.intrinsics[1, 1] == (510 if len(params) > 3 and params[1] == 510 else 500)


@pytest.mark.parametrize("form", ["write_binary", "write_text"])
def test_pycolmap_agrees(binary: Path, tmp_path: Path, form: str) -> None:
    """A model that pycolmap made up and wrote, with rigs and frames beside it, means the same to both."""
    pycolmap = pytest.importorskip("pycolmap")
    folder = tmp_path / "written"
    folder.mkdir()
    options = pycolmap.SyntheticDatasetOptions()
    options.num_frames_per_rig, options.num_points3D = 4, 30
    theirs = pycolmap.synthesize_dataset(options)
    getattr(theirs, form)(str(folder))
    ours = read_colmap(folder)
    assert {image.name for image in ours.images} == {image.name for image in theirs.images.values()}
    for image in ours.images:
        expected = theirs.image(image.image_id).cam_from_world().matrix()
        np.testing.assert_allclose(image.world_to_camera[:3], expected, atol=1e-9)
        camera = theirs.camera(image.camera_id)
        assert ours.cameras[image.camera_id].model == camera.model.name
        expected = camera.calibration_matrix() - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        np.testing.assert_allclose(ours.cameras[image.camera_id].intrinsics, expected, atol=1e-9)
    points = read_colmap_points(folder)
    assert points.ids.tolist() == sorted(theirs.points3D)
    for index, point_id in enumerate(points.ids.tolist()):
        point = theirs.point3D(point_id)
        np.testing.assert_allclose(points.xyz[index], point.xyz, atol=1e-9)
        assert points.images_of(index).tolist() == [element.image_id for element in point.track.elements]


BAD = [
    ("cameras.bin", lambda data: data[:4], "truncated in its first number"),
    ("cameras.bin", lambda data: data[:-3], "truncated in record 2 of 2"),
    ("cameras.bin", lambda data: data + b"x", "1 bytes follow its 2 records"),
    ("cameras.bin", lambda data: data[:12] + struct.pack("<i", 77) + data[16:], "model number 77, expected 0 to 11"),
    ("cameras.bin", lambda data: data[:12] + struct.pack("<i", 10) + data[16:], "camera model THIN_PRISM"),
    ("cameras.bin", lambda data: data[:32] + struct.pack("<d", np.nan) + data[40:], "camera 9: parameters"),
    ("cameras.bin", lambda data: data[:32] + struct.pack("<d", -5) + data[40:], "not positive"),
    ("cameras.bin", lambda data: data[:16] + struct.pack("<Q", 10**12) + data[24:], "size is 1000000000000x480"),
    ("cameras.bin", lambda data: data[:8] + struct.pack("<I", 4) + data[12:], "camera 4 stands there twice"),
    ("cameras.bin", lambda data: data[:8] + struct.pack("<I", 8) + data[12:], "has camera 9, which cameras.bin lacks"),
    ("cameras.bin", lambda data: b"", "file is empty"),
    ("images.bin", lambda data: data[:-20], "truncated in record 2 of 2"),
    ("images.bin", lambda data: struct.pack("<Q", 2**60) + data[8:], "truncated in record 3 of 1152921504606846976"),
    ("images.bin", lambda data: data[:12] + bytes(32) + data[44:], "image 30 .*: pose"),
    ("images.bin", lambda data: data[:44] + struct.pack("<d", np.inf) + data[52:], "image 30 .*: pose"),
    ("images.bin", lambda data: data.replace(b"a b", b"a\xffb"), "record 2 of 2: 'utf-8' codec"),
    ("points3D.bin", lambda data: data[:-4], "truncated in record 2 of 2"),
    ("points3D.bin", lambda data: data[:16] + struct.pack("<d", np.nan) + data[24:], "point 12 is not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit", "message"), BAD, ids=[f"{bad[0]} {bad[2]}" for bad in BAD])
def test_damage_is_named(binary: Path, name: str, edit: Callable[[bytes], bytes], message: str) -> None:
    path = binary / name
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(SceneError, match=message) as caught:
        read_colmap(binary)
        read_colmap_points(binary)
    assert name in str(caught.value)


BAD_TEXT = [
    ("cameras.txt", "SIMPLE_PINHOLE", "FISH", "line 2 is no record .*camera model 'FISH'"),
    ("cameras.txt", "SIMPLE_PINHOLE 640 480 500", "FOV 640 480 500 1 1", "camera model FOV is not supported"),
    ("cameras.txt", " 320 240", " 320", "SIMPLE_PINHOLE with 2 parameters, expected 3"),
    ("cameras.txt", "640", "wide", "invalid literal"),
    ("images.txt", "1 2 3 9 images/b.jpg", "1 2 3", "line 2 .*expected 10"),
    ("points3D.txt", "0.5 30 7", "0.5 30", "line 2 .*expected 8 and two more"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), BAD_TEXT, ids=[bad[3] for bad in BAD_TEXT])
def test_bad_line_is_named(text: Path, name: str, old: str, new: str, message: str) -> None:
    (text / name).write_text((text / name).read_text().replace(old, new, 1))
    with pytest.raises(SceneError, match=message):
        read_colmap(text)
        read_colmap_points(text)


def test_missing_model(tmp_path: Path, binary: Path) -> None:
    assert has_colmap(binary) and not has_colmap(tmp_path)
    with pytest.raises(SceneError, match=r"holds neither cameras\.bin nor cameras\.txt"):
        read_colmap(tmp_path)


def test_binary_is_preferred(binary: Path) -> None:
    for name in ("cameras", "images", "points3D"):
        (binary / f"{name}.txt").write_text("rubbish\n")
    assert len(read_colmap(binary).images) == 2


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_bytes_whatever_bring_another_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    whole = {
        "cameras": counted(camera_bytes(9, 1, (640, 480), [500.0, 500.0, 320.0, 240.0])),
        "images": counted(image_bytes(30, 9, b"b.jpg", 1)),
        "points3D": counted(point_bytes(12, (1.0, 2.0, 3.0), [30])),
    }
    for name, content in whole.items():
        spoiled = bytearray(content)
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
            spoiled[place] = data.draw(st.integers(0, 255))
        (folder / f"{name}.bin").write_bytes(bytes(spoiled[: data.draw(st.integers(0, len(content)))]))
    try:
        read_colmap(folder)
        read_colmap_points(folder)
    except SceneError as error:
        assert str(folder) in str(error)
