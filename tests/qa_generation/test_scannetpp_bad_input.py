"""Every missing, truncated or contradictory file of a ScanNet++ scene is named in one sentence."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.scannetpp import ScanNetPPReader
from qa_generation.writers.scannetpp import ScanNetPPOptions, write_scannetpp_lists, write_scannetpp_scene
from tests.qa_generation.scannet_factories import rendered_room
from tests.qa_generation.spoiling import Edit, changed, cut, draw_odd_json, spoil, text

NAME = "0a5c013435"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "data"
    write_scannetpp_scene(rendered_room(views=3, size=(64, 48)), root, NAME, ScanNetPPOptions(depth="stream"))
    return root


def copied(dataset: Path, target: Path) -> Path:
    shutil.copytree(dataset, target)
    return target / "data" / NAME


def first_frame(**fields: object) -> Edit:
    return changed(lambda content: content["frame_000000"].update(fields))


def group(number: int, **fields: object) -> Edit:
    return changed(lambda content: content["segGroups"][number].update(fields))


def frame(number: int, **fields: object) -> Edit:
    return changed(lambda content: content["frames"][number].update(fields))


MISSING = [
    ("scans/mesh_aligned_0.05.ply", "iphone", "asset scan_mesh_path gives it"),
    ("scans/segments.json", "iphone", "asset scan_mesh_segs_path gives it"),
    ("scans/segments_anno.json", "iphone", "asset scan_anno_json_path gives it"),
    ("iphone", "iphone", "iphone_video_path and iphone_colmap_dir or iphone_pose_intrinsic_imu_path give it"),
    ("iphone/rgb", "iphone", "holds neither pictures in rgb/ nor rgb.mkv or rgb.mp4; .* iphone_video_path"),
    ("iphone/colmap/cameras.txt", "iphone", "holds neither cameras.bin nor cameras.txt"),
    ("dslr", "dslr", "assets dslr_resized_dir and dslr_colmap_dir give it"),
    ("dslr/resized_images;dslr/resized_undistorted_images", "dslr", "asset dslr_resized_dir the second"),
    ("dslr/nerfstudio;dslr/colmap", "dslr", "holds no COLMAP model in colmap/.* dslr_colmap_dir gives it"),
    ("iphone/colmap;iphone/pose_intrinsic_imu.json", "iphone", "iphone_colmap_dir or iphone_pose_intrinsic_imu_path"),
]


@pytest.mark.parametrize(("parts", "camera", "message"), MISSING, ids=[entry[0] for entry in MISSING])
def test_what_is_missing_is_named_with_what_gives_it(
    dataset: Path, tmp_path: Path, parts: str, camera: str, message: str
) -> None:
    folder = copied(dataset, tmp_path / "data")
    for part in parts.split(";"):
        path = folder / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SceneError, match=message):
        ScanNetPPReader(tmp_path / "data", camera=camera).read(NAME)


def test_what_may_be_missing(dataset: Path, tmp_path: Path) -> None:
    """Depth, IMU, masks, train/test lists and the other camera are no need."""
    folder = copied(dataset, tmp_path / "data")
    for path in ("iphone/depth.bin", "iphone/pose_intrinsic_imu.json", "dslr/train_test_lists.json"):
        (folder / path).unlink()
    for path in ("dslr/resized_anon_masks", "dslr/resized_undistorted_masks"):
        shutil.rmtree(folder / path)
    assert [view.read_depth for view in ScanNetPPReader(tmp_path / "data").read(NAME).views] == [None] * 3
    shutil.rmtree(folder / "iphone")
    assert len(ScanNetPPReader(tmp_path / "data", camera="dslr").read(NAME).views) == 3


COLMAP, ARKIT, DSLR = "iphone/colmap", "iphone/pose_intrinsic_imu.json", "dslr/nerfstudio/transforms_undistorted.json"
OBJECTS, SEGMENTS, MESH = "scans/segments_anno.json", "scans/segments.json", "scans/mesh_aligned_0.05.ply"
BAD = [
    (MESH, "iphone", cut(30), "cannot be read as a PLY mesh"),
    (SEGMENTS, "iphone", cut(20), "is not valid JSON"),
    (SEGMENTS, "iphone", changed(lambda c: c["segIndices"].pop()), "has 127 entries, but the mesh has 128"),
    (OBJECTS, "iphone", changed(lambda c: c.pop("segGroups")), "has no segGroups"),
    (OBJECTS, "iphone", changed(lambda c: c.update(segGroups={})), "has no segGroups"),
    (OBJECTS, "iphone", group(2, segments=[99_999]), r"segGroups\[2\]: object 2 \('chair'\) has segment 99999"),
    (OBJECTS, "iphone", group(2, segments="all"), r"segGroups\[2\]: segments is no list"),
    (OBJECTS, "iphone", group(2, segments=[[1], [2, 3]]), r"segGroups\[2\]: segments is no list"),
    (OBJECTS, "iphone", group(2, segments=[1.5]), r"segGroups\[2\]: segments is no list"),
    (OBJECTS, "iphone", group(2, segments=[10**30]), r"segGroups\[2\]: segments is no list"),
    (OBJECTS, "iphone", group(2, objectId=-1), r"segGroups\[2\]: objectId is -1"),
    (OBJECTS, "iphone", group(2, objectId=2**31), r"segGroups\[2\]: objectId is 2147483648"),
    (OBJECTS, "iphone", group(2, objectId=0), r"segGroups\[2\]: objectId 0 stands in two groups"),
    (OBJECTS, "iphone", group(2, label=None), r"segGroups\[2\]: label is None"),
    (f"{COLMAP}/cameras.txt", "iphone", text("OPENCV", "FOV"), "line 4 is no record"),
    (f"{COLMAP}/cameras.txt", "iphone", text("1440", "1080"), "for pictures of 1920x1080, but they are 64x48"),
    (f"{COLMAP}/images.txt", "iphone", text("video/frame_000001", "video/frame_000000"), "two images are frame 0"),
    (f"{COLMAP}/images.txt", "iphone", lambda data: data.replace(b"frame_", b".."), "none of its 3 images is named"),
    ("iphone/rgb/frame_000001.jpg", "iphone", cut(1100), "picture is truncated"),
    ("iphone/rgb/frame_000001.jpg", "iphone", lambda data: b"no picture", "picture cannot be decoded"),
    (ARKIT, "arkit", lambda data: b"[]", "holds list, expected a JSON object"),
    (ARKIT, "arkit", lambda data: b"{}", "none of its 0 frames has an aligned_pose"),
    (ARKIT, "arkit", first_frame(aligned_pose=None), "frame_000000: aligned_pose is no 4x4 matrix"),
    (ARKIT, "arkit", first_frame(aligned_pose=(2 * np.eye(4)).tolist()), "aligned_pose: last row of the pose"),
    (ARKIT, "arkit", first_frame(aligned_pose=np.diag([2, 2, 2, 1]).tolist()), "aligned_pose: pose is not rigid"),
    (ARKIT, "arkit", first_frame(aligned_pose=np.diag([1, 1, -1, 1]).tolist()), "aligned_pose: pose mirrors space"),
    (ARKIT, "arkit", first_frame(intrinsic=[[0] * 3] * 3), "frame_000000: intrinsic: intrinsics are"),
    (ARKIT, "arkit", first_frame(intrinsic="x"), "frame_000000: intrinsic is no 3x3 matrix"),
    (ARKIT, "arkit", changed(lambda c: c.update(first=c.pop("frame_000000"))), "first: is no name of a frame"),
    (ARKIT, "arkit", changed(lambda c: c.update(frame_000000=3)), "frame_000000: has no aligned_pose"),
    (DSLR, "dslr", changed(lambda c: c.pop("frames")), "has no list frames"),
    (DSLR, "dslr", changed(lambda c: c.update(test_frames=3)), "test_frames is int, expected a list"),
    (DSLR, "dslr", changed(lambda c: c.pop("fl_x")), "fl_x is None, expected a number"),
    (DSLR, "dslr", changed(lambda c: c.update(fl_x=-1)), "focal length is"),
    (DSLR, "dslr", changed(lambda c: c.update(fl_x=10**400)), "fl_x is 1000.*expected a number"),
    (DSLR, "dslr", changed(lambda c: c.update(w=float("inf"))), "w and h: size is"),
    (DSLR, "dslr", frame(0, transform_matrix=[[10**400] * 4] * 4), "transform_matrix of DSC01000.JPG: found list"),
    (DSLR, "dslr", changed(lambda c: c.update(w=10**9)), "w and h: size is"),
    (DSLR, "dslr", changed(lambda c: c.update(k1=0.1)), "has distortion coefficients"),
    (DSLR, "dslr", frame(0, file_path="../../secret.JPG"), "is no plain name of a photograph"),
    (DSLR, "dslr", frame(0, file_path=None), r"frames\[0\] has no file_path"),
    (DSLR, "dslr", frame(0, transform_matrix=[[1, 2], [3]]), "transform_matrix of DSC01000.JPG: found list"),
    (DSLR, "dslr", frame(1, file_path="DSC01000.JPG"), "DSC01000.JPG stands there twice, and not the same"),
    ("dslr/resized_undistorted_images/DSC01003.JPG", "dslr", cut(1100), "picture is truncated"),
    ("dslr/colmap/cameras.txt", "fisheye", text("0.03", "nan"), "are not finite"),
    ("dslr/colmap/cameras.txt", "fisheye", text("0.03", "-40"), "cannot be undone"),
    ("dslr/colmap/images.txt", "fisheye", text("DSC01003.JPG", "../x/DSC01003.JPG"), "is no plain name"),
    ("dslr/colmap/images.txt", "fisheye", text("DSC01003.JPG", "DSC01000.JPG"), "DSC01000.JPG stands there twice"),
    ("dslr/nerfstudio/transforms.json", "fisheye", cut(9), "is not valid JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "way", "edit", "message"), BAD, ids=[f"{bad[0]} {bad[3]}" for bad in BAD])
def test_bad_file_is_named(dataset: Path, tmp_path: Path, name: str, way: str, edit: Edit, message: str) -> None:
    folder = copied(dataset, tmp_path / "data")
    if way == "arkit":
        shutil.rmtree(folder / "iphone" / "colmap")
    if way == "fisheye":
        pytest.importorskip("cv2")
        shutil.rmtree(folder / "dslr" / "resized_undistorted_images")
    spoil(folder / name, edit)
    camera = "iphone" if way in ("iphone", "arkit") else "dslr"
    with pytest.raises(SceneError, match=message) as caught:
        ScanNetPPReader(tmp_path / "data", camera=camera).read(NAME)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("coding", ["stream", "lz4", "deflate"])
def test_truncated_depth_is_named_when_it_is_read(tmp_path: Path, coding: str) -> None:
    room = rendered_room(views=3, size=(64, 48))
    folder = write_scannetpp_scene(room, tmp_path, NAME, ScanNetPPOptions(depth=coding))  # type: ignore[arg-type]
    spoil(folder / "iphone" / "depth.bin", cut(300))
    views = ScanNetPPReader(tmp_path).read(NAME).views
    assert views[2].read_depth is not None
    with pytest.raises(SceneError, match=r"depth\.bin: breaks off in frame [0-3]"):
        views[2].read_depth()


def test_block_of_another_size_is_named(tmp_path: Path) -> None:
    room = rendered_room(views=3, size=(64, 48))
    folder = write_scannetpp_scene(room, tmp_path, NAME, ScanNetPPOptions(depth="lz4"))
    block = b"\x10a"  # LZ4 of the single byte "a"
    spoil(folder / "iphone" / "depth.bin", lambda data: struct.pack("<I", len(block)) + block + data)
    views = ScanNetPPReader(tmp_path).read(NAME).views
    assert views[0].read_depth is not None and views[1].read_depth is not None
    with pytest.raises(SceneError, match="block of frame 0 is neither LZ4 of 98304 bytes nor deflate of 196608"):
        views[0].read_depth()
    assert views[1].read_depth().max() > 1


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_broken_video_is_named(dataset: Path, tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("cv2")
    folder = copied(dataset, tmp_path / "data") / "iphone"
    shutil.rmtree(folder / "rgb")
    (folder / "rgb.mkv").write_bytes(content)
    with pytest.raises(SceneError, match=r"rgb\.mkv: (file is empty|cannot be opened as a video)"):
        ScanNetPPReader(tmp_path / "data").read(NAME)


def test_video_that_ends_early_is_named_when_it_is_read(dataset: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    folder = copied(dataset, tmp_path / "data") / "iphone"
    writer = cv2.VideoWriter(str(folder / "rgb.mkv"), cv2.VideoWriter_fourcc(*"MJPG"), 60, (64, 48))
    for number in range(2):
        writer.write(cv2.imread(str(folder / "rgb" / f"frame_{number:06d}.jpg")))
    writer.release()
    shutil.rmtree(folder / "rgb")
    views = ScanNetPPReader(tmp_path / "data").read(NAME).views
    assert views[1].image.read().startswith(b"\xff\xd8")
    with pytest.raises(SceneError, match=r"rgb\.mkv: video ends before frame 2"):
        views[2].image.read()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (text("instance_map_to", "elsewhere"), "has no column 'instance_map_to'"),
        (lambda data: b"\xff" + data, "cannot be read as a table"),
    ],
)
def test_bad_label_map(dataset: Path, tmp_path: Path, edit: Edit, message: str) -> None:
    copied(dataset, tmp_path / "data")
    write_scannetpp_lists(tmp_path / "data", {}, {"table": ("table", "table")})
    spoil(tmp_path / "data" / "metadata" / "semantic_benchmark" / "map_benchmark.csv", edit)
    with pytest.raises(InputError, match=message):
        ScanNetPPReader(tmp_path / "data", label_map="instance")


def test_no_scene_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no ScanNet\\+\\+ scene"):
        ScanNetPPReader(tmp_path).scene_ids()
    with pytest.raises(SceneError, match="holds no scene 0a5c013435"):
        ScanNetPPReader(tmp_path).read(NAME)


FUZZED = (
    "scans/mesh_aligned_0.05.ply", "scans/segments.json", "scans/segments_anno.json", "iphone/depth.bin",
    "iphone/colmap/cameras.txt", "iphone/colmap/images.txt", "iphone/rgb/frame_000000.jpg",
    "dslr/nerfstudio/transforms_undistorted.json", "dslr/resized_undistorted_images/DSC01000.JPG",
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_bring_no_other_error(data: st.DataObject, dataset: Path) -> None:
    """Whatever becomes of a file, the scene is read or refused with one sentence; the file is then put back."""
    path = dataset / "data" / NAME / data.draw(st.sampled_from(FUZZED))
    whole = path.read_bytes()
    spoiled = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        spoiled[place] = data.draw(st.integers(0, 255))
    new = bytes(spoiled[: data.draw(st.sampled_from([len(whole), len(whole) // 2, 7, 0]))])
    read_or_refuse(dataset, path, new)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_json_brings_no_other_error(data: st.DataObject, dataset: Path) -> None:
    folder = dataset / "data" / NAME
    name = data.draw(st.sampled_from([SEGMENTS, OBJECTS, ARKIT, DSLR, "dslr/nerfstudio/transforms.json"]))
    spoiled = json.dumps(draw_odd_json(data, json.loads((folder / name).read_bytes()))).encode()
    hidden = {ARKIT: "iphone/colmap", "dslr/nerfstudio/transforms.json": "dslr/resized_undistorted_images"}.get(name)
    if hidden:
        (folder / hidden).rename(folder / "hidden")
    try:
        read_or_refuse(dataset, folder / name, spoiled)
    finally:
        if hidden:
            (folder / "hidden").rename(folder / hidden)


def read_or_refuse(dataset: Path, path: Path, spoiled: bytes) -> None:
    """Reads everything with the file's content replaced, and puts it back; only one-sentence errors may come."""
    whole = path.read_bytes()
    try:
        path.write_bytes(spoiled)
        for camera in ("iphone", "dslr"):
            try:
                for view in ScanNetPPReader(dataset, camera=camera).read(NAME).views:
                    view.image.read()
                    if view.read_depth is not None:
                        view.read_depth()
            except SceneError as error:
                assert str(dataset) in str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(whole)
