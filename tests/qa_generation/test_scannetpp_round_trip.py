"""Rooms written in ScanNet++'s layout come back from the reader as they were, by every way the dataset offers."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qa_generation.errors import InputError
from qa_generation.readers.base import open_reader
from qa_generation.readers.posed_views import thin
from qa_generation.readers.scannetpp import ScanNetPPReader
from qa_generation.scene import ComputedBlob, Scene
from qa_generation.synthetic.content import SyntheticScene
from qa_generation.writers.scannetpp import ScanNetPPOptions, write_scannetpp_lists, write_scannetpp_scene
from tests.qa_generation.reader_checks import (
    depth_error_m,
    least_held_share,
    neighbour_disagreement_m,
    picture_of,
    wrong_color_share,
)
from tests.qa_generation.scannet_factories import rendered_room

NAME = "0a5c013435"
# the depth camera's own size, so that nothing is lost when depth is written
SIZE = (256, 192)


@pytest.fixture(scope="module")
def room() -> SyntheticScene:
    return rendered_room(size=SIZE)


@pytest.fixture(scope="module")
def dataset(room: SyntheticScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannetpp")
    write_scannetpp_scene(room, root, NAME)
    return root


def read(root: Path, **options: str) -> Scene:
    return open_reader("scannetpp", root, options).read(NAME)


def copied(dataset: Path, target: Path) -> Path:
    """A copy to change, and its only scene's folder."""
    shutil.copytree(dataset, target)
    return target / "data" / NAME


def test_official_files_are_all_there(dataset: Path) -> None:
    folder = dataset / "data" / NAME
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for name in (
        "scans/mesh_aligned_0.05.ply",
        "scans/segments.json",
        "scans/segments_anno.json",
        "iphone/rgb/frame_000000.jpg",
        "iphone/depth.bin",
        "iphone/pose_intrinsic_imu.json",
        "iphone/colmap/images.txt",
        "dslr/resized_images/DSC01000.JPG",
        "dslr/resized_anon_masks/DSC01000.png",
        "dslr/resized_undistorted_images/DSC01000.JPG",
        "dslr/colmap/cameras.txt",
        "dslr/nerfstudio/transforms.json",
        "dslr/nerfstudio/transforms_undistorted.json",
        "dslr/train_test_lists.json",
    ):
        assert name in found
    assert "\n\n" in (folder / "iphone/colmap/images.txt").read_text(), "the second line of an image is blank"


