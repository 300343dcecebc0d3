"""Waymo folders that are incomplete or broken are refused with one sentence that names the file and what is wrong."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_generation.errors import InputError, SceneError
from qa_generation.image_store import store_image
from qa_generation.readers.base import open_reader
from qa_generation.readers.waymo import WaymoReader
from tests.qa_generation.waymo_factories import SEGMENT, change_cell, component, write_street

SCENE = f"{SEGMENT}_t000"
NAN_POSE = [float("nan")] * 16
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0]).ravel().tolist()
BOX, IMAGE = "[LiDARBoxComponent]", "[CameraImageComponent].image"
LENS, LIDAR = "[CameraCalibrationComponent]", "[LiDARComponent].range_image_return1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    write_street(root, frames=2)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def use(root: Path) -> None:
    """All that a scene goes through on its way to questions."""
    scene = WaymoReader(root).read(SCENE)
    assert len(scene.mesh.triangles)
    for view in scene.views:
        store_image(view, root.parent / "picture.jpg")


def test_a_whole_folder_is_used(root: Path) -> None:
    use(root)


@pytest.mark.parametrize(
    "name",
    ["vehicle_pose", "camera_calibration", "camera_image", "lidar_box", "lidar_calibration", "lidar_pose"],
)
def test_a_missing_component_is_named(root: Path, name: str) -> None:
    shutil.rmtree(root / "training" / name)
    assert WaymoReader(root).scene_ids() == [SCENE]
    with pytest.raises(SceneError, match=f"no such file, expected {name}/{SEGMENT}.parquet of the Waymo Open v2"):
        use(root)


@pytest.mark.parametrize("name", ["vehicle_pose", "camera_calibration", "camera_image", "lidar_box", "lidar"])
@pytest.mark.parametrize("spoil", ["empty", "cut", "text", "folder", "swapped"])
def test_a_broken_file_is_named(root: Path, name: str, spoil: str) -> None:
    path = component(root, name)
    content = path.read_bytes()
    if spoil == "folder":
        path.unlink()
        path.mkdir()
    elif spoil == "swapped":
        shutil.copy(component(root, "lidar_calibration"), path)
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"key,value\n"}[spoil])
    with pytest.raises(SceneError, match=str(path)) as error:
        use(root)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


CELLS: list[tuple[str, str, Any, str]] = [
    ("vehicle_pose", "[VehiclePoseComponent].world_from_vehicle.transform", NAN_POSE, "holds NaN"),
    ("vehicle_pose", "[VehiclePoseComponent].world_from_vehicle.transform", MIRROR, "mirrors space"),
    ("vehicle_pose", "[VehiclePoseComponent].world_from_vehicle.transform", None, "found nothing"),
    ("camera_calibration", "key.camera_name", 77, "is 77, expected one of 1 FRONT"),
    ("camera_calibration", "key.camera_name", 2, "FRONT_LEFT stands there twice"),
    ("camera_calibration", f"{LENS}.intrinsic.f_u", float("inf"), "holds NaN or infinity"),
    ("camera_calibration", f"{LENS}.intrinsic.f_u", -5.0, "expected two positive numbers"),
    ("camera_calibration", f"{LENS}.intrinsic.k1", 1e9, "leaves no picture"),
    ("camera_calibration", f"{LENS}.width", 0, "expected 1 to"),
    ("camera_calibration", f"{LENS}.width", 2_000_000_000, "expected 1 to"),
    ("camera_calibration", f"{LENS}.extrinsic.transform", NAN_POSE, "holds NaN"),
    ("camera_image", "key.camera_name", 0, "is 0, expected one of 1 FRONT"),
    ("camera_image", IMAGE, b"not a picture", "cannot be decoded"),
    ("camera_image", IMAGE, None, "holds no picture"),
    ("lidar_box", f"{BOX}.box.center.x", float("nan"), "expected metres and radians"),
    ("lidar_box", f"{BOX}.box.center.x", 1e30, "expected metres and radians"),
    ("lidar_box", f"{BOX}.box.size.z", 0.0, "expected metres above 0"),
    ("lidar_box", f"{BOX}.box.size.y", None, "expected metres and radians"),
    ("lidar_box", f"{BOX}.type", 9, "type is 9, expected 0 to 4"),
    ("lidar_box", "key.laser_object_id", "pedestrian-01-handmade-street", "stands twice"),
    ("lidar_calibration", "[LiDARCalibrationComponent].extrinsic.transform", MIRROR, "mirrors space"),
    ("lidar_calibration", "[LiDARCalibrationComponent].beam_inclination.values", [0.1, 0.2], "one for each of 2"),
    ("lidar_calibration", "key.laser_name", 5, "TOP at .* has no calibration"),
    ("lidar", f"{LIDAR}.shape", [1 << 30, 1 << 30, 4], "expected rows, columns"),
    ("lidar", f"{LIDAR}.shape", [16, 91, 4], "has 5760 values, expected 5824"),
    ("lidar", f"{LIDAR}.values", [1e9] * 5760, "expected metres up to 500"),
    ("lidar", f"{LIDAR}.values", [float("nan")] * 5760, "expected metres up to 500"),
    ("lidar", f"{LIDAR}.values", [1.0], "has 1 values, expected 5760"),
    ("lidar_pose", "[LiDARPoseComponent].range_image_return1.shape", [90, 16, 6], "expected 16x90"),
    ("lidar_pose", "[LiDARPoseComponent].range_image_return1.values", [float("inf")] * 8640, "and finite"),
    ("lidar_pose", "key.laser_name", 2, "has 0 rows, expected one"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "column", "value", "message"), CELLS)
def test_a_wrong_cell_is_named(root: Path, name: str, column: str, value: Any, message: str) -> None:
    change_cell(component(root, name), column, 0, value)
    with pytest.raises(SceneError, match=message) as error:
        use(root)
    assert SEGMENT in str(error.value)


@pytest.mark.parametrize(
    ("name", "column"),
    [("vehicle_pose", "key.frame_timestamp_micros"), ("camera_image", IMAGE), ("lidar_box", f"{BOX}.type")],
)
def test_a_missing_column_is_named(root: Path, name: str, column: str) -> None:
    path = component(root, name)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([column]), path)
    with pytest.raises(SceneError, match="has no column") as error:
        use(root)
    assert column in str(error.value)


def test_a_row_that_would_fill_the_memory_is_refused_unread(root: Path) -> None:
    """Forty million equal numbers take a few kilobytes in a parquet file."""
    path = component(root, "lidar")
    table = pq.read_table(path)
    values = pa.ListArray.from_arrays([0] * table.num_rows + [40_000_000], np.zeros(40_000_000, dtype=np.float32))
    place = table.schema.get_field_index(f"{LIDAR}.values")
    pq.write_table(
        table.set_column(place, table.schema.field(place), values.cast(table.schema.field(place).type)), path
    )
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SceneError, match=r"holds 400000.. values .* expected pictures or range images"):
        use(root)


def test_pictures_of_another_size_than_the_calibration_are_refused(root: Path) -> None:
    change_cell(component(root, "camera_calibration"), f"{LENS}.width", 0, 97)
    with pytest.raises(SceneError, match="picture is 96x64, expected 97x64"):
        use(root)


def test_missing_pictures_are_told_and_two_are_needed(root: Path) -> None:
    path = component(root, "camera_image")
    table = pq.read_table(path)
    pq.write_table(table.slice(2, 3), path)
    scene, notes = WaymoReader(root).read_with_notes(SCENE)
    assert len(scene.views) == 3 and len(notes) == 2 and "has no picture of FRONT at" in notes[0]
    pq.write_table(table.slice(4, 1), path)
    with pytest.raises(SceneError, match="expected at least 2"):
        WaymoReader(root).read(SCENE)


def test_a_moment_without_boxes_is_no_scene(root: Path) -> None:
    path = component(root, "lidar_box")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(SceneError, match="no annotated object"):
        WaymoReader(root).read(SCENE)


@pytest.mark.parametrize("scene_id", ["", "x", f"{SEGMENT}_t", f"{SEGMENT}_t999", "../../etc_t000", SEGMENT])
def test_unknown_scenes_are_refused(root: Path, scene_id: str) -> None:
    with pytest.raises(SceneError, match=r"holds no scene|was asked for"):
        WaymoReader(root).read(scene_id)


def test_files_with_odd_names_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(component(root, "lidar"), component(root, "lidar").with_name("ünïcödé 場面.parquet"))
    assert WaymoReader(root).scene_ids() == [SCENE]
    assert "is no name of a segment and left out" in caplog.text


def test_folders_without_segments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no Waymo Open v2 segment, expected <split>/<component>"):
        WaymoReader(tmp_path).scene_ids()
    (tmp_path / "segment-1.tfrecord").write_bytes(b"x")
    with pytest.raises(InputError, match="version 1 of Waymo Open, expected version 2"):
        WaymoReader(tmp_path).scene_ids()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snapshot_stride": "0"}, "snapshot_stride is 0"),
        ({"neighbours": "-1"}, "neighbours is -1"),
        ({"cameras": "FRONT,BACK"}, "cameras names 'BACK'"),
        ({"speed": "1"}, "'speed' is unknown"),
    ],
)
def test_bad_options(root: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reader("waymo", root, options)


def test_a_camera_that_the_segment_lacks_is_named(root: Path) -> None:
    with pytest.raises(SceneError, match="has no camera REAR, found"):
        WaymoReader(root, cameras="FRONT,REAR").read(SCENE)


def test_without_opencv_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"the reader waymo needs OpenCV.*pip install 'spatialvlm\[reconstruction\]'"):
        WaymoReader(root)
