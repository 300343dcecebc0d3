"""Rooms written in ARKitScenes' layouts come back from the reader as they were, and upright."""

from __future__ import annotations

import json
import logging
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from qa_generation.errors import InputError
from qa_generation.readers.arkitscenes import ARKitScenesReader
from qa_generation.readers.arkitscenes_trajectory import read_trajectory
from qa_generation.readers.base import open_reader
from qa_generation.readers.quarter_turn import turn_intrinsics, turn_pose
from qa_generation.scene import ComputedBlob, Scene
from qa_generation.splits import assign_splits
from qa_generation.synthetic.content import SyntheticScene
from qa_generation.writers.arkitscenes import (
    ARKitScenesOptions,
    write_arkitscenes_metadata,
    write_arkitscenes_scene,
)
from tests.qa_generation.reader_checks import (
    depth_error_m,
    least_held_share,
    neighbour_disagreement_m,
    wrong_color_share,
)
from tests.qa_generation.scannet_factories import rendered_room

NAME = "40753679"
LANDSCAPE, PORTRAIT = (256, 192), (192, 256)


@pytest.fixture(scope="module")
def room() -> SyntheticScene:
    return rendered_room(size=LANDSCAPE)


@pytest.fixture(scope="module")
def upright_room() -> SyntheticScene:
    return rendered_room(size=PORTRAIT)


def read(root: Path, **options: str) -> Scene:
    return open_reader("arkitscenes", root, options).read(NAME)


def bottoms(room: SyntheticScene) -> np.ndarray:
    """Triangles that lie flat at the bottom of their object, where the floor cannot be told from it."""
    corners = room.mesh.vertices[room.mesh.triangles][..., 2]
    lowest = np.array([0.0, *(x.obb.corners[:, 2].min() for _, x in sorted(room.instances.items()))])
    flat_at = np.abs(corners - lowest[room.mesh.triangle_instances][:, None]).max(axis=1) < 1e-6
    return flat_at & (room.mesh.triangle_instances > 0)


def check_scene(scene: Scene, room: SyntheticScene) -> None:
    assert {i: x.category for i, x in scene.instances.items()} == {i: x.category for i, x in room.instances.items()}
    hidden = bottoms(room)
    np.testing.assert_array_equal(
        scene.mesh.triangle_instances[~hidden], room.mesh.triangle_instances[~hidden], "all but undersides"
    )
    assert least_held_share(scene) >= 0.99
    for number, instance in scene.instances.items():
        np.testing.assert_allclose(instance.obb.corners, room.instances[number].obb.corners, atol=1e-9)
    for written, view in zip(room.views, scene.views, strict=True):
        np.testing.assert_allclose(view.world_to_camera, written.world_to_camera, atol=1e-6)
        np.testing.assert_allclose(view.intrinsics, written.intrinsics, atol=1e-5)
        assert view.size == written.size
        assert depth_error_m(scene, view) < 1e-3
        assert wrong_color_share(scene, view) < 0.002


@pytest.mark.parametrize("layout", ["3dod", "raw"])
def test_both_layouts(room: SyntheticScene, tmp_path: Path, layout: str) -> None:
    folder = write_arkitscenes_scene(room, tmp_path, NAME, ARKitScenesOptions(layout=layout))  # type: ignore[arg-type]
    frames = folder / f"{NAME}_frames" if layout == "3dod" else folder
    for name in (
        folder / f"{NAME}_3dod_mesh.ply",
        folder / f"{NAME}_3dod_annotation.json",
        frames / "lowres_wide.traj",
        frames / "lowres_wide" / f"{NAME}_6790.123.png",
        frames / "lowres_depth" / f"{NAME}_6790.123.png",
        frames / "lowres_wide_intrinsics" / f"{NAME}_6790.222.pincam",  # a millisecond early
    ):
        assert name.is_file()
    scene = read(tmp_path)
    check_scene(scene, room)
    assert [view.view_id for view in scene.views][:2] == ["frame_006790123", "frame_006790223"]
    apart = [neighbour_disagreement_m(a, b) for a, b in combinations(scene.views, 2)]
    assert np.nanmax(apart) < 2e-3 and np.isfinite(apart).sum() >= 3
    for root in (tmp_path / layout, tmp_path / layout / "Training"):
        assert ARKitScenesReader(root).scene_ids() == [NAME]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_pictures_are_turned_upright(
    room: SyntheticScene, upright_room: SyntheticScene, tmp_path: Path, turns: int
) -> None:
    """Whatever way the device was held, the scene is that of the upright camera, pixel for pixel."""
    held = upright_room if turns % 2 else room
    folder = write_arkitscenes_scene(held, tmp_path, NAME, ARKitScenesOptions(turns=turns))
    stored = folder / f"{NAME}_frames" / "lowres_wide" / f"{NAME}_6790.123.png"
    assert Image.open(stored).size == LANDSCAPE, "the device stores landscape whatever way it is held"
    scene = read(tmp_path)
    check_scene(scene, held)
    assert isinstance(scene.views[0].image, ComputedBlob) == (turns > 0)
    for written, view in zip(held.views, scene.views, strict=True):
        assert view.read_depth is not None
        np.testing.assert_allclose(view.read_depth(), written.depth_m, atol=0.5e-3 + 1e-6)
        assert view.world_to_camera[1, 2] < 0, "world up is up in the picture"


