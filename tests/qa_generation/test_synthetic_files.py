"""Rooms on disk: same bytes for the same seed, resuming, reading back, and what the reader says about broken files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qa_generation.commands.synth import parse_size, synth
from qa_generation.errors import InputError, SceneError
from qa_generation.readers.base import open_reader
from qa_generation.scene_checks import check_scene
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.synthetic.make_rooms import Job, make_rooms

CONFIG = RoomConfig(views=3, size=(64, 48))


def contents(root: Path) -> dict[str, str]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def job(out: Path, seed: int = 5, layout: str = "native", config: RoomConfig = CONFIG) -> Job:
    return Job(out, seed, layout, config)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rooms")
    assert all(o.result for o in make_rooms(job(out), 3))
    return out


@pytest.fixture
def room(rooms: Path, tmp_path: Path) -> Path:
    """A copy of one room, to be broken."""
    shutil.copytree(rooms / "room_5_00001", tmp_path / "room_5_00001")
    return tmp_path / "room_5_00001"


def test_bytes_do_not_depend_on_the_number_of_workers(rooms: Path, tmp_path: Path) -> None:
    assert sorted(o.item for o in make_rooms(job(tmp_path), 3, workers=2)) == [0, 1, 2]
    assert contents(tmp_path) == contents(rooms)
    assert {p.name for p in rooms.iterdir()} == {f"room_5_{k:05d}" for k in range(3)}


def test_seeds_and_numbers_make_different_rooms(rooms: Path, tmp_path: Path) -> None:
    assert all(o.result for o in make_rooms(job(tmp_path, seed=6), 1))
    meshes = [*rooms.glob("*/mesh.npz"), *tmp_path.glob("*/mesh.npz")]
    assert len({p.read_bytes() for p in meshes}) == 4


def test_an_interrupted_run_goes_on(rooms: Path, tmp_path: Path) -> None:
    out = tmp_path / "rooms"
    shutil.copytree(rooms, out)
    # as after an interrupt: one room half written, under its working name
    (out / "room_5_00002").rename(out / ".room_5_00002.partial")
    (out / ".room_5_00002.partial" / "scene.json").unlink()
    before = (out / "room_5_00000" / "mesh.npz").stat().st_mtime_ns
    assert open_reader("synthetic", out).scene_ids() == ["room_5_00000", "room_5_00001"]
    outcomes = {o.item: o.result for o in make_rooms(job(out), 3)}
    assert outcomes == {0: False, 1: False, 2: True}
    assert contents(out) == contents(rooms)
    assert (out / "room_5_00000" / "mesh.npz").stat().st_mtime_ns == before


def test_rooms_made_with_other_settings_are_not_taken_for_done(rooms: Path) -> None:
    with pytest.raises(InputError, match=r"scene\.json: room was made with .*'views': 3.*choose another folder"):
        list(make_rooms(job(rooms, config=RoomConfig(views=4, size=(64, 48))), 3))


def test_reading_gives_back_what_was_rendered(rooms: Path) -> None:
    reader = open_reader("synthetic", rooms)
    assert list(reader.scene_ids()) == ["room_5_00000", "room_5_00001", "room_5_00002"]
    scene, made = reader.read("room_5_00001"), build_scene(5, 1, CONFIG)
    check_scene(scene)
    assert (scene.dataset, len(scene.views)) == ("synthetic", 3)
    for name in ("vertices", "triangles", "triangle_instances", "vertex_colors"):
        np.testing.assert_array_equal(getattr(scene.mesh, name), getattr(made.mesh, name))
    assert {k: i.category for k, i in scene.instances.items()} == {k: i.category for k, i in made.instances.items()}
    for number, instance in scene.instances.items():
        np.testing.assert_array_equal(instance.obb.corners, made.instances[number].obb.corners)
    for view, rendered in zip(scene.views, made.views, strict=True):
        assert (view.view_id, view.size) == (rendered.view_id, rendered.size)
        np.testing.assert_array_equal(view.intrinsics, rendered.intrinsics)
        np.testing.assert_array_equal(view.world_to_camera, rendered.world_to_camera)
        assert view.read_depth is not None
        np.testing.assert_allclose(view.read_depth(), rendered.depth_m, atol=0.00051)
        ids = reader.read_instance_ids("room_5_00001", view.view_id)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(ids, rendered.instance)
        with Image.open(view.image.path) as image:
            assert np.abs(np.asarray(image).astype(int) - rendered.rgb).mean() < 4


def description(room: Path) -> dict[str, Any]:
    return json.loads((room / "scene.json").read_text())


def edit(room: Path, **changes: object) -> None:
    """Changes fields of scene.json; ``views__0__size=...`` goes down into it."""
    content: Any = description(room)
    for name, value in changes.items():
        *way, last = (int(step) if step.isdigit() else step for step in name.split("__"))
        place = content
        for step in way:
            place = place[step]
        place[last] = value
    (room / "scene.json").write_text(json.dumps(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


NAN_POSE = [[float("nan")] * 4] * 4
SCALED_POSE = np.diag([2.0, 2, 2, 1]).tolist()
NO_FOCAL = [[0, 0, 32], [0, 60, 24], [0, 0, 1]]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda r: (r / "images/frame_000001.jpg").unlink(), "images/frame_000001.jpg: no such file"),
        (lambda r: (r / "depth/frame_000000.png").unlink(), "depth/frame_000000.png: no such file"),
        (lambda r: cut(r / "images/frame_000001.jpg"), "images/frame_000001.jpg: picture is truncated"),
        (lambda r: cut(r / "instance/frame_000002.png"), "instance/frame_000002.png: picture is truncated"),
        (lambda r: (r / "images/frame_000002.jpg").write_bytes(b"x" * 99), "picture cannot be decoded"),
        (lambda r: (r / "mesh.npz").unlink(), "mesh.npz: no such file"),
        (lambda r: cut(r / "mesh.npz"), "mesh.npz: file is truncated"),
        (lambda r: cut(r / "scene.json"), "scene.json: no JSON"),
        (lambda r: (r / "scene.json").write_text("[" * 100_000), "scene.json: no JSON"),
        (lambda r: (r / "scene.json").unlink(), "scene.json: no such file"),
        (lambda r: edit(r, version=9), "format version is 9, expected 1"),
        (lambda r: edit(r, format="other"), "format is not"),
        (lambda r: edit(r, views__1__world_to_camera=NAN_POSE), "view frame_000001: pose holds NaN"),
        (lambda r: edit(r, views__2__world_to_camera=SCALED_POSE), "view frame_000002: pose is not rigid"),
        (lambda r: edit(r, views__0__intrinsics=NO_FOCAL), "view frame_000000: focal length is (0, 60)"),
        (lambda r: edit(r, views__0__size=[60, 48]), "frame_000000.jpg: picture is 64x48, expected 60x48"),
        (lambda r: edit(r, views__0__id="../../etc/passwd"), "id is '../../etc/passwd'"),
        (lambda r: edit(r, views__0__id="frame_000001"), "two views share an id"),
        (
            lambda r: edit(r, views=description(r)["views"][:1]),
            "1 usable view, expected",
        ),
        (lambda r: edit(r, views={}), "views is missing or no list"),
        (lambda r: edit(r, instances__0__id=0), "id is 0, expected a whole number from 1"),
        (lambda r: edit(r, instances__0__obb={"center": [0, 0, 0]}), "field 'axes' is missing"),
        (lambda r: edit(r, instances__0__obb__extents=[1, 1, "wide"]), "obb.extents is"),
    ],
)
def test_broken_rooms_are_told_in_one_sentence(room: Path, break_it: object, words: str) -> None:
    break_it(room)  # type: ignore[operator]
    with pytest.raises(SceneError) as caught:
        open_reader("synthetic", room.parent).read(room.name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def rewrite_mesh(room: Path, **changes: np.ndarray | None) -> None:
    with np.load(room / "mesh.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(room / "mesh.npz", **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]


def test_broken_meshes_are_told_when_the_mesh_is_used(room: Path) -> None:
    def complaint(**changes: np.ndarray | None) -> str:
        whole = (room / "mesh.npz").read_bytes()
        rewrite_mesh(room, **changes)
        with pytest.raises(SceneError) as caught:
            _ = open_reader("synthetic", room.parent).read(room.name).mesh
        (room / "mesh.npz").write_bytes(whole)
        return str(caught.value)

    with np.load(room / "mesh.npz") as archive:
        ids, vertices, triangles = archive["triangle_instances"], archive["vertices"], archive["triangles"]
    lost, category = 4, open_reader("synthetic", room.parent).read(room.name).instances[4].category
    assert f"instance 4 ({category}) has no geometry" in complaint(triangle_instances=np.where(ids == lost, 0, ids))
    stray = np.where(np.arange(len(ids)) == 0, 999, ids)
    assert "id 999 that scene.json does not describe" in complaint(triangle_instances=stray.astype(np.int32))
    assert "array is missing" in complaint(vertices=None)
    assert "expected float32" in complaint(vertices=vertices.astype(np.float64))
    assert "not finite" in complaint(vertices=np.where(np.arange(len(vertices))[:, None] == 7, np.nan, vertices))
    assert "triangles name vertices" in complaint(triangles=triangles + len(vertices))
    # an array of objects would have to be unpickled
    assert "mesh cannot be read" in complaint(vertices=np.array([{"a": 1}], dtype=object))


def test_the_verb_makes_rooms_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "rooms"
    arguments = {"seed": 1, "layout": "native", "views": 2, "assets": None, "workers": 1, "samples": 1}
    synth(out, scenes=1, size="48x32", **arguments)  # type: ignore[arg-type]
    assert "1 rooms of 2 views made" in capsys.readouterr().out
    synth(out, scenes=1, size="48x32", **arguments)  # type: ignore[arg-type]
    assert "0 rooms of 2 views made (1 were there already)" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["640", "640x", "0x480", "20000x20000", "640x480x3", "axb", "-5x20"])
def test_sizes_that_are_none_are_told(text: str) -> None:
    assert parse_size("640x480") == (640, 480)
    with pytest.raises(InputError, match=r"--size is .* expected WIDTHxHEIGHT"):
        parse_size(text)


def test_unknown_layouts_and_samples_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--layout 'colmap' is unknown, expected one of native, scannet"):
        list(make_rooms(job(tmp_path / "out", layout="colmap"), 1))
    with pytest.raises(InputError, match="--samples is 3, expected 1 or 4"):
        synth(tmp_path, scenes=1, seed=0, layout="native", views=2, size="48x32", assets=None, workers=1, samples=3)


def test_the_scannet_layout_is_read_by_its_reader_and_resumes(tmp_path: Path) -> None:
    assert all(o.result for o in make_rooms(job(tmp_path, layout="scannet"), 1))
    assert [o.result for o in make_rooms(job(tmp_path, layout="scannet"), 2)] == [False, True]
    reader = open_reader("scannet", tmp_path)
    assert list(reader.scene_ids()) == ["scene0000_00", "scene0001_00"]
    scan, made = reader.read("scene0001_00"), build_scene(5, 1, CONFIG)
    assert {k: i.category for k, i in scan.instances.items()} == {k: i.category for k, i in made.instances.items()}
    assert len(scan.views) == 3
