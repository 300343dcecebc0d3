"""Tables kept on disk: found again, and never believed when damaged or about something else."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qa_generation import visibility_cache
from qa_generation.errors import InputError
from qa_generation.scene import Scene
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_cache import cache_path, fingerprint, load_or_annotate
from qa_generation.visibility_table import VisibilityTable
from tests.qa_generation.factories import FURNITURE, Camera, make_scene

CONFIG = VisibilityConfig(max_side=80)


def two_views(scene_id: str = "den") -> Scene:
    cameras = [Camera((0.5, 0.5, 1.5), (2.5, 2.0, 0.5)), Camera((4.5, 0.5, 1.5), (2.5, 2.0, 0.5))]
    return make_scene(FURNITURE, cameras, scene_id=scene_id)


def equal(first: VisibilityTable, second: VisibilityTable) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name)) and type(getattr(first, name)) is type(value)
        for name, value in vars(second).items()
    )


def test_second_call_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_or_annotate(two_views(), tmp_path / "cache", CONFIG)
    monkeypatch.setattr(visibility_cache, "annotate", None)  # calling it again would raise
    second = load_or_annotate(two_views(), tmp_path / "cache", CONFIG)
    assert equal(second, first) and equal(second, annotate(two_views(), CONFIG))
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npz"], "no partial file stays behind"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(b"centroid_depth.npy") + 160  # in the numbers, past the array's header
    data[place] ^= 1
    path.write_bytes(bytes(data))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"visible_pixels": 1}))


def other_scene(path: Path) -> None:
    replace(annotate(two_views(), CONFIG), scene_id="attic").save(path)


def other_shape(path: Path) -> None:
    table = annotate(two_views(), CONFIG)
    replace(table, boxes=table.boxes[:1]).save(path)


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, pickled, other_scene, other_shape])
def test_damaged_file_is_reported_and_computed_again(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = load_or_annotate(two_views(), tmp_path, CONFIG)
    path = cache_path(two_views(), tmp_path, CONFIG)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert equal(load_or_annotate(two_views(), tmp_path, CONFIG), good)
    assert str(path) in caplog.text
    monkeypatch.setattr(visibility_cache, "annotate", None)
    assert equal(load_or_annotate(two_views(), tmp_path, CONFIG), good), "the good table took its place"


def moved_camera(scene: Scene) -> Scene:
    pose = scene.views[1].world_to_camera.copy()
    pose[0, 3] += 1e-9
    return replace(scene, views=(scene.views[0], replace(scene.views[1], world_to_camera=pose)))


def moved_vertex(scene: Scene) -> Scene:
    vertices = scene.mesh.vertices.copy()
    vertices[3, 2] += np.float32(1e-3)
    mesh = replace(scene.mesh, vertices=vertices)
    return replace(scene, load_mesh=lambda: mesh)


def fewer_instances(scene: Scene) -> Scene:
    return replace(scene, instances={i: x for i, x in scene.instances.items() if i != 4})


def other_lens(scene: Scene) -> Scene:
    return replace(
        scene, views=tuple(replace(view, intrinsics=view.intrinsics * [[2], [1], [1]]) for view in scene.views)
    )


@pytest.mark.parametrize("change", [moved_camera, moved_vertex, fewer_instances, other_lens])
def test_fingerprint_changes_with_what_is_seen(change: Callable[[Scene], Scene]) -> None:
    scene = two_views()
    assert fingerprint(scene, CONFIG) == fingerprint(two_views(), CONFIG)
    assert fingerprint(change(scene), CONFIG) != fingerprint(scene, CONFIG)


def test_fingerprint_changes_with_settings_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = two_views()
    before = fingerprint(scene, CONFIG)
    assert fingerprint(scene, VisibilityConfig(max_side=81)) != before
    monkeypatch.setattr(visibility_cache, "CODE_VERSION", visibility_cache.CODE_VERSION + 1)
    assert fingerprint(scene, CONFIG) != before


def test_scene_id_cannot_leave_the_cache_folder(tmp_path: Path) -> None:
    path = cache_path(two_views("../../etc/passwd"), tmp_path, CONFIG)
    assert path.parent == tmp_path and ".." not in path.name


def test_cache_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(InputError, match=r"cache.* cannot be written"):
        load_or_annotate(two_views(), tmp_path / "cache", CONFIG)