def test_a_picture_on_its_side_is_left_out(
    room: SyntheticScene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_arkitscenes_scene(room, tmp_path, NAME, ARKitScenesOptions(off_poses=frozenset()))
    path = folder / f"{NAME}_frames" / "lowres_wide.traj"
    lines = path.read_text().splitlines()
    time, *numbers = lines[3].split()
    pose = np.array(numbers, dtype=float)
    quarter = Rotation.from_rotvec([0, 0, np.pi / 2])
    turned = [*(quarter * Rotation.from_rotvec(pose[:3])).as_rotvec(), *quarter.apply(pose[3:])]
    lines[3] = " ".join([time, *(str(number) for number in turned)])
    path.write_text("\n".join(lines))
    with caplog.at_level(logging.WARNING):
        scene = read(tmp_path)
    assert len(scene.views) == 5 and "frame_006790423" not in {view.view_id for view in scene.views}
    assert "1 of 6 frames have another way up" in caplog.text


def test_frames_without_pose_or_calibration_are_left_out(
    room: SyntheticScene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ARKitScenesOptions(lost=frozenset({3}), pincam_offsets_ms=(0, 0, 0, 0, 0, None))
    folder = write_arkitscenes_scene(room, tmp_path, NAME, options)
    path = folder / f"{NAME}_frames" / "lowres_wide.traj"
    path.write_text(path.read_text() + "6802.130 nan nan nan nan nan nan\n")
    with caplog.at_level(logging.WARNING):
        scene = read(tmp_path)
    assert [view.view_id for view in scene.views] == [f"frame_00{6790123 + 4000 * n}" for n in (0, 1, 2, 4)]
    assert "1 of 6 frames have no pose" in caplog.text and "1 of 6 frames have no calibration" in caplog.text


def test_depth_of_low_confidence_is_missing(room: SyntheticScene, tmp_path: Path) -> None:
    write_arkitscenes_scene(room, tmp_path, NAME, ARKitScenesOptions(layout="raw", confidence=True))
    for confidence, expected in (("1", 0.0), ("0", 30.0)):
        read_depth = read(tmp_path, min_confidence=confidence).views[0].read_depth
        assert read_depth is not None
        depth = read_depth()
        assert (depth[:40, :40] == expected).all()
        np.testing.assert_allclose(depth[40:], room.views[0].depth_m[40:], atol=0.5e-3 + 1e-6)


def test_larger_pictures_with_small_depth(tmp_path: Path) -> None:
    room = rendered_room(views=3, size=(640, 480))
    options = ARKitScenesOptions(layout="raw", camera="vga_wide", turns=2)
    write_arkitscenes_scene(room, tmp_path, NAME, options)
    scene = read(tmp_path, camera="vga_wide")
    for view in scene.views:
        assert view.size == (640, 480)
        assert wrong_color_share(scene, view) < 0.002
        assert depth_error_m(scene, view) < 0.01  # the nearest of 256x192


def test_box_in_mid_air_is_noted(room: SyntheticScene, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_arkitscenes_scene(room, tmp_path, NAME, ARKitScenesOptions(phantom=True))
    with caplog.at_level(logging.WARNING):
        scene = read(tmp_path)
    assert sorted(scene.instances) == list(range(1, 11))
    assert "data[10] ('tv monitor'): box holds no triangle" in caplog.text


@pytest.mark.parametrize("label", ["tv_monitor", "tv/monitor", "tv monitor", " tv - monitor "])
def test_words_of_a_label_are_parted_by_spaces(room: SyntheticScene, tmp_path: Path, label: str) -> None:
    path = write_arkitscenes_scene(room, tmp_path, NAME) / f"{NAME}_3dod_annotation.json"
    content = json.loads(path.read_text())
    content["data"][8]["label"] = label
    path.write_text(json.dumps(content))
    assert read(tmp_path).instances[9].category == "tv monitor"


def test_smallest_of_overlapping_boxes_wins(room: SyntheticScene, tmp_path: Path) -> None:
    """A box around table, monitor and lamp takes only what the smaller ones leave: the table."""
    folder = write_arkitscenes_scene(room, tmp_path, NAME)
    path = folder / f"{NAME}_3dod_annotation.json"
    content = json.loads(path.read_text())
    box = content["data"][0]["segments"]["obbAligned"]
    box["axesLengths"][2], box["centroid"][2] = 1.2, 0.6
    path.write_text(json.dumps(content))
    check = read(tmp_path).mesh.triangle_instances
    hidden = bottoms(room)
    np.testing.assert_array_equal(check[~hidden], room.mesh.triangle_instances[~hidden])


def test_splits(room: SyntheticScene, tmp_path: Path) -> None:
    write_arkitscenes_scene(room, tmp_path, NAME)
    shutil.copytree(tmp_path / "3dod" / "Training", tmp_path / "3dod" / "Validation")
    (tmp_path / "3dod" / "Validation" / NAME).rename(tmp_path / "3dod" / "Validation" / "41069021")
    assert ARKitScenesReader(tmp_path).scene_ids() == [NAME, "41069021"]
    assert ARKitScenesReader(tmp_path, split="Validation").scene_ids() == ["41069021"]
    assert ARKitScenesReader(tmp_path / "3dod" / "Training", split="Training").scene_ids() == [NAME]
    with pytest.raises(InputError, match="holds no ARKitScenes video"):
        ARKitScenesReader(tmp_path / "3dod" / "Training" / NAME).scene_ids()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "ultrawide"}, "camera is 'ultrawide', expected lowres_wide, vga_wide, wide"),
        ({"split": "Test"}, "split is 'Test', expected Training or Validation"),
        ({"min_confidence": "3"}, "min_confidence is 3, expected 0, 1 or 2"),
        ({"frame_stride": "-1"}, "frame_stride is -1, expected 1 or more"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reader("arkitscenes", tmp_path, options)


def test_poses_between_two_of_the_trajectory(tmp_path: Path) -> None:
    """A quarter turn about z and a metre of way in 0.4 s, looked at in the middle and at the ends."""
    path = tmp_path / "lowres_wide.traj"
    end = Rotation.from_rotvec([0, 0, np.pi / 2]).inv()
    shift = -end.apply([1.0, 0.0, 0.0])
    numbers = [*end.as_rotvec(), *shift]
    path.write_text("10.4 " + " ".join(str(n) for n in numbers) + "\n10.0 0 0 0 0 0 0\n12.0 0 0 0 0 0 0\n")
    trajectory = read_trajectory(path)
    middle = trajectory.camera_to_world(10.2)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        middle, [[half, -half, 0, 0.5], [half, half, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], atol=1e-12
    )
    np.testing.assert_allclose(trajectory.camera_to_world(10.004), np.eye(4), atol=1e-12)
    near_start = trajectory.camera_to_world(10.1)
    assert near_start is not None and near_start[0, 3] == pytest.approx(0.25)
    assert trajectory.camera_to_world(11.0) is None, "too long a gap"
    assert trajectory.camera_to_world(9.9) is None and trajectory.camera_to_world(12.1) is None


@pytest.mark.parametrize("turns", range(5))
def test_turned_camera_sees_the_turned_pixel(turns: int) -> None:
    """A point's pixel in the turned camera is where numpy puts that pixel when it turns the array."""
    size = (8, 6)
    intrinsics = np.array([[7.0, 0, 3.2], [0, 9.0, 2.1], [0, 0, 1]])
    point = np.linalg.inv(intrinsics) @ [5.0, 1.0, 1.0]
    array = np.zeros(size[::-1])
    array[1, 5] = 1
    row, column = np.argwhere(np.rot90(array, -turns))[0]
    seen = turn_intrinsics(intrinsics, size, turns) @ (turn_pose(np.eye(4), turns)[:3, :3] @ point)
    np.testing.assert_allclose(seen, [column, row, 1], atol=1e-12)


def test_writing_twice_gives_the_same_bytes(room: SyntheticScene, tmp_path: Path) -> None:
    once, again = (write_arkitscenes_scene(room, tmp_path / name, NAME) for name in "ab")
    for path in once.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(once)).read_bytes(), path.name


def test_videos_of_one_visit_share_a_split(tmp_path: Path) -> None:
    """With the download's metadata the visit stands in the id, and all its videos are held out or none."""
    folder = tmp_path / "3dod" / "Training"
    visits = {str(40753600 + number): 421000 + number // 3 for number in range(12)}
    for video in [*visits, "40753699"]:
        (folder / video).mkdir(parents=True)
    write_arkitscenes_metadata(folder.parent, {**visits, "40753699": None})
    for root in (tmp_path, tmp_path / "3dod", folder):
        ids = ARKitScenesReader(root).scene_ids()
        assert ids == ["40753699", *(f"visit{visit}_{video}" for video, visit in visits.items())]
    assigned = assign_splits(ids, {"test": 0.3}, seed=0)
    for visit in set(visits.values()):
        splits = {assigned[f"visit{visit}_{video}"] for video in visits if visits[video] == visit}
        assert len(splits) == 1
    assert set(assigned.values()) == {"train", "test"}


@pytest.mark.parametrize(
    ("content", "message"), [("a,b\n1,2\n", "has no column 'video_id'"), ("\xff", "cannot be read")]
)
def test_bad_metadata(room: SyntheticScene, tmp_path: Path, content: str, message: str) -> None:
    write_arkitscenes_scene(room, tmp_path, NAME)
    (tmp_path / "3dod" / "metadata.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        ARKitScenesReader(tmp_path).scene_ids()


def test_scene_with_a_visit_is_read(room: SyntheticScene, tmp_path: Path) -> None:
    write_arkitscenes_scene(room, tmp_path, NAME)
    write_arkitscenes_metadata(tmp_path / "3dod", {NAME: 421013})
    scene = ARKitScenesReader(tmp_path).read(f"visit421013_{NAME}")
    assert scene.scene_id == f"visit421013_{NAME}" and len(scene.views) == 6
