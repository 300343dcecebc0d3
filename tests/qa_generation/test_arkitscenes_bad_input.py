"""Every missing, truncated or contradictory file of an ARKitScenes video is named in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.arkitscenes import ARKitScenesReader
from qa_generation.writers.arkitscenes import ARKitScenesOptions, write_arkitscenes_scene
from tests.qa_generation.scannet_factories import rendered_room
from tests.qa_generation.spoiling import Edit, changed, cut, draw_odd_json, spoil, text

NAME = "40753679"
MESH, BOXES, TRAJECTORY = f"{NAME}_3dod_mesh.ply", f"{NAME}_3dod_annotation.json", "lowres_wide.traj"
PICTURE, PINCAM = f"lowres_wide/{NAME}_6790.123.png", f"lowres_wide_intrinsics/{NAME}_6790.123.pincam"
DEPTH, CONFIDENCE = f"lowres_depth/{NAME}_6790.123.png", f"confidence/{NAME}_6790.123.png"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "data"
    options = ARKitScenesOptions(layout="raw", confidence=True, turns=2)
    write_arkitscenes_scene(rendered_room(views=3, size=(64, 48)), root, NAME, options)
    return root


def copied(dataset: Path, target: Path) -> Path:
    shutil.copytree(dataset, target)
    return target / "raw" / "Training" / NAME


def read_everything(root: Path) -> None:
    for view in ARKitScenesReader(root).read(NAME).views:
        view.image.read()
        if view.read_depth is not None:
            view.read_depth()


def box(number: int, **fields: object) -> Edit:
    return changed(lambda content: content["data"][number]["segments"]["obbAligned"].update(fields))


def entry(number: int, **fields: object) -> Edit:
    return changed(lambda content: content["data"][number].update(fields))


MISSING = [
    (MESH, "with 3dod, or as raw asset mesh"),
    (BOXES, "with 3dod, or as raw asset annotation"),
    (TRAJECTORY, "asset lowres_wide.traj of the official download"),
    ("lowres_wide", "holds no pictures; asset lowres_wide of"),
    ("lowres_wide_intrinsics", "holds no calibrations; asset lowres_wide_intrinsics of"),
]


@pytest.mark.parametrize(("part", "message"), MISSING, ids=[part for part, _ in MISSING])
def test_what_is_missing_is_named_with_what_gives_it(dataset: Path, tmp_path: Path, part: str, message: str) -> None:
    path = copied(dataset, tmp_path / "data") / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SceneError, match=message):
        ARKitScenesReader(tmp_path / "data").read(NAME)


def test_camera_that_was_not_downloaded_is_named(dataset: Path) -> None:
    with pytest.raises(SceneError, match="vga_wide: holds no pictures; asset vga_wide of the official download"):
        ARKitScenesReader(dataset, camera="vga_wide").read(NAME)


def test_depth_and_confidence_may_be_missing(dataset: Path, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path / "data")
    shutil.rmtree(folder / "confidence")
    assert all(view.read_depth is not None for view in ARKitScenesReader(tmp_path / "data").read(NAME).views)
    shutil.rmtree(folder / "lowres_depth")
    assert [view.read_depth for view in ARKitScenesReader(tmp_path / "data").read(NAME).views] == [None] * 3


BAD = [
    (MESH, cut(30), "cannot be read as a PLY mesh"),
    (BOXES, cut(3), "is not valid JSON"),
    (BOXES, lambda data: b"[]", "holds list, expected a JSON object"),
    (BOXES, changed(lambda content: content.update(skipped=True)), "is marked as skipped"),
    (BOXES, changed(lambda content: content.pop("data")), "has no data"),
    (BOXES, changed(lambda content: content["data"].clear()), "has no data"),
    (BOXES, entry(2, segments=None), r"data\[2\]: has no segments"),
    (BOXES, entry(2, segments={}), r"data\[2\]: obbAligned: is NoneType"),
    (BOXES, entry(2, label=" "), r"data\[2\]: label is ' '"),
    (BOXES, box(2, centroid=[1, 2]), r"data\[2\]: obbAligned: centroid is \[1, 2\], expected 3"),
    (BOXES, box(2, centroid=["a", 2, 3]), "expected 3 finite numbers"),
    (BOXES, box(2, centroid=[1, float("nan"), 3]), "expected 3 finite numbers"),
    (BOXES, box(2, centroid=[1, 1e9, 3]), "is in no room"),
    (BOXES, box(2, axesLengths=[1, -1, 1]), "is in no room"),
    (BOXES, box(2, normalizedAxes=[0] * 9), "not three unit vectors"),
    (BOXES, box(2, normalizedAxes=[1, 0, 0, 0.2, 1, 0, 0, 0, 1]), "not three unit vectors"),
    (TRAJECTORY, lambda data: b"", "file is empty"),
    (TRAJECTORY, text(" ", " x"), "something that is no number"),
    (TRAJECTORY, lambda data: b"1 2 3\n" + data, "line 1 has 3 numbers, expected 7"),
    (TRAJECTORY, lambda data: b"1 nan 0 0 0 0 0\n", "holds no pose of finite numbers"),
    (TRAJECTORY, lambda data: data + b"9999 0 0 0 1e9 0 0\n", "further off than 1000 metres"),
    (TRAJECTORY, lambda data: b"1 0 0 0 0 0 0\n", "scene has 0 usable views"),
    (PICTURE, cut(20), "picture is truncated"),
    (PICTURE, lambda data: b"no picture", "picture cannot be decoded"),
    (PINCAM, lambda data: b"", "file is empty"),
    (PINCAM, lambda data: b"64 48 50 50 32", "expected the six numbers"),
    (PINCAM, lambda data: b"64 48 50 50 32 x", "expected the six numbers"),
    (PINCAM, lambda data: b"nan 48 50 50 32 24", "width and height are nan and 48"),
    (PINCAM, lambda data: b"64 48 -50 50 32 24", "focal length is"),
    (PINCAM, lambda data: b"64 48 50 50 32 nan", "intrinsics hold NaN"),
    (PINCAM, lambda data: b"48 64 50 50 24 32", "for pictures of 48x64, but they are 64x48"),
    (DEPTH, lambda data: data[: len(data) // 2], "depth cannot be decoded"),
    (CONFIDENCE, cut(40), "cannot be decoded"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit", "message"), BAD, ids=[f"{bad[0]} {bad[2]}" for bad in BAD])
def test_bad_file_is_named(dataset: Path, tmp_path: Path, name: str, edit: Edit, message: str) -> None:
    folder = copied(dataset, tmp_path / "data")
    spoil(folder / name, edit)
    with pytest.raises(SceneError, match=message) as caught:
        read_everything(tmp_path / "data")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_two_names_of_one_time_are_refused(dataset: Path, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path / "data") / "lowres_wide"
    shutil.copy(folder / f"{NAME}_6790.123.png", folder / f"{NAME}_06790.123.png")
    with pytest.raises(SceneError, match="are of one time, expected one"):
        ARKitScenesReader(tmp_path / "data").read(NAME)


def test_boxes_that_hold_nothing_at_all(dataset: Path, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path / "data")

    def lift(content: dict) -> None:  # type: ignore[type-arg]
        for item in content["data"]:
            item["segments"]["obbAligned"]["centroid"][2] += 50

    spoil(folder / BOXES, changed(lift))
    with pytest.raises(SceneError, match="none of its 10 boxes holds a triangle"):
        ARKitScenesReader(tmp_path / "data").read(NAME)


def test_no_video_at_all(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="holds no ARKitScenes video, expected 3dod/Training/40753679"):
        ARKitScenesReader(tmp_path).scene_ids()
    with pytest.raises(SceneError, match="holds no video 40753679"):
        ARKitScenesReader(tmp_path).read(NAME)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_bring_no_other_error(data: st.DataObject, dataset: Path) -> None:
    """Whatever becomes of a file, the video is read or refused with one sentence; the file is then put back."""
    folder = dataset / "raw" / "Training" / NAME
    path = folder / data.draw(st.sampled_from([MESH, BOXES, TRAJECTORY, PICTURE, PINCAM, DEPTH, CONFIDENCE]))
    whole = path.read_bytes()
    spoiled = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        spoiled[place] = data.draw(st.integers(0, 255))
    try:
        path.write_bytes(bytes(spoiled[: data.draw(st.sampled_from([len(whole), len(whole) // 2, 7, 0]))]))
        read_everything(dataset)
    except SceneError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(whole)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_json_brings_no_other_error(data: st.DataObject, dataset: Path) -> None:
    path = dataset / "raw" / "Training" / NAME / BOXES
    whole = path.read_bytes()
    try:
        path.write_bytes(json.dumps(draw_odd_json(data, json.loads(whole))).encode())
        read_everything(dataset)
    except SceneError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(whole)
