"""Distance fields, windows and points of meshes: known distances, bad meshes, the files of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.distance_fields import DistanceQuery, Lattice, distance_field, truncated_field
from geometry_encoders.retrieval.meshes import Y_UP_FROM_Z_UP, checked_mesh, read_mesh, unit_cube, without_ceiling
from geometry_encoders.retrieval.points import draw_points, occupancy_grid, points_in_box
from geometry_encoders.retrieval.scale import PRESETS, GridScale, preset_scale
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from geometry_encoders.retrieval.windows import WindowSettings, cut_windows
from tests.geometry_encoders.retrieval_models import box, box_distance

VOXEL = 0.05


@settings(deadline=None, max_examples=15)
@given(
    low=st.tuples(*[st.floats(-1, 0)] * 3),
    size=st.tuples(*[st.floats(0.2, 2)] * 3),
    spacing=st.floats(0.05, 0.3),
)
def test_field_of_a_box(low: tuple[float, ...], size: tuple[float, ...], spacing: float) -> None:
    """Distances to a box are those of the formula, in (z, y, x) order; the fast way equals the plain one."""
    low3, high3 = np.array(low), np.array(low) + np.array(size)
    query = DistanceQuery(box(tuple(low3), tuple(high3)), threads=1)  # type: ignore[arg-type]
    lattice = Lattice((-1.3, -1.2, -1.1), spacing, (9, 14, 11))
    field = distance_field(query, lattice)
    z, y, x = np.meshgrid(*(np.arange(n) * spacing for n in lattice.shape), indexing="ij")
    nodes = np.stack([x, y, z], axis=-1) + lattice.origin
    np.testing.assert_allclose(field, box_distance(nodes, low3, high3), atol=1e-5)
    coarse = distance_field(query, lattice.strided(4))
    np.testing.assert_array_equal(coarse, field[::4, ::4, ::4])
    truncation = 3 * spacing
    np.testing.assert_array_equal(
        truncated_field(query, lattice, truncation, coarse, 4), np.minimum(field, np.float32(truncation))
    )


def test_open_meshes_are_fine() -> None:
    sheet = checked_mesh(np.array([[0, 0, 0], [9, 0, 0], [0, 0, 9.0]]), np.array([[0, 1, 2]]), "sheet")
    distances = DistanceQuery(sheet, threads=1)(np.array([[1, 0.5, 1], [1, -0.25, 1], [1, 0, 1]]))
    np.testing.assert_allclose(distances, [0.5, 0.25, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3), int), "no triangles"),
        (np.zeros((3, 2)), np.zeros((1, 3), int), r"shape \(3, 2\)"),
        (np.array([[0, 0, 0], [1, 0, 0], [0, np.nan, 1]]), np.array([[0, 1, 2]]), "not a number"),
        (np.eye(3), np.array([[0, 1, 3]]), "vertex 3, expected 0 to 2"),
        (np.ones((3, 3)), np.array([[0, 1, 2]]), "degenerate"),
    ],
)
def test_bad_meshes_are_one_sentence(vertices: np.ndarray, triangles: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        checked_mesh(vertices, triangles, "room.ply")
    assert str(caught.value).startswith("room.ply: ")
    assert "\n" not in str(caught.value)


def test_a_mesh_in_the_wrong_unit() -> None:
    """Kilometres of room are refused before memory is."""
    with pytest.raises(InputError, match="check the unit of the mesh"):
        list(cut_windows(box((0, 0, 0), (5000, 3000, 4000)), "millimetres", WindowSettings(VOXEL), threads=1))


def test_unused_bad_vertices_and_slivers_are_left_out() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan] * 3, [2, 0, 0]])
    mesh = checked_mesh(vertices, np.array([[0, 1, 2], [0, 1, 4]]), "mesh")
    assert len(mesh.triangles) == 1
    np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 0]])


def test_mesh_files(tmp_path: Path) -> None:
    """Parts of a file are put in their places; what is no mesh is refused."""
    scene = trimesh.Scene([trimesh.creation.box(extents=(1, 2, 3))])
    scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.export(tmp_path / "two.glb")
    np.testing.assert_allclose(read_mesh(tmp_path / "two.glb").bounds, [[-0.5, -1, -1.5], [5.5, 1, 1.5]])
    (tmp_path / "broken.ply").write_bytes(b"ply\nnothing")
    with pytest.raises(InputError, match=r"broken\.ply: not readable"):
        read_mesh(tmp_path / "broken.ply")
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "points.ply")
    with pytest.raises(InputError, match=r"points\.ply"):
        read_mesh(tmp_path / "points.ply")
    with pytest.raises(InputError, match=r"'\.txt'"):
        read_mesh(tmp_path / "mesh.txt")


def test_frames() -> None:
    """Up stays up when z up becomes y up; objects fill the unit cube; ceilings go, walls stay."""
    mesh = box((0, 0, 0), (1, 2, 3)).moved(Y_UP_FROM_Z_UP)
    np.testing.assert_allclose(mesh.bounds, [[0, 0, -2], [1, 3, 0]], atol=1e-6)
    assert np.linalg.det(Y_UP_FROM_Z_UP) == pytest.approx(1)
    np.testing.assert_allclose(unit_cube(mesh).bounds, [[-1 / 6, -0.5, -1 / 3], [1 / 6, 0.5, 1 / 3]], atol=1e-6)
    opened = without_ceiling(mesh, 2.3, "box")
    assert len(opened.triangles) == 10
    assert opened.bounds[1, 1] == pytest.approx(3), "walls stay whole"


# ---- windows -----------------------------------------------------------------------------------------------------


def test_windows_of_a_long_room() -> None:
    """Windows lie side by side; the low-resolution copy and the points belong to the same place."""
    mesh = box((0.0, 0.0, 0.0), (4.0, 1.0, 1.5))
    settings_ = WindowSettings(VOXEL, points_per_window=500)
    windows = list(cut_windows(mesh, "room", settings_, threads=1))
    assert [w.name for w in windows] == ["room__64__000_000_000", "room__64__000_000_064"]
    for window in windows:
        np.testing.assert_allclose(
            window.target[::4, ::4, ::4], np.minimum(window.coarse, np.float32(3 * VOXEL)), atol=1e-6
        )
        assert window.target.max() == pytest.approx(3 * VOXEL)
        nodes = tuple(np.round(window.points).astype(int).clip(0, 63).T)
        assert window.target[nodes].max() <= 0.9 * VOXEL, "points lie on the surface"
        assert window.points.min() >= 0
        assert window.points.max() < 64
    floor = windows[0].target[20, :, 20]
    assert floor.argmin() == settings_.padding, "the floor is at the height of the padding"


def test_empty_windows_are_kept_and_counted(tmp_path: Path) -> None:
    """Two far corners leave windows with nothing between them."""
    low, high = box((0, 0, 0), (0.2, 0.2, 0.2)), box((8, 0, 0), (8.2, 0.2, 0.2))
    mesh = checked_mesh(
        np.concatenate([low.vertices, high.vertices]), np.concatenate([low.triangles, high.triangles + 8]), "two"
    )
    settings_ = WindowSettings(VOXEL, points_per_window=50)
    store = WindowStore(tmp_path / "windows", settings_)
    store.write("two", list(cut_windows(mesh, "two", settings_, threads=1)))
    everything = WindowDataset(store, GridScale(VOXEL, input_kind="points"), num_points=20)
    assert len(everything) == 3
    middle = everything[1]
    assert torch.all(middle["target"] == middle["target"].max())
    assert middle["input"].sum() == 0
    assert torch.isnan(middle["points"]).all()
    filled = WindowDataset(store, GridScale(VOXEL), keep_empty=False)
    assert (len(filled), filled.empty) == (2, 1)


def test_store_round_trip_and_refusals(tmp_path: Path) -> None:
    settings_ = WindowSettings(VOXEL, points_per_window=100)
    windows = list(cut_windows(box((0, 0, 0), (1, 1, 1)), "a", settings_, threads=1))
    store = WindowStore(tmp_path / "store", settings_)
    store.write("a", windows)
    again = WindowStore(tmp_path / "store")
    assert again.settings == settings_
    read = again.read("a", windows[0].name)
    np.testing.assert_allclose(read["target"], windows[0].target, atol=1e-4)
    np.testing.assert_array_equal(read["coarse"], windows[0].coarse)
    np.testing.assert_allclose(read["points"], windows[0].points, atol=1e-3)
    first = (tmp_path / "store/scenes/a.safetensors").read_bytes()
    store.write("a", list(cut_windows(box((0, 0, 0), (1, 1, 1)), "a", settings_, threads=2)))
    assert (tmp_path / "store/scenes/a.safetensors").read_bytes() == first, "same bytes for any number of threads"
    with pytest.raises(InputError, match=r"other settings \(padding\)"):
        WindowStore(tmp_path / "store", WindowSettings(VOXEL, padding=4, points_per_window=100))
    with pytest.raises(InputError, match=r"voxel of 0\.05, expected 3\.75"):
        WindowDataset(again, preset_scale("matterport"))
    with pytest.raises(InputError, match="cannot name a file"):
        again.path("../a")
    with pytest.raises(InputError, match="'b'"):
        WindowDataset(again, GridScale(VOXEL), scenes=["b"])
    (tmp_path / "store/scenes/a.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"a\.safetensors: not readable"):
        again.window_names("a")


def test_points_depend_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    settings_ = WindowSettings(VOXEL, points_per_window=400)
    store = WindowStore(tmp_path / "s", settings_)
    store.write("a", list(cut_windows(box((0, 0, 0), (1, 1, 1)), "a", settings_, threads=1)))
    scale = GridScale(VOXEL, input_kind="points")
    one, two = (WindowDataset(store, scale, num_points=50, seed=3) for _ in range(2))
    torch.testing.assert_close(one[0]["points"], two[0]["points"])
    two.set_epoch(1)
    assert not torch.equal(one[0]["points"], two[0]["points"])


# ---- points ------------------------------------------------------------------------------------------------------


def test_occupancy_grid_by_hand() -> None:
    """Cell = floor of twice the coordinate, clipped; the padding shifts cells."""
    points = torch.tensor([[0.0, 0.49, 0.5], [63.9, 64.0, 70.0], [1.0, 1.0, 1.0]])
    grid = occupancy_grid(points, padding=8)
    assert grid.shape == (144, 144, 144)
    cells = torch.nonzero(grid).tolist()
    assert cells == [[8, 8, 9], [10, 10, 10], [135, 135, 135]]
    assert occupancy_grid(torch.zeros(0, 3)).sum() == 0


def test_points_are_uniform_and_inside() -> None:
    """On a unit square half of the points lie on either side; a box over a corner keeps what is in it."""
    square = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0.0]]])
    generator = np.random.default_rng(0)
    points = points_in_box(square, np.full(3, -1.0), np.full(3, 2.0), 4000, generator)
    assert abs((points[:, 0] > 0.5).mean() - 0.5) < 0.03
    assert abs((points[:, 1] > points[:, 0]).mean() - 0.5) < 0.03
    corner = points_in_box(square, np.array([0.9, 0.9, -1]), np.array([1.5, 1.5, 1]), 100, generator)
    assert len(corner) == 100
    assert corner[:, :2].min() >= 0.9
    assert len(points_in_box(square, np.full(3, 5.0), np.full(3, 6.0), 10, generator)) == 0


def test_few_points_repeat() -> None:
    drawn = draw_points(torch.eye(3), 7, np.random.default_rng(0))
    assert drawn.shape == (7, 3)
    assert len(torch.unique(draw_points(torch.eye(3), 3, np.random.default_rng(0)), dim=0)) == 3


# ---- scales ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_scales_invert(name: str) -> None:
    scale = PRESETS[name]
    distance = torch.linspace(0, scale.truncation, 5)
    torch.testing.assert_close(scale.denormalise_target(scale.normalise_target(distance)), distance)
    torch.testing.assert_close(scale.from_network(scale.to_network(distance)), distance)
    assert scale.to_network(scale.truncation) == pytest.approx(1)
    assert scale.occupied == pytest.approx(0.75 * scale.voxel)
    assert scale.truncation == pytest.approx(3 * scale.voxel, rel=1e-3)


def test_published_rounding() -> None:
    """Known values of the released program."""
    assert preset_scale("3dfront").truncation == pytest.approx(0.162475586, abs=1e-9)
    assert preset_scale("3dfront").input_truncation == pytest.approx(1.29980469, abs=1e-8)
    assert preset_scale("3dfront-points").input_voxel == pytest.approx(0.0270835)
    with pytest.raises(InputError, match="'nowhere' is unknown"):
        preset_scale("nowhere")
    with pytest.raises(InputError, match="upsampling is 5"):
        GridScale(0.1, 5)  # type: ignore[arg-type]