def check_geometry(scene: Scene, room: SyntheticScene) -> None:
    """Surface, instances and boxes are the room's."""
    np.testing.assert_allclose(scene.mesh.vertices, room.mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(scene.mesh.triangle_instances, room.mesh.triangle_instances)
    assert {i: x.category for i, x in scene.instances.items()} == {i: x.category for i, x in room.instances.items()}
    assert least_held_share(scene) >= 0.99
    for number, instance in scene.instances.items():
        np.testing.assert_allclose(instance.obb.corners, room.instances[number].obb.corners, atol=1e-9)


def check_cameras(scene: Scene, room: SyntheticScene) -> None:
    for written, found in zip(room.views, scene.views, strict=True):
        np.testing.assert_allclose(found.world_to_camera, written.world_to_camera, atol=1e-9)
        np.testing.assert_allclose(found.intrinsics, written.intrinsics, atol=1e-9)
        assert found.size == written.size


@pytest.mark.parametrize("coding", ["png", "stream", "lz4", "deflate"])
def test_iphone_with_depth_in_every_coding(room: SyntheticScene, tmp_path: Path, coding: str) -> None:
    write_scannetpp_scene(room, tmp_path, NAME, ScanNetPPOptions(depth=coding))  # type: ignore[arg-type]
    scene = read(tmp_path)
    check_geometry(scene, room)
    check_cameras(scene, room)
    assert [view.view_id for view in scene.views] == [f"frame_{number:06d}" for number in range(6)]
    for written, view in reversed(list(zip(room.views, scene.views, strict=True))):
        assert view.read_depth is not None
        np.testing.assert_allclose(view.read_depth(), written.depth_m, atol=0.5e-3 + 1e-6)
        assert depth_error_m(scene, view) < 1e-3
        assert wrong_color_share(scene, view) < 0.002
    apart = [neighbour_disagreement_m(a, b) for a, b in combinations(scene.views, 2)]
    assert np.nanmax(apart) < 2e-3 and np.isfinite(apart).sum() >= 3


@pytest.mark.parametrize("prefix", ["video/", "iphone/", ""])
def test_colmap_is_preferred_to_arkit(room: SyntheticScene, tmp_path: Path, prefix: str) -> None:
    options = ScanNetPPOptions(
        colmap_prefix=prefix, without_colmap=frozenset({2}), lost=frozenset({1, 4}), arkit_drift_m=0.03
    )
    folder = write_scannetpp_scene(room, tmp_path, NAME, options)
    scene = read(tmp_path)
    assert [view.view_id[-1] for view in scene.views] == ["0", "1", "3", "4", "5"]
    for view in scene.views:
        expected = room.views[int(view.view_id[6:])].world_to_camera
        np.testing.assert_allclose(view.world_to_camera, expected, atol=1e-9)
    shutil.rmtree(folder / "iphone" / "colmap")
    arkit = read(tmp_path)
    assert [view.view_id[-1] for view in arkit.views] == ["0", "2", "3", "5"]  # 1 and 4 are not finite
    for view in arkit.views:
        expected = np.linalg.inv(room.views[int(view.view_id[6:])].world_to_camera)[:3, 3] + [0.03, 0, 0]
        np.testing.assert_allclose(view.camera_center, expected, atol=1e-9)
        np.testing.assert_allclose(view.intrinsics, room.views[0].intrinsics, atol=1e-9)


def test_distorted_iphone_is_undistorted(room: SyntheticScene, tmp_path: Path) -> None:
    options = ScanNetPPOptions(iphone_distortion=(0.06, -0.05, 0.004, -0.003))
    write_scannetpp_scene(room, tmp_path, NAME, options)
    scene = read(tmp_path)
    for view in scene.views:
        assert isinstance(view.image, ComputedBlob)
        assert wrong_color_share(scene, view) < 0.01
        assert depth_error_m(scene, view) < 0.01  # nearest of nearest pixels
    again = read(tmp_path)
    assert scene.views[0].image.read() == again.views[0].image.read()


@pytest.mark.parametrize(("name", "codec"), [("rgb.mkv", "MJPG"), ("rgb.mp4", "mp4v")])
def test_frames_from_the_video(room: SyntheticScene, dataset: Path, tmp_path: Path, name: str, codec: str) -> None:
    """The same pictures, read in any order, and the frame numbers are the video's."""
    cv2 = pytest.importorskip("cv2")
    folder = copied(dataset, tmp_path / "video") / "iphone"
    writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*codec), 60, SIZE)
    for path in sorted((folder / "rgb").iterdir()):
        writer.write(cv2.imread(str(path)))
    writer.release()
    shutil.rmtree(folder / "rgb")
    scene = read(tmp_path / "video", frame_stride="2")
    assert [view.view_id for view in scene.views] == ["frame_000000", "frame_000002", "frame_000004"]
    forwards = [view.image.read() for view in scene.views]
    assert [view.image.read() for view in reversed(scene.views)] == forwards[::-1]
    for view in scene.views:
        assert wrong_color_share(scene, view, border=3) < 0.02
    apart = np.abs(picture_of(scene.views[1]).astype(int) - room.views[2].rgb)
    assert np.median(apart) <= 4  # JPEG twice, and the colours of video


def test_smaller_pictures_take_scaled_intrinsics(dataset: Path, tmp_path: Path) -> None:
    folder = copied(dataset, tmp_path / "small") / "iphone" / "rgb"
    for path in folder.iterdir():
        Image.open(path).resize((128, 96)).save(path, quality=95)
    scene = read(tmp_path / "small")
    assert scene.views[0].size == (128, 96)
    for view in scene.views:
        assert depth_error_m(scene, view) < 0.02
        assert wrong_color_share(scene, view, border=2) < 0.01


@pytest.mark.parametrize("kind", ["undistorted", "fisheye"])
def test_dslr(room: SyntheticScene, dataset: Path, tmp_path: Path, kind: str) -> None:
    if kind == "fisheye":
        pytest.importorskip("cv2")
        folder = copied(dataset, tmp_path / "data")
        shutil.rmtree(folder / "dslr" / "resized_undistorted_images")
        dataset = tmp_path / "data"
    scene = read(dataset, camera="dslr")
    check_geometry(scene, room)
    assert [view.view_id for view in scene.views] == [f"DSC{1000 + 3 * number:05d}" for number in range(6)]
    for written, view in zip(room.views, scene.views, strict=True):
        np.testing.assert_allclose(view.world_to_camera, written.world_to_camera, atol=1e-9)
        assert view.read_depth is None
        assert wrong_color_share(scene, view) < 0.005
    if kind == "undistorted":
        check_cameras(scene, room)
    else:
        # a fisheye without its lens undone does not fit: the check above would see it
        assert isinstance(scene.views[0].image, ComputedBlob)


