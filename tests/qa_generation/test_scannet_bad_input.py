"""Every missing, truncated or contradictory file of a ScanNet scan is named in one sentence."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.scannet import ScanNetReader
from qa_generation.writers.scannet import scan_alignment
from tests.qa_generation.scannet_factories import NAME, SIZE, copy_dataset, export_frames, rendered_room, write_dataset

SENS, INFO, MESH = f"{NAME}.sens", f"{NAME}.txt", f"{NAME}_vh_clean_2.ply"
SEGMENTS, GROUPS = f"{NAME}_vh_clean_2.0.010000.segs.json", f"{NAME}.aggregation.json"
# bytes before the first frame: version, name with its length, 4 matrices, 2 codings, 4 sizes, depth shift, count
FIRST_FRAME = 4 + 8 + len("synthetic room") + 4 * 64 + 8 + 16 + 4 + 8
INTRINSICS = 4 + 8 + len("synthetic room")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "data"
    write_dataset(root, rendered_room(views=3))
    return root


@pytest.fixture(scope="module")
def exported(dataset: Path) -> Path:
    root = dataset.parent / "exported"
    scene = ScanNetReader(dataset).read(NAME)
    export_frames(scene, np.linalg.inv(scan_alignment(NAME)), copy_dataset(dataset, root), "folders", SIZE)
    return root


def edit_bytes(offset: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda old: old[:offset] + data + old[offset + len(data) :]


def edit_text(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old.encode(), new.encode())


def edit_json(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def edit(data: bytes) -> bytes:
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return edit


def set_group(number: int, **fields: Any) -> Callable[[bytes], bytes]:
    return edit_json(lambda content: content["segGroups"][number].update(fields))


def claim_the_same_segment(content: Any) -> None:
    content["segGroups"][3]["segments"] += content["segGroups"][1]["segments"]


def set_first_vertex(data: bytes, x: float) -> bytes:
    start = data.index(b"end_header\n") + len(b"end_header\n")
    return data[:start] + struct.pack("<f", x) + data[start + 4 :]


BAD_FILES = [
    (SENS, lambda data: data[:100], "truncated in the header"),
    (SENS, lambda data: data[: FIRST_FRAME + 40], "truncated in the frames"),
    (SENS, lambda data: data[:-4000], "truncated in the depth of frame 2 of 3"),
    (SENS, edit_bytes(0, struct.pack("<I", 5)), "version is 5, expected 3 or 4"),
    (SENS, edit_bytes(INTRINSICS, bytes(4)), r"intrinsic_color: focal length is \(0, "),
    (SENS, edit_bytes(FIRST_FRAME - 12 - 24, struct.pack("<i", 0)), "color compression raw is not supported"),
    (SENS, edit_bytes(FIRST_FRAME - 12 - 16, struct.pack("<II", 40, 30)), "principal point"),
    (SENS, edit_bytes(FIRST_FRAME - 12 - 16, struct.pack("<II", 161, 120)), "picture is 160x120, expected 161x120"),
    (SENS, edit_bytes(FIRST_FRAME, struct.pack("<f", 1.5)), "frame 0: pose is not rigid"),
    (SENS, edit_bytes(FIRST_FRAME + 96, bytes(64)), "frame 0: picture cannot be decoded"),
    (SENS, lambda data: data.replace(b"\xff\xd9", b"\x00\x00", 1), "frame 0: picture is truncated"),
    (INFO, lambda data: b"", "file is empty"),
    (INFO, lambda data: b"\xff\xfe\x00", "cannot be read as text"),
    (INFO, lambda data: data.replace(b"axisAlignment = ", b"axisAlignment = 1.0 "), "holds 17 numbers, expected 16"),
    (INFO, edit_text("1.000000 \n", "\n"), "axisAlignment: holds 15 numbers, expected 16"),
    (INFO, edit_text("axisAlignment = ", "axisAlignment = x"), "something that is no number"),
    (INFO, lambda data: b"axisAlignment = " + b"2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1", "axisAlignment: pose is not rigid"),
    (MESH, lambda data: data[:-30], "cannot be read as a PLY mesh"),
    (MESH, lambda data: b"solid cube", "cannot be read as a PLY mesh"),
    (MESH, edit_text("property float z", "property float w"), "has no property z"),
    (MESH, lambda data: data[:-4] + struct.pack("<i", 10**6), "a face points at vertex 1000000"),
    (MESH, lambda data: set_first_vertex(data, np.nan), r"vertex 0 is at \[nan, "),
    (MESH, lambda data: set_first_vertex(data, 1e30), "expected within 1000 metres"),
    (SEGMENTS, lambda data: data[:-20], "is not valid JSON"),
    (SEGMENTS, lambda data: b"[1, 2]", "expected a JSON object"),
    (SEGMENTS, edit_json(lambda content: content.pop("segIndices")), "has no list segIndices"),
    (SEGMENTS, edit_json(lambda content: content["segIndices"].pop()), "has 127 entries, but the mesh has 128"),
    (SEGMENTS, edit_json(lambda content: content["segIndices"].__setitem__(3, "x")), "no whole number"),
    (SEGMENTS, edit_json(lambda content: content["segIndices"].__setitem__(3, [1])), "no whole number"),
    (SEGMENTS, edit_json(lambda content: content["segIndices"].__setitem__(3, 1.5)), "no whole number"),
    (GROUPS, lambda data: b"\xff\xff", "is not valid JSON"),
    (GROUPS, lambda data: b"[" * 100_000, "is not valid JSON"),
    (GROUPS, edit_json(lambda content: content.pop("segGroups")), "has no segGroups"),
    (GROUPS, edit_json(lambda content: content["segGroups"].clear()), "has no segGroups"),
    (GROUPS, edit_json(claim_the_same_segment), "belongs to objects 1 and 3"),
    (GROUPS, set_group(2, segments=[99_999]), r"object 2 \('chair'\) has segment 99999, which no vertex has"),
    (GROUPS, set_group(2, segments="all"), r"segGroups\[2\]: segments is no list"),
    (GROUPS, set_group(2, objectId=-1), r"segGroups\[2\]: objectId is -1"),
    (GROUPS, set_group(2, objectId=True), r"segGroups\[2\]: objectId is True"),
    (GROUPS, set_group(2, objectId=0), "objectId 0 stands in two groups"),
    (GROUPS, set_group(2, label=None), r"segGroups\[2\]: label is None"),
    (GROUPS, edit_text("_vh_clean_2.0.010000.segs", "_vh_clean.segs"), "belongs to the full-size mesh"),
]


@pytest.mark.parametrize(("name", "edit", "message"), BAD_FILES, ids=[bad[2] for bad in BAD_FILES])
def test_bad_file_is_named(
    dataset: Path, tmp_path: Path, name: str, edit: Callable[[bytes], bytes], message: str
) -> None:
    path = copy_dataset(dataset, tmp_path / "data") / name
    path.write_bytes(edit(path.read_bytes()))
    expect_error(tmp_path / "data", message, name)


@pytest.mark.parametrize("name", [INFO, MESH, SEGMENTS, GROUPS])
def test_missing_file_is_named(dataset: Path, tmp_path: Path, name: str) -> None:
    (copy_dataset(dataset, tmp_path / "data") / name).unlink()
    expect_error(tmp_path / "data", "no such file", name)


def test_scan_without_frames(dataset: Path, tmp_path: Path) -> None:
    (copy_dataset(dataset, tmp_path / "data") / SENS).unlink()
    expect_error(tmp_path / "data", "no color/ and no sensor_data/", SENS)


def test_empty_scan_and_a_good_one_beside_it(dataset: Path, tmp_path: Path) -> None:
    copy_dataset(dataset, tmp_path / "data")
    (tmp_path / "data" / "scans" / "scene0001_00").mkdir()
    reader = ScanNetReader(tmp_path / "data")
    assert reader.scene_ids() == [NAME, "scene0001_00"]
    with pytest.raises(SceneError, match=r"scene0001_00\.txt: no such file"):
        reader.read("scene0001_00")
    assert len(reader.read(NAME).views) == 3


def test_lost_frames_are_left_out_and_counted(dataset: Path, tmp_path: Path) -> None:
    path = copy_dataset(dataset, tmp_path / "data") / SENS
    path.write_bytes(edit_bytes(FIRST_FRAME, struct.pack("<16f", *[-np.inf] * 16))(path.read_bytes()))
    scene, report = ScanNetReader(tmp_path / "data").read_with_report(NAME)
    assert [view.view_id for view in scene.views] == ["frame_000001", "frame_000002"]
    assert (report.total_frames, report.stride, report.lost_frames) == (3, 1, 1)
    assert any("1 of 3 frames have no pose" in note for note in report.notes)


def test_scan_with_one_usable_view(dataset: Path, tmp_path: Path) -> None:
    copy_dataset(dataset, tmp_path / "data")
    with pytest.raises(SceneError, match="1 usable view, expected at least 2"):
        ScanNetReader(tmp_path / "data", frame_stride=3).read(NAME)


def test_depth_that_does_not_unpack_is_told_when_it_is_read(dataset: Path, tmp_path: Path) -> None:
    path = copy_dataset(dataset, tmp_path / "data") / SENS
    data = bytearray(path.read_bytes())
    color_bytes = struct.unpack_from("<Q", data, FIRST_FRAME + 80)[0]
    start = FIRST_FRAME + 96 + color_bytes
    data[start : start + 8] = bytes(8)
    path.write_bytes(data)
    view = ScanNetReader(tmp_path / "data").read(NAME).views[0]
    assert view.read_depth is not None
    with pytest.raises(SceneError, match="is not a zlib stream"):
        view.read_depth()


BAD_EXPORTS = [
    ("pose/1.txt", None, "holds no pose of frame 1"),
    ("pose/1.txt", b"1 0 0 0", "holds 4 numbers, expected 16"),
    ("pose/1.txt", b"nought " * 16, "something that is no number"),
    ("depth/2.png", None, "holds no depth of frame 2"),
    ("color/1.jpg", b"not a picture", "picture cannot be decoded"),
    ("color/1.jpg", b"", "file is empty"),
    ("color/1.jpg", slice(-40), "picture is truncated, expected a whole JPEG"),
    ("color/01.jpg", b"twice", "01.jpg and 1.jpg are both frame 1"),
    ("intrinsic/intrinsic_color.txt", b"0 0 79.5 0 0 0 59.5 0 0 0 1 0 0 0 0 1", "focal length is"),
    ("intrinsic/intrinsic_color.txt", b"1 2 3", "holds 3 numbers, expected 16"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_EXPORTS)
def test_bad_exported_file_is_named(
    exported: Path, tmp_path: Path, name: str, content: bytes | slice | None, message: str
) -> None:
    path = copy_dataset(exported, tmp_path / "data") / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[content] if isinstance(content, slice) else content)
    expect_error(tmp_path / "data", message, path.parent.name)


def test_exported_pictures_of_another_shape_contradict_the_calibration(exported: Path, tmp_path: Path) -> None:
    info = copy_dataset(exported, tmp_path / "data") / INFO
    info.write_text(info.read_text().replace("colorHeight = 120", "colorHeight = 160"))
    expect_error(tmp_path / "data", "for pictures of 160x160, but they are 160x120", "intrinsic_color.txt")


def test_exported_frames_without_a_calibration_anywhere(exported: Path, tmp_path: Path) -> None:
    folder = copy_dataset(exported, tmp_path / "data")
    (folder / "intrinsic" / "intrinsic_color.txt").unlink()
    assert len(ScanNetReader(tmp_path / "data").read(NAME).views) == 3, "the scan's .txt has it too"
    info = folder / INFO
    info.write_text("".join(line for line in info.read_text().splitlines(keepends=True) if "fx_color" not in line))
    expect_error(tmp_path / "data", "has no fx_color", INFO)


def test_exported_depth_of_eight_bits_is_told_when_it_is_read(exported: Path, tmp_path: Path) -> None:
    folder = copy_dataset(exported, tmp_path / "data")
    (folder / "depth" / "0.png").write_bytes((folder / "color" / "0.jpg").read_bytes())
    view = ScanNetReader(tmp_path / "data").read(NAME).views[0]
    assert view.read_depth is not None
    with pytest.raises(SceneError, match="depth has mode RGB, expected one channel of 16 bits"):
        view.read_depth()


def test_folder_without_scans(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no ScanNet scan, expected scans/scene0000_00"):
        ScanNetReader(tmp_path).scene_ids()


def test_scan_outside_the_root_is_not_read(dataset: Path) -> None:
    with pytest.raises(SceneError, match="holds no scan"):
        ScanNetReader(dataset).read(f"../scans/{NAME}")


def test_stride_of_nought(dataset: Path) -> None:
    with pytest.raises(InputError, match="frame_stride is 0"):
        ScanNetReader(dataset, frame_stride=0)


def expect_error(root: Path, message: str, name: str) -> None:
    reader = ScanNetReader(root)
    with pytest.raises(SceneError, match=message) as caught:
        reader.read(NAME)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
