"""The datasets' folder layouts: what was written comes back, and what is wrong is told in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.reconstruction.datasets import dtu, nrgbd, seven_scenes, synthetic
from benchmarks.reconstruction.datasets.files import read_depth_png
from benchmarks.reconstruction.evaluate import read_frames
from benchmarks.reconstruction.frames import FrameChoice, PosedFrame
from benchmarks.reconstruction.protocols import PROTOCOLS, get_protocol
from qa_generation.errors import InputError
from tests.benchmarks import reconstruction_layouts as layouts


@pytest.fixture(scope="module")
def kinect() -> list[PosedFrame]:
    return layouts.room_frames(2)


@pytest.fixture(scope="module")
def small() -> list[PosedFrame]:
    return layouts.room_frames(2, (64, 48), 50.0)


def assert_same_frame(
    found: PosedFrame, expected: PosedFrame, image_tolerance: int = 0, depth_tolerance: float = 5.1e-4
):
    np.testing.assert_allclose(found.camera_to_world, expected.camera_to_world, atol=1e-6 * depth_tolerance / 5e-4)
    np.testing.assert_allclose(found.view.intrinsics, expected.view.intrinsics, rtol=1e-6)
    np.testing.assert_allclose(found.view.depth, expected.view.depth, atol=depth_tolerance)
    difference = np.abs(found.view.image.astype(int) - expected.view.image)
    assert np.quantile(difference, 0.9) <= image_tolerance
    assert not found.valid[layouts.MISSING].any()


def test_seven_scenes(tmp_path: Path, kinect: list[PosedFrame]) -> None:
    layouts.write_seven_scenes(tmp_path, kinect)
    (capture,) = seven_scenes.captures(tmp_path)
    assert (capture.capture_id, capture.frames) == ("chess/seq-03", ("frame-000000", "frame-000001"))
    for name, expected in zip(capture.frames, kinect, strict=True):
        assert_same_frame(capture.read(name), expected)


def test_nrgbd(tmp_path: Path) -> None:
    frames = layouts.room_frames(2, focal_px=nrgbd.FOCAL_PX)
    folder = layouts.write_nrgbd(tmp_path, frames)
    (capture,) = nrgbd.captures(tmp_path)
    assert (capture.capture_id, capture.frames) == ("kitchen", ("0", "1"))
    for name, expected in zip(capture.frames, frames, strict=True):
        assert_same_frame(capture.read(name), expected)
    lines = (folder / "poses.txt").read_text().splitlines()
    (folder / "poses.txt").write_text("\n".join(lines[:4] + ["nan nan nan nan"] * 4))
    (capture,) = nrgbd.captures(tmp_path)
    np.testing.assert_array_equal(capture.read("1").camera_to_world, np.eye(4))
    assert get_protocol("nrgbd", compat=False).captures(tmp_path)[0].frames == ("0",)


def test_dtu(tmp_path: Path, small: list[PosedFrame]) -> None:
    layouts.write_dtu(tmp_path, small)
    (capture,) = dtu.captures(tmp_path)
    assert (capture.capture_id, capture.frames) == ("scan7", ("00000000", "00000001"))
    for name, frame in zip(capture.frames, small, strict=True):
        found, expected = capture.read(name), layouts.in_millimetres(frame)
        kept = np.zeros(found.view.depth.shape, bool)
        kept[:, 64 // 5 + 5 :] = True  # the mask and 5 pixels eaten from it
        kept[layouts.MISSING] = False
        np.testing.assert_array_equal(found.valid, kept)
        np.testing.assert_allclose(found.view.depth[kept], expected.view.depth[kept], rtol=1e-6)
        np.testing.assert_allclose(found.camera_to_world, expected.camera_to_world, atol=1e-6)


def test_masks_of_another_size_take_the_nearest_pixel(tmp_path: Path) -> None:
    mask = np.ones((30, 40), np.uint8)
    mask[:15] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    kept = dtu.read_mask(tmp_path / "mask.png", (80, 60))
    assert kept.shape == (60, 80)
    assert not kept[:35].any() and kept[35:].all()


def test_synthetic(tmp_path: Path, small: list[PosedFrame]) -> None:
    layouts.write_room(tmp_path, small)
    (capture,) = synthetic.captures(tmp_path)
    assert capture.frames == ("frame_000000", "frame_000001")
    for name, expected in zip(capture.frames, small, strict=True):
        assert_same_frame(capture.read(name), expected, image_tolerance=40)


def test_true_points_lie_on_the_walls(kinect: list[PosedFrame]) -> None:
    for frame in kinect:
        distance = np.abs(np.abs(frame.world_points()[frame.valid]) - layouts.HALF_SIZE_M).min(axis=1)
        assert distance.max() < 1e-5


def test_depth_rules(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 10000, 10001, 65535, 2500]], np.uint16)
    Image.fromarray(stored).save(tmp_path / "depth.png")
    expected = np.array([[0, 0.001, 10, 0, 0, 2.5]], np.float32)
    np.testing.assert_array_equal(read_depth_png(tmp_path / "depth.png"), expected)


def test_frames_of_the_protocols() -> None:
    names = [str(number) for number in range(49)]
    assert PROTOCOLS["dtu"].full.choose(names) == [str(number) for number in range(45, -1, -5)]
    assert get_protocol("dtu", compat=False).full.choose(names) == [str(number) for number in range(0, 49, 5)]
    assert PROTOCOLS["7scenes"].frames("full").choose([str(n) for n in range(1000)])[:3] == ["0", "20", "40"]
    assert len(PROTOCOLS["7scenes"].frames("few").choose([str(n) for n in range(1000)])) == 5
    assert PROTOCOLS["nrgbd"].frames("full", step=10).step == 10
    assert FrameChoice(1, at_most=3).choose(names) == ["0", "24", "48"]
    with pytest.raises(InputError, match="scannet"):
        get_protocol("scannet")


Broken = tuple[Callable[[Path, list[PosedFrame]], Path], Callable[[Path], object], Callable[[Path], object], str]


def _corrupt(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _small_depth(name: str) -> Callable[[Path], object]:
    return lambda folder: Image.fromarray(np.ones((4, 5), np.uint16)).save(folder / name)


def _read_all(captures: Callable[[Path], list]) -> Callable[[Path], object]:
    return lambda root: [read_frames(capture, FrameChoice(1), 32) for capture in captures(root)]


BROKEN: dict[str, Broken] = {
    "no split": (
        layouts.write_seven_scenes,
        lambda folder: (folder.parent / "TestSplit.txt").unlink(),
        _read_all(seven_scenes.captures),
        "no scene with a TestSplit.txt",
    ),
    "split names a missing sequence": (
        layouts.write_seven_scenes,
        _corrupt("../TestSplit.txt", "sequence12\n"),
        _read_all(seven_scenes.captures),
        "seq-12: no such folder",
    ),
    "split with another text": (
        layouts.write_seven_scenes,
        _corrupt("../TestSplit.txt", "../../etc\n"),
        _read_all(seven_scenes.captures),
        "expected names such as sequence1",
    ),
    "depth not projected": (
        layouts.write_seven_scenes,
        lambda folder: (folder / "frame-000000.depth.proj.png").rename(folder / "frame-000000.depth.png"),
        _read_all(seven_scenes.captures),
        "expected depth projected into the colour camera",
    ),
    "depth of another size": (
        layouts.write_seven_scenes,
        _small_depth("frame-000001.depth.proj.png"),
        _read_all(seven_scenes.captures),
        "depth map is 5x4, expected 640x480",
    ),
    "pose with three rows": (
        layouts.write_seven_scenes,
        _corrupt("frame-000001.pose.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n"),
        _read_all(seven_scenes.captures),
        "3x4 numbers, expected a 4x4 pose",
    ),
    "picture cut off": (
        layouts.write_seven_scenes,
        _corrupt("frame-000000.color.png", b"\x89PNG\r\n\x1a\n1234"),
        _read_all(seven_scenes.captures),
        "cannot be decoded",
    ),
    "more poses than pictures": (
        layouts.write_nrgbd,
        _remove("images/img1.png"),
        _read_all(nrgbd.captures),
        "2 poses and 1 pictures",
    ),
    "another focal length": (
        layouts.write_nrgbd,
        _corrupt("focal.txt", "600"),
        _read_all(nrgbd.captures),
        "focal length 600, expected 554.256",
    ),
    "depth missing": (
        layouts.write_nrgbd,
        _remove("depth/depth0.png"),
        _read_all(nrgbd.captures),
        "depth0.png: no such file",
    ),
    "camera without numbers": (
        layouts.write_dtu,
        _corrupt("cams/00000000_cam.txt", "extrinsic\n1 2\nintrinsic\n"),
        _read_all(dtu.captures),
        "'extrinsic' with 16 numbers",
    ),
    "mask missing": (
        layouts.write_dtu,
        _remove("binary_masks/00000001.png"),
        _read_all(dtu.captures),
        "expected a mask of the object",
    ),
    "pickled depth": (
        layouts.write_dtu,
        lambda folder: np.save(folder / "depths/00000000.npy", np.array([{}], dtype=object), allow_pickle=True),
        _read_all(dtu.captures),
        "cannot be read",
    ),
    "no room": (layouts.write_dtu, lambda folder: None, _read_all(synthetic.captures), "no rooms"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_bad_input_is_told_in_one_sentence(tmp_path: Path, case: str) -> None:
    write, spoil, read, message = BROKEN[case]
    size = (64, 48) if write is layouts.write_dtu else (640, 480)
    spoil(write(tmp_path, layouts.room_frames(2, size)))
    with pytest.raises(InputError) as raised:
        read(tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_broken_scene_does_not_hide_the_others(tmp_path: Path, small: list[PosedFrame]) -> None:
    layouts.write_room(tmp_path, small, "room_0_00000")
    (layouts.write_room(tmp_path, small, "room_0_00001") / "scene.json").write_text("{")
    good, bad = synthetic.captures(tmp_path)
    assert (good.error, len(good.frames)) == (None, 2)
    assert bad.error is not None and "scene.json: no JSON" in bad.error


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_missing_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such folder"):
        PROTOCOLS[name].captures(tmp_path / "nowhere")
