"""Rooms written in ScanNet's layout come back from the reader as they were."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from qa_generation.errors import InputError
from qa_generation.readers.base import open_reader
from qa_generation.readers.scannet import ScanNetReader
from qa_generation.scene import Blob, Scene, View
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.synthetic.content import SyntheticScene
from qa_generation.visibility import annotate
from qa_generation.writers.scannet import scan_alignment, write_scannet_scene
from tests.qa_generation.scannet_factories import (
    NAME,
    SIZE,
    copy_dataset,
    export_frames,
    rendered_room,
    write_dataset,
)


@pytest.fixture(scope="module")
def room() -> SyntheticScene:
    return rendered_room()


@pytest.fixture(scope="module")
def dataset(room: SyntheticScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scannet")
    write_dataset(root, room)
    return root


@pytest.fixture(scope="module")
def scene(dataset: Path) -> Scene:
    return open_reader("scannet", dataset).read(NAME)


def test_official_files_are_all_there(dataset: Path) -> None:
    found = sorted(path.name for path in (dataset / "scans" / NAME).iterdir())
    assert found == sorted(
        f"{NAME}{ending}"
        for ending in (
            ".sens",
            ".txt",
            "_vh_clean_2.ply",
            "_vh_clean_2.labels.ply",
            "_vh_clean_2.0.010000.segs.json",
            ".aggregation.json",
        )
    )
    assert len((dataset / "scannetv2-labels.combined.tsv").read_text().splitlines()[0].split("\t")) == 17


def test_poses_return_after_alignment(room: SyntheticScene, scene: Scene) -> None:
    assert [view.view_id for view in scene.views] == [f"frame_{number:06d}" for number in range(len(room.views))]
    for written, read in zip(room.views, scene.views, strict=True):
        np.testing.assert_allclose(read.world_to_camera, written.world_to_camera, atol=1e-5)
        np.testing.assert_allclose(read.intrinsics, written.intrinsics, atol=1e-4)
        assert read.size == written.size


def test_stored_poses_and_mesh_are_in_another_frame(room: SyntheticScene, dataset: Path) -> None:
    """Without this the alignment would not be exercised."""
    path = dataset / "scans" / NAME / f"{NAME}.txt"
    path_without = copy_dataset(dataset, dataset.parent / "without_alignment")
    lines = path.read_text().splitlines(keepends=True)
    (path_without / path.name).write_text("".join(line for line in lines if "axisAlignment" not in line))
    raw = ScanNetReader(dataset.parent / "without_alignment").read(NAME)
    alignment = scan_alignment(NAME)
    assert np.abs(alignment - np.eye(4)).max() > 0.1
    assert np.abs(raw.mesh.vertices - room.mesh.vertices).max() > 0.1
    recovered = raw.mesh.vertices @ alignment[:3, :3].T + alignment[:3, 3]
    np.testing.assert_allclose(recovered, room.mesh.vertices, atol=1e-5)


def test_instances_keep_ids_categories_and_triangles(room: SyntheticScene, scene: Scene) -> None:
    assert {i: inst.category for i, inst in scene.instances.items()} == {
        i: inst.category for i, inst in room.instances.items()
    }
    np.testing.assert_array_equal(scene.mesh.triangles, room.mesh.triangles)
    np.testing.assert_array_equal(scene.mesh.triangle_instances, room.mesh.triangle_instances)
    np.testing.assert_allclose(scene.mesh.vertices, room.mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(scene.mesh.vertex_colors, room.mesh.vertex_colors)


def test_boxes_hold_their_instances_and_no_more(room: SyntheticScene, scene: Scene) -> None:
    for instance_id, instance in scene.instances.items():
        points = scene.mesh.triangles_of(instance_id).reshape(-1, 3)
        local = (points - instance.obb.center) @ instance.obb.axes.T
        inside = (np.abs(local) <= instance.obb.extents / 2 + 1e-5).all(axis=1)
        assert inside.mean() >= 0.99
        # the room's parts are boxes themselves, so the least box is the part
        expected = np.sort(room.instances[instance_id].obb.extents)
        np.testing.assert_allclose(np.sort(instance.obb.extents), expected, atol=1e-4)


def test_depth_of_one_frame_agrees_with_the_next(scene: Scene) -> None:
    for first, second in zip(scene.views, scene.views[1:], strict=False):
        assert depth_disagreement_m(first, second) < 2e-3


def test_depth_is_the_rendered_one_to_the_millimetre(room: SyntheticScene, scene: Scene) -> None:
    for written, read in zip(room.views, scene.views, strict=True):
        assert read.read_depth is not None
        depth = read.read_depth()
        assert depth.dtype == np.float32
        np.testing.assert_allclose(depth, written.depth_m, atol=0.5e-3 + 1e-6)


def test_pictures_are_whole(room: SyntheticScene, scene: Scene) -> None:
    for written, read in zip(room.views, scene.views, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(read.image.read())), dtype=np.int32)
        assert np.median(np.abs(picture - written.rgb)) <= 4  # JPEG


def test_smaller_depth_comes_on_the_grid_of_the_picture(room: SyntheticScene, tmp_path: Path) -> None:
    read = write_dataset(tmp_path, room, depth_size=(80, 60)).read(NAME).views[0]
    assert read.read_depth is not None
    depth = read.read_depth()
    assert depth.shape == SIZE[::-1]
    assert np.median(np.abs(depth - room.views[0].depth_m)) < 0.02


@pytest.mark.parametrize("layout", ["folders", "sensor_data"])
@pytest.mark.parametrize("color_size", [SIZE, (80, 60)])
def test_exported_frames_give_the_same_scene(
    scene: Scene, dataset: Path, tmp_path: Path, layout: str, color_size: tuple[int, int]
) -> None:
    folder = copy_dataset(dataset, tmp_path / "exported")
    export_frames(scene, np.linalg.inv(scan_alignment(NAME)), folder, layout, color_size)
    exported = ScanNetReader(tmp_path / "exported").read(NAME)
    assert [view.view_id for view in exported.views] == [view.view_id for view in scene.views]
    for ours, theirs in zip(exported.views, scene.views, strict=True):
        np.testing.assert_allclose(ours.world_to_camera, theirs.world_to_camera, atol=1e-5)
        assert ours.size == color_size
        factor = color_size[0] / SIZE[0]
        assert ours.intrinsics[0, 0] == pytest.approx(theirs.intrinsics[0, 0] * factor, abs=1e-3)
        assert ours.intrinsics[0, 2] == pytest.approx((theirs.intrinsics[0, 2] + 0.5) * factor - 0.5, abs=1e-3)
        assert ours.read_depth is not None and theirs.read_depth is not None
        assert ours.read_depth().shape == color_size[::-1]
        if color_size == SIZE:
            np.testing.assert_array_equal(ours.read_depth(), theirs.read_depth())
    assert depth_disagreement_m(exported.views[0], exported.views[1]) < 0.01
    np.testing.assert_array_equal(exported.mesh.triangle_instances, scene.mesh.triangle_instances)


def test_visibility_is_that_of_the_room(room: SyntheticScene, scene: Scene) -> None:
    original = Scene("room", "synthetic", _views_of(room), room.instances, lambda: room.mesh)
    ours, theirs = annotate(scene), annotate(original)
    assert ours.instance_ids == theirs.instance_ids
    # poses went through float32, so single pixels on an edge may change hands
    for name in ("visible_pixels", "frame_pixels", "canvas_pixels"):
        counts, expected = getattr(ours, name), getattr(theirs, name)
        assert np.abs(counts - expected).max() <= 3
    np.testing.assert_allclose(ours.overlap, theirs.overlap, atol=0.5)


def test_procedural_room_comes_back(tmp_path: Path) -> None:
    room = build_scene(seed=3, index=0, config=RoomConfig(views=8, size=SIZE))
    read = write_dataset(tmp_path, room).read(NAME)
    assert {i: instance.category for i, instance in read.instances.items()} == {
        i: instance.category for i, instance in room.instances.items()
    }
    np.testing.assert_array_equal(read.mesh.triangle_instances, room.mesh.triangle_instances)
    np.testing.assert_allclose(read.mesh.vertices, room.mesh.vertices, atol=1e-5)
    apart = [depth_disagreement_m(first, second) for first, second in permutations(read.views, 2)]
    overlapping = [metres for metres in apart if not np.isnan(metres)]
    assert len(overlapping) >= 10  # views that look elsewhere have nothing to compare
    assert np.median(overlapping) < 2e-3


def test_root_may_be_the_folder_of_scans(dataset: Path) -> None:
    reader = ScanNetReader(dataset / "scans")
    assert reader.scene_ids() == [NAME]
    assert len(reader.read(NAME).instances) == 10


def test_writing_twice_gives_the_same_bytes(room: SyntheticScene, dataset: Path, tmp_path: Path) -> None:
    again = write_scannet_scene(room, tmp_path, NAME)
    for path in (dataset / "scans" / NAME).iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_writer_refuses_a_vertex_of_two_instances(room: SyntheticScene, tmp_path: Path) -> None:
    triangles = room.mesh.triangles.copy()
    triangles[12, 0] = 0
    spoiled = replace(room, mesh=replace(room.mesh, triangles=triangles))
    with pytest.raises(InputError, match="shared by two instances"):
        write_scannet_scene(spoiled, tmp_path, NAME)
    assert not (tmp_path / "scans" / NAME).exists()


def test_aggregation_has_several_segments_for_objects_of_several_pieces(room: SyntheticScene, dataset: Path) -> None:
    folder = dataset / "scans" / NAME
    segments = json.loads((folder / f"{NAME}_vh_clean_2.0.010000.segs.json").read_text())["segIndices"]
    groups = json.loads((folder / f"{NAME}.aggregation.json").read_text())["segGroups"]
    assert len(segments) == len(room.mesh.vertices)
    assert [group["objectId"] for group in groups] == list(range(10))
    claimed = {segment for group in groups for segment in group["segments"]}
    assert claimed < set(segments), "walls and floor must stay without an owner"


def _views_of(room: SyntheticScene) -> tuple[View, ...]:
    nowhere = Blob(Path("none"))
    return tuple(View(v.view_id, nowhere, v.intrinsics, v.world_to_camera, v.size) for v in room.views)


def depth_disagreement_m(first: View, second: View) -> float:
    """Median difference between the depth of ``second`` and the points of ``first`` seen from it, metres."""
    assert first.read_depth is not None and second.read_depth is not None
    depth, other = first.read_depth(), second.read_depth()
    rows, columns = np.nonzero(depth)
    rays = np.stack([columns, rows, np.ones_like(rows)]) * depth[rows, columns]
    points = np.linalg.inv(first.intrinsics) @ rays
    moved = second.world_to_camera @ np.linalg.inv(first.world_to_camera) @ np.vstack([points, np.ones(len(rows))])
    pixels = second.intrinsics @ moved[:3]
    x, y = pixels[:2] / pixels[2]
    width, height = second.size
    seen = (pixels[2] > 0) & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    # on a plane it is the inverse depth that changes linearly over the picture
    inverse = map_coordinates(1.0 / np.where(other > 0, other, np.inf).astype(np.float64), [y[seen], x[seen]], order=1)
    difference = np.abs(1.0 / inverse - moved[2, seen])
    # what is far off is hidden behind something
    near = difference[difference < 0.1]
    return float(np.median(near)) if len(near) else float("nan")
