"""The user's meshes as further categories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from qa_generation.commands.synth import synth
from qa_generation.errors import InputError
from qa_generation.readers.base import open_reader
from qa_generation.synthetic.assets import MAX_TRIANGLES, load_assets
from qa_generation.synthetic.build import RoomConfig, build_scene

YCB = Path(__file__).parents[3] / "shared" / "data" / "ycb_meshes"


def write_mesh(root: Path, name: str, mesh: trimesh.Trimesh) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh.export(path)
    return path


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb", "stl"])
def test_every_format_comes_in_upright_and_centred(suffix: str, tmp_path: Path) -> None:
    extents = (0.1, 0.2, 0.4) if suffix != "glb" else (0.1, 0.4, 0.2)  # glTF has +y up
    mesh = trimesh.creation.box(extents).apply_translation([3, 4, 5])
    write_mesh(tmp_path, f"Garden_Gnome/a.{suffix}", mesh)
    ((category, items),) = load_assets(tmp_path).items()
    assert category == "garden gnome"
    np.testing.assert_allclose(items[0].size, [0.1, 0.2, 0.4], atol=1e-5)
    np.testing.assert_allclose(items[0].surface.bounds, [[-0.05, -0.1, 0], [0.05, 0.1, 0.4]], atol=1e-5)


def test_several_models_per_category_and_only_folders_with_meshes(tmp_path: Path) -> None:
    for name in ("duck/b.ply", "duck/a.ply", "cat/a.ply"):
        write_mesh(tmp_path, name, trimesh.creation.icosphere(radius=0.1))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no mesh")
    (tmp_path / "LICENSE").write_text("text")
    assert {k: len(v) for k, v in load_assets(tmp_path).items()} == {"cat": 1, "duck": 2}


def test_vertex_colours_and_textures_are_kept(tmp_path: Path) -> None:
    sphere = trimesh.creation.icosphere(radius=0.1)
    sphere.visual.vertex_colors = np.tile([255, 0, 51, 255], (len(sphere.vertices), 1))
    write_mesh(tmp_path, "red/a.ply", sphere)
    plane = trimesh.creation.box((0.2, 0.2, 0.1))
    picture = Image.fromarray(np.full((8, 8, 3), (0, 102, 255), np.uint8))
    material = trimesh.visual.material.SimpleMaterial(image=picture)
    plane.visual = trimesh.visual.TextureVisuals(uv=np.full((len(plane.vertices), 2), 0.5), material=material)
    write_mesh(tmp_path, "blue/a.obj", plane)
    assets = load_assets(tmp_path)
    np.testing.assert_allclose(assets["red"][0].surface.colors.mean(axis=0), [1, 0, 0.2], atol=0.01)
    np.testing.assert_allclose(assets["blue"][0].surface.colors.mean(axis=0), [0, 0.4, 1], atol=0.02)


def test_heavy_meshes_are_simplified_and_keep_their_size(tmp_path: Path) -> None:
    write_mesh(tmp_path, "globe/a.ply", trimesh.creation.icosphere(subdivisions=5, radius=0.15))
    item = load_assets(tmp_path)["globe"][0]
    assert len(item.surface.triangles) <= MAX_TRIANGLES
    np.testing.assert_allclose(item.size, 0.3, atol=0.003)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("duck/a.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n", "duck/a.ply: mesh"),
        ("duck/a.obj", b"# nothing\n", "duck/a.obj: "),
        ("duck/a.stl", b"", "duck/a.stl: "),
        ("duck/a.glb", b"glTF" + b"\0" * 40, "duck/a.glb: mesh cannot be read"),
    ],
)
def test_broken_and_empty_files_are_named(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    write_mesh(tmp_path, "cat/a.ply", trimesh.creation.icosphere(radius=0.1))
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_assets(tmp_path)
    assert words in str(caught.value) and "expected" in str(caught.value)


def test_unlikely_sizes_reserved_names_and_empty_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no meshes found"):
        load_assets(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        load_assets(tmp_path / "nowhere")
    write_mesh(tmp_path / "large", "duck/a.ply", trimesh.creation.icosphere(radius=100))
    with pytest.raises(InputError, match=r"a\.ply: mesh is 200 m large, expected 0.01 to 4.0"):
        load_assets(tmp_path / "large")
    write_mesh(tmp_path / "named", "Wall/a.ply", trimesh.creation.icosphere(radius=0.1))
    with pytest.raises(InputError, match="'wall' is a part of every room"):
        load_assets(tmp_path / "named")


def test_things_of_the_user_stand_in_the_rooms(tmp_path: Path) -> None:
    write_mesh(tmp_path / "assets", "Traffic_Cone/a.ply", trimesh.creation.cone(radius=0.15, height=0.5))
    assets = tmp_path / "assets"
    options = {"seed": 2, "layout": "native", "views": 2, "size": "48x32", "workers": 1, "samples": 1}
    synth(tmp_path / "rooms", scenes=4, assets=assets, **options)  # type: ignore[arg-type]
    load_assets.cache_clear()
    reader = open_reader("synthetic", tmp_path / "rooms")
    found = [i for s in reader.scene_ids() for i in reader.read(s).instances.values() if i.category == "traffic cone"]
    assert found
    for instance in found:
        np.testing.assert_allclose(instance.obb.extents, [0.3, 0.3, 0.5], atol=0.01)
    # rooms made with other meshes are not taken for done
    write_mesh(assets, "Traffic_Cone/a.ply", trimesh.creation.cone(radius=0.1, height=0.4))
    with pytest.raises(InputError, match="choose another folder"):
        synth(tmp_path / "rooms", scenes=4, assets=assets, **options)  # type: ignore[arg-type]


@pytest.mark.skipif(not YCB.is_dir(), reason="needs the scanned objects in ../shared/data")
def test_real_scans_come_with_their_colours_and_are_seen() -> None:
    assets = load_assets(YCB)
    assert set(assets) == {"ycbbanana", "ycbscissors"}
    banana = assets["ycbbanana"][0]
    assert 0.15 < max(banana.size) < 0.25
    red, green, blue = banana.surface.colors.mean(axis=0)
    assert min(red, green) > 2 * blue, "a banana is yellow"
    scene = build_scene(0, 1, RoomConfig(views=2, size=(64, 48)), assets)
    placed = [i for i in scene.instances.values() if i.category.startswith("ycb")]
    assert placed
    for instance in placed:
        assert len(scene.mesh.triangles_of(instance.instance_id)) > 1000