def test_fisheye_is_not_taken_for_a_pinhole(dataset: Path, tmp_path: Path) -> None:
    """The check of colours is sharp enough to see a lens that was left as it is."""
    folder = copied(dataset, tmp_path / "data") / "dslr"
    shutil.rmtree(folder / "resized_undistorted_images")
    (folder / "resized_images").rename(folder / "resized_undistorted_images")
    scene = read(tmp_path / "data", camera="dslr")
    assert max(wrong_color_share(scene, view) for view in scene.views) > 0.01


@pytest.mark.parametrize("folder_to_drop", ["resized_images", "resized_undistorted_images"])
def test_blurred_photographs_are_left_out(
    room: SyntheticScene, tmp_path: Path, folder_to_drop: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_scannetpp_scene(room, tmp_path, NAME, ScanNetPPOptions(blurred=frozenset({1, 5})))
    shutil.rmtree(folder / "dslr" / folder_to_drop)
    with caplog.at_level(logging.INFO):
        scene = read(tmp_path, camera="dslr", frame_stride="2")
    assert [view.view_id for view in scene.views] == ["DSC01000", "DSC01009"]
    assert "2 photographs are marked is_bad" in caplog.text
    assert "anonymised in places" in caplog.text


def test_smallest_of_overlapping_groups_wins(room: SyntheticScene, tmp_path: Path) -> None:
    """The table's group also names the monitor and the lamp that stand on it; both stay whole, its box holds all."""
    options = ScanNetPPOptions(swallowed={1: (9, 10)}, without_box=frozenset({2, 9}))
    folder = write_scannetpp_scene(room, tmp_path, NAME, options)
    groups = json.loads((folder / "scans" / "segments_anno.json").read_text())["segGroups"]
    assert set(groups[8]["segments"]) < set(groups[0]["segments"])
    scene = read(tmp_path)
    np.testing.assert_array_equal(scene.mesh.triangle_instances, room.mesh.triangle_instances)
    assert least_held_share(scene) >= 0.99
    # the table is 0.75 high, the monitor ends at 1.15
    assert scene.instances[1].obb.corners[:, 2].max() == pytest.approx(1.15)
    for number in (2, 9):  # fitted anew
        fitted, stored = scene.instances[number].obb, room.instances[number].obb
        np.testing.assert_allclose(np.sort(fitted.extents), np.sort(stored.extents), atol=1e-6)
        np.testing.assert_allclose(fitted.center, stored.center, atol=1e-6)
        assert fitted.axes[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"centroid": [0.0, 0.0, 9.0]}, "holds 0% of it"),
        ({"axesLengths": [0.1, 0.1, 0.1]}, "holds"),
        ({"axesLengths": [50.0, 50.0, 50.0]}, "is much larger than it"),
        ({"normalizedAxes": [1.0] * 9}, "right angles"),
        ({"centroid": None}, "expected 3 finite numbers"),
        ({"axesLengths": [1.0, float("nan"), 1.0]}, "expected 3 finite numbers"),
    ],
)
def test_boxes_that_are_not_of_their_object_are_fitted_anew(
    room: SyntheticScene,
    dataset: Path,
    tmp_path: Path,
    change: dict[str, object],
    note: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = copied(dataset, tmp_path / "data") / "scans" / "segments_anno.json"
    content = json.loads(path.read_text())
    content["segGroups"][4]["obb"].update(change)
    path.write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        scene = read(tmp_path / "data")
    assert "box of object 4" in caplog.text and note in caplog.text
    np.testing.assert_allclose(scene.instances[5].obb.center, room.instances[5].obb.center, atol=1e-6)


def test_flat_matrices_and_missing_object_ids(room: SyntheticScene, dataset: Path, tmp_path: Path) -> None:
    """Matrices may be written as 16 and 9 numbers, and ``id`` stands in for a missing ``objectId``."""
    folder = copied(dataset, tmp_path / "data")
    shutil.rmtree(folder / "iphone" / "colmap")
    path = folder / "iphone" / "pose_intrinsic_imu.json"
    frames = json.loads(path.read_text())
    for frame in frames.values():
        for key in ("aligned_pose", "intrinsic"):
            frame[key] = np.array(frame[key]).reshape(-1).tolist()
    path.write_text(json.dumps(frames))
    path = folder / "scans" / "segments_anno.json"
    content = json.loads(path.read_text())
    for group in content["segGroups"]:
        group["id"] = group.pop("objectId")
    path.write_text(json.dumps(content))
    scene = read(tmp_path / "data")
    check_cameras(scene, room)
    check_geometry(scene, room)


def test_label_maps(room: SyntheticScene, dataset: Path, tmp_path: Path) -> None:
    copied(dataset, tmp_path / "data")
    mapping = {
        "table": ("furniture", "table"),
        "chair": ("furniture", "chair"),
        "cabinet": ("furniture", "None"),
        "bookshelf": ("", ""),
        "box": ("None", "container"),
        "lamp": ("lamp", "lamp"),
    }
    write_scannetpp_lists(tmp_path / "data", {"nvs_sem_val": [NAME]}, mapping)
    names = {
        label_map: sorted({i.category for i in read(tmp_path / "data", label_map=label_map).instances.values()})
        for label_map in ("raw", "instance", "semantic")
    }
    assert names == {
        "raw": ["bookshelf", "box", "cabinet", "chair", "lamp", "monitor", "table"],
        "instance": ["bookshelf", "chair", "container", "lamp", "monitor", "table"],
        "semantic": ["bookshelf", "furniture", "lamp", "monitor"],
    }
    scene = read(tmp_path / "data", label_map="instance")
    assert 5 not in scene.instances and not (scene.mesh.triangle_instances == 5).any(), "dropped means bare surface"


def test_surface_marked_for_removal_is_no_object(dataset: Path, tmp_path: Path) -> None:
    path = copied(dataset, tmp_path / "data") / "scans" / "segments_anno.json"
    path.write_text(path.read_text().replace('"label":"monitor"', '"label":"REMOVE"'))
    scene = read(tmp_path / "data")
    assert len(scene.instances) == 9 and not (scene.mesh.triangle_instances == 9).any()


def test_splits_and_roots(dataset: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    copied(dataset, root)
    shutil.copytree(root / "data" / NAME, root / "data" / "ffffffffff")
    write_scannetpp_lists(root, {"nvs_sem_train": [NAME, "not_there00"], "none": ["not_there00"]}, {})
    assert ScanNetPPReader(root).scene_ids() == [NAME, "ffffffffff"]
    assert ScanNetPPReader(root / "data").scene_ids() == [NAME, "ffffffffff"]
    assert ScanNetPPReader(root, split="nvs_sem_train").scene_ids() == [NAME]
    assert ScanNetPPReader(root / "data", split="nvs_sem_train").scene_ids() == [NAME]
    with pytest.raises(InputError, match="none of the 1 scenes of the split none"):
        ScanNetPPReader(root, split="none").scene_ids()
    with pytest.raises(InputError, match=r"splits/nvs_sem_val\.txt: list of the split cannot be read"):
        ScanNetPPReader(root, split="nvs_sem_val").scene_ids()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "panocam"}, "camera is 'panocam', expected iphone or dslr"),
        ({"frame_stride": "0"}, "frame_stride is 0, expected 1 or more"),
        ({"label_map": "nyu40"}, "label_map is 'nyu40', expected raw, instance, semantic"),
        ({"label_map": "instance"}, r"map_benchmark\.csv: no such file"),
        ({"split": "../../etc/passwd"}, "expected the name of a list"),
    ],
)
def test_bad_options(dataset: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reader("scannetpp", dataset, options)


def test_without_opencv_only_distorted_pictures_are_refused(
    room: SyntheticScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scannetpp_scene(room, tmp_path / "a", NAME)
    write_scannetpp_scene(room, tmp_path / "b", NAME, ScanNetPPOptions(iphone_distortion=(0.05, 0.0, 0.0, 0.0)))
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert len(read(tmp_path / "a").views) == 6
    assert len(read(tmp_path / "a", camera="dslr").views) == 6
    with pytest.raises(InputError, match=r"needs OpenCV .*spatialvlm\[reconstruction\]"):
        read(tmp_path / "b")


def test_writing_twice_gives_the_same_bytes(room: SyntheticScene, dataset: Path, tmp_path: Path) -> None:
    again = write_scannetpp_scene(room, tmp_path, NAME)
    for path in (dataset / "data" / NAME).rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(dataset / "data" / NAME)).read_bytes(), path.name


@pytest.mark.parametrize(
    ("numbers", "wanted", "chosen"),
    [
        (range(40), 10, [0, 10, 20, 30]),
        ([3, 4, 11, 20, 29, 30], 10, [3, 11, 20, 30]),
        (range(300), None, list(range(300))),
        (range(0, 3010, 10), None, list(range(0, 3010, 10))),  # every 10th frame already
        (range(301), None, list(range(0, 301, 10))),
        ([], 5, []),
    ],
)
def test_frames_are_thinned_by_their_number(numbers: Sequence[int], wanted: int | None, chosen: list[int]) -> None:
    assert thin(list(numbers), wanted) == chosen
