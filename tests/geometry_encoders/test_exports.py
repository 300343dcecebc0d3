"""Files for other tools: read back by those tools, a point must project to the pixel that it came from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from plyfile import PlyData

from geometry_encoders.errors import InputError
from geometry_encoders.exports.colmap import write_colmap
from geometry_encoders.exports.glb import frustum_segments, write_glb
from geometry_encoders.exports.nerfstudio import write_transforms
from geometry_encoders.exports.originals import ExportedPictures
from geometry_encoders.exports.ply import write_ply
from geometry_encoders.exports.tracks import find_tracks
from geometry_encoders.reconstruction.result import Reconstruction
from tests.geometry_encoders.room_scene import make_scene

pycolmap = pytest.importorskip("pycolmap")


@pytest.fixture
def scene() -> Reconstruction:
    return make_scene()


def full_size(scene: Reconstruction) -> ExportedPictures:
    """Pictures ten times as large, of which the network saw the part from (30, 20) on."""
    transform = np.array([[10, 0, 34.5], [0, 10, 24.5], [0, 0, 1]])  # centre of pixel (0, 0) -> middle of 30..39
    return ExportedPictures(
        tuple(f"images/{name}" for name in scene.names), ((700, 520),) * len(scene), np.stack([transform] * len(scene))
    )


def test_ply_holds_points_colours_and_confidence(scene: Reconstruction, tmp_path: Path) -> None:
    cloud = scene.point_cloud()
    write_ply(cloud, tmp_path / "a.ply")
    vertices = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], axis=1), cloud.points)
    np.testing.assert_array_equal(np.stack([vertices[c] for c in ("red", "green", "blue")], axis=1), cloud.colours)
    np.testing.assert_array_equal(vertices["confidence"], cloud.confidence)
    loaded = trimesh.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(loaded.vertices, cloud.points)
    np.testing.assert_array_equal(loaded.colors[:, :3], cloud.colours)


def test_glb_has_the_axes_of_gltf(scene: Reconstruction, tmp_path: Path) -> None:
    cloud = scene.point_cloud()
    write_glb(cloud, tmp_path / "a.glb", cameras_of=scene)
    loaded = trimesh.load(tmp_path / "a.glb", force="scene")
    kinds = {type(geometry).__name__ for geometry in loaded.geometry.values()}
    assert kinds == {"PointCloud", "Path3D"}
    assert sum(isinstance(geometry, trimesh.path.Path3D) for geometry in loaded.geometry.values()) == len(scene)
    [node] = [node for node in loaded.graph.nodes_geometry if node == "points"]
    transform, name = loaded.graph[node]
    points = trimesh.transform_points(loaded.geometry[name].vertices, transform)
    np.testing.assert_allclose(points, cloud.points * (1, -1, -1), atol=1e-6)
    np.testing.assert_array_equal(loaded.geometry[name].colors[:, :3], cloud.colours)


def test_frustum_edges_lie_on_the_border_of_the_picture(scene: Reconstruction) -> None:
    segments = frustum_segments(scene, 1, depth=0.5)
    corner = segments[0, 1] - scene.camera_to_world[1, :3, 3]
    projected = scene.intrinsics[1] @ scene.camera_to_world[1, :3, :3].T @ corner
    assert projected[2] == pytest.approx(0.5)
    np.testing.assert_allclose(projected[:2] / projected[2], [-0.5, -0.5], atol=1e-9)


def test_an_empty_cloud_is_written_too(scene: Reconstruction, tmp_path: Path) -> None:
    cloud = scene.point_cloud(min_confidence=5)
    write_ply(cloud, tmp_path / "a.ply")
    assert len(PlyData.read(str(tmp_path / "a.ply"))["vertex"].data) == 0


def test_tracks_join_the_pixels_that_see_one_point(scene: Reconstruction) -> None:
    tracks = find_tracks(scene)
    lengths = np.bincount(tracks.point)
    assert (lengths >= 1).all()
    assert lengths.max() == 3
    assert (lengths > 1).mean() > 0.3
    assert len(np.unique(np.column_stack([tracks.view, tracks.pixels]), axis=0)) == len(tracks.view)
    for point, view, (column, row) in zip(tracks.point, tracks.view, tracks.pixels, strict=True):
        seen = scene.pointmaps[view][row, column]
        assert np.linalg.norm(seen - tracks.cloud.points[point]) < 0.01 * 6


def test_hidden_points_are_not_observed(scene: Reconstruction) -> None:
    """A view that sees something near in front of everything shares no point with the others."""
    near = np.zeros_like(scene.pointmaps[2]) + np.array([1.0, -0.4, 0.5], dtype=np.float32)
    tracks = find_tracks(replace(scene, pointmaps=(*scene.pointmaps[:2], near)))
    own = tracks.cloud.view[tracks.point] == 2
    assert (tracks.view[own] == 2).all()
    assert own.sum() == 48 * 64
    assert (tracks.view[~own] != 2).all()


@pytest.mark.parametrize("layout", ["binary", "text"])
@pytest.mark.parametrize("original", [False, True])
def test_pycolmap_reads_poses_points_and_tracks(
    scene: Reconstruction, tmp_path: Path, layout: str, original: bool
) -> None:
    pictures = full_size(scene) if original else None
    write_colmap(scene, tmp_path / "sparse", pictures, layout=layout, max_points=500)
    model = pycolmap.Reconstruction(tmp_path / "sparse")
    assert sorted(path.stem for path in (tmp_path / "sparse").iterdir())[:2] == ["cameras", "frames"]
    assert (model.num_reg_images(), model.num_cameras(), model.num_points3D()) == (3, 1, 500)
    for view in range(3):
        image = model.images[view + 1]
        assert image.name == (f"images/{view}.png" if original else f"{view}.png")
        pose = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
        np.testing.assert_allclose(pose, scene.camera_to_world[view], atol=1e-9)
    expected = find_tracks(scene, max_points=500)
    points = np.array([model.points3D[number].xyz for number in sorted(model.points3D)])
    np.testing.assert_allclose(points, expected.cloud.points, atol=1e-6)
    scale = 10 if original else 1
    for point in model.points3D.values():
        for element in point.track.elements:
            image = model.images[element.image_id]
            observed = image.points2D[element.point2D_idx].xy
            np.testing.assert_allclose(image.project_point(point.xyz), observed, atol=0.75 * scale)
        source = point.track.elements[0]  # the pixel that the point was made from projects exactly
        image = model.images[source.image_id]
        np.testing.assert_allclose(
            image.project_point(point.xyz), image.points2D[source.point2D_idx].xy, atol=2e-3 * scale
        )
    assert model.compute_mean_reprojection_error() < 0.5 * scale


def test_colmap_pixel_centres(scene: Reconstruction, tmp_path: Path) -> None:
    """COLMAP counts from the corner of the first pixel, so our pixel (0, 0) is its (0.5, 0.5)."""
    write_colmap(scene, tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    camera = model.cameras[1]
    np.testing.assert_allclose(camera.calibration_matrix()[:2, 2], scene.intrinsics[0, :2, 2] + 0.5)
    first = model.images[1].project_point(scene.pointmaps[0][0, 0].astype(float))
    np.testing.assert_allclose(first, [0.5, 0.5], atol=1e-3)


def test_views_of_two_sizes_have_two_cameras(tmp_path: Path) -> None:
    wide, high = make_scene(), make_scene(size=(64, 48))
    mixed = Reconstruction(
        ("a", "b", "c"),
        (*wide.images[:2], high.images[2]),
        (*wide.pointmaps[:2], high.pointmaps[2]),
        (*wide.confidence[:2], high.confidence[2]),
        wide.camera_to_world,
        np.stack([*wide.intrinsics[:2], high.intrinsics[2]]),
    )
    write_colmap(mixed, tmp_path)
    model = pycolmap.Reconstruction(tmp_path)
    assert [model.images[k].camera_id for k in (1, 2, 3)] == [1, 1, 2]
    assert (model.cameras[2].width, model.cameras[2].height) == (48, 64)
    write_transforms(mixed, tmp_path / "transforms.json")
    frames = json.loads((tmp_path / "transforms.json").read_text())["frames"]
    assert [(frame["w"], frame["h"]) for frame in frames] == [(64, 48), (64, 48), (48, 64)]


@pytest.mark.parametrize("original", [False, True])
def test_transforms_project_a_point_by_the_rules_of_nerfstudio(
    scene: Reconstruction, tmp_path: Path, original: bool
) -> None:
    """Its cameras look along -z with y up; pixel (i, j) has its centre at (i + 0.5, j + 0.5)."""
    write_transforms(scene, tmp_path / "t.json", full_size(scene) if original else None, ply_file="points.ply")
    content = json.loads((tmp_path / "t.json").read_text())
    assert content["ply_file_path"] == "points.ply"
    assert content["camera_model"] == "OPENCV"
    view, column, row = 2, 50, 7
    point = np.append(scene.pointmaps[view][row, column], 1)
    x, y, z, _ = np.linalg.inv(content["frames"][view]["transform_matrix"]) @ point
    assert z < 0
    pixel = (content["fl_x"] * x / -z + content["cx"], content["fl_y"] * -y / -z + content["cy"])
    expected = (10 * column + 30 + 5, 10 * row + 20 + 5) if original else (column + 0.5, row + 0.5)
    np.testing.assert_allclose(pixel, expected, atol=0.05)
    assert (content["w"], content["h"]) == ((700, 520) if original else (64, 48))


def test_without_cameras_there_is_no_colmap_model(scene: Reconstruction, tmp_path: Path) -> None:
    bare = replace(scene, camera_to_world=None, intrinsics=None)
    with pytest.raises(InputError, match="no cameras"):
        write_colmap(bare, tmp_path)
    with pytest.raises(InputError, match="no cameras"):
        write_transforms(bare, tmp_path / "t.json")
