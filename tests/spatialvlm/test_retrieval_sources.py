"""Windows from folders of meshes and from datasets: axes, resuming, bad scenes, splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.scale import PRESETS
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from geometry_encoders.retrieval.windows import WindowSettings
from spatialvlm.training.retrieval.sources import (
    MeshFolder,
    ReaderMeshes,
    build_windows,
    measure_statistics,
    split_scenes,
)
from tests.qa_generation.scannet_factories import rendered_room, write_dataset
from tests.spatialvlm.retrieval_rooms import write_rooms

SETTINGS = WindowSettings(PRESETS["rooms"].voxel, points_per_window=200)


def test_a_folder_of_meshes(tmp_path: Path) -> None:
    """Every file becomes a scene; files with z up give the same windows as their twins with y up."""
    write_rooms(tmp_path / "y/deep", 2)
    write_rooms(tmp_path / "z/deep", 2, up="z")
    one = build_windows(MeshFolder(tmp_path / "y"), tmp_path / "one", SETTINGS, threads=1)
    build_windows(MeshFolder(tmp_path / "z", up="z"), tmp_path / "two", SETTINGS, threads=1)
    assert (one.made, one.failed, one.empty) == (2, {}, 0)
    first, second = (WindowDataset(tmp_path / name, PRESETS["rooms"]) for name in ("one", "two"))
    assert [s.scene for s in first.samples] == ["deep__room0", "deep__room1"]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a["target"], b["target"], atol=1e-3)
        floor = a["target"].amin(dim=(0, 2)) <= PRESETS["rooms"].occupied
        assert floor.nonzero()[0] == SETTINGS.padding, "the floor is at the height of the padding"


def test_bad_scenes_are_noted_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Run again, only what failed is tried again; with other settings the folder is refused."""
    write_rooms(tmp_path / "meshes", 2)
    (tmp_path / "meshes/broken.ply").write_bytes(b"ply\n")
    (tmp_path / "meshes/empty.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    source = MeshFolder(tmp_path / "meshes")
    report = build_windows(source, tmp_path / "out", SETTINGS, threads=1)
    assert report.made == 2
    assert set(report.failed) == {"broken", "empty"}
    assert all(str(tmp_path / "meshes") in reason for reason in report.failed.values())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/scenes").iterdir()}
    again = build_windows(source, tmp_path / "out", SETTINGS, threads=1)
    assert (again.made, again.kept, len(again.failed)) == (0, 2, 2)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/scenes").iterdir()} == times
    with pytest.raises(InputError, match="points_per_window"):
        build_windows(source, tmp_path / "out", WindowSettings(SETTINGS.voxel), threads=1)
    with pytest.raises(InputError, match="no mesh files"):
        MeshFolder(tmp_path / "out").scene_ids()
    with pytest.raises(InputError, match="no such folder"):
        MeshFolder(tmp_path / "nowhere").scene_ids()


def test_scannet_meshes_through_the_reader(tmp_path: Path) -> None:
    """The mesh of a capture arrives with its floor at the padding and its up axis upward."""
    reader = write_dataset(tmp_path / "scannet", rendered_room(views=2))
    source = ReaderMeshes("scannet", tmp_path / "scannet", ceiling_m=2.2)
    assert list(source.scene_ids()) == list(reader.scene_ids())
    scene = source.scene_ids()[0]
    mesh, stored = source.mesh(scene), reader.read(scene).mesh
    height = stored.vertices[:, 2].max() - stored.vertices[:, 2].min()
    extent = mesh.bounds[1] - mesh.bounds[0]
    assert extent[1] <= height + 1e-3
    np.testing.assert_allclose(mesh.bounds[0, 1], stored.vertices[:, 2].min(), atol=1e-3)
    lowest = mesh.corners[:, :, 1].min(axis=1) - mesh.bounds[0, 1]
    assert lowest.max() <= 2.2
    report = build_windows(source, tmp_path / "out", SETTINGS, threads=1)
    assert report.made == 1
    assert report.windows >= 1
    assert WindowStore(tmp_path / "out").scenes() == [scene]


def test_splits_do_not_move() -> None:
    """Every scene stays on its side when others come along."""
    scenes = [f"scene{number}" for number in range(400)]
    train, held_out = split_scenes(scenes, 0.2)
    assert sorted(train + held_out) == sorted(scenes)
    assert 40 < len(held_out) < 120
    assert set(split_scenes(scenes[:100], 0.2)[1]) == set(held_out) & set(scenes[:100])


def test_statistics_by_hand() -> None:
    mean, deviation = measure_statistics(iter([np.array([1.0, 2.0]), np.array([3.0])]))
    assert mean == pytest.approx(2)
    assert deviation == pytest.approx(np.sqrt(2 / 3))
    with pytest.raises(InputError, match="no windows"):
        measure_statistics(iter([]))
