"""A street written in the layout of Waymo Open v2 comes back from the reader as it was."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import open3d as o3d
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.spatial import ConvexHull

from qa_generation.raycast import RayCaster, Region, view_rays
from qa_generation.readers.base import open_reader, options_of
from qa_generation.readers.waymo import WaymoReader
from qa_generation.readers.waymo_files import find_segments
from qa_generation.readers.waymo_lidar import Scan, read_scans
from qa_generation.scene import Scene
from qa_generation.splits import place_of
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_table import VisibilityTable
from qa_generation.writers.waymo_street import GROUND_COLOR, SKY_COLOR, Street
from tests.qa_generation.waymo_factories import (
    SEGMENT,
    SHARP,
    STEP_S,
    component,
    move,
    named_blocks,
    nearest_color,
    world_from_street,
    write_street,
)

CAMERAS = ["FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT"]
INDEX = 1
COARSE = VisibilityConfig(voxel_m=0.2, depth_tolerance_m=0.2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Street]:
    root = tmp_path_factory.mktemp("waymo")
    return root, write_street(root, SHARP, frames=3)


@pytest.fixture(scope="module")
def street(written: tuple[Path, Street]) -> Street:
    return written[1]


@pytest.fixture(scope="module")
def scene(written: tuple[Path, Street]) -> Scene:
    return WaymoReader(written[0], snapshot_stride=1).read(f"{SEGMENT}_t{INDEX:03d}")


@pytest.fixture(scope="module")
def table(scene: Scene) -> VisibilityTable:
    return annotate(scene, COARSE)


@pytest.fixture(scope="module")
def pictures(scene: Scene) -> dict[str, np.ndarray]:
    return {view.view_id: np.asarray(Image.open(io.BytesIO(view.image.read()))) for view in scene.views}


def test_files_and_columns_are_the_official_ones(written: tuple[Path, Street]) -> None:
    root, _ = written
    assert sorted(path.name for path in (root / "training").iterdir()) == [
        "camera_calibration", "camera_image", "lidar", "lidar_box", "lidar_calibration", "lidar_pose", "vehicle_pose",
    ]  # fmt: skip
    schema = pq.read_schema(component(root, "lidar_box"))
    assert schema.names[:4] == [
        "index",
        "key.segment_context_name",
        "key.frame_timestamp_micros",
        "key.laser_object_id",
    ]
    assert str(schema.field("[LiDARBoxComponent].type").type) == "int8"
    images = pq.read_table(component(root, "camera_image"), columns=["key.camera_name"])
    assert images.column(0).to_pylist()[:5] == [1, 2, 4, 3, 5]
    poses = pq.read_table(component(root, "vehicle_pose")).column(3).to_pylist()
    assert np.abs(np.array(poses[0]).reshape(4, 4)[:3, 3]).max() > 1e4


def test_scenes_are_moments_and_a_drive_is_one_place(written: tuple[Path, Street]) -> None:
    root, _ = written
    assert open_reader("waymo", root).scene_ids() == [f"{SEGMENT}_t000"]
    reader = open_reader("waymo", root / "training", {"snapshot_stride": "2"})
    assert reader.scene_ids() == [f"{SEGMENT}_t000", f"{SEGMENT}_t002"]
    assert options_of(reader) == {"snapshot_stride": 2}
    assert {place_of(scene_id) for scene_id in reader.scene_ids()} == {SEGMENT}


def test_every_camera_has_its_own_size_and_place(scene: Scene, street: Street) -> None:
    assert scene.kind == "outdoor"
    assert [view.view_id for view in scene.views] == [f"frame_{INDEX:03d}_{name}" for name in CAMERAS]
    assert [view.size for view in scene.views] == [(480, 320)] * 3 + [(480, 222)] * 2
    models = {camera.name: camera for camera in SHARP.cameras}
    for name, view in zip(CAMERAS, scene.views, strict=True):
        mounted = street.street_from_vehicle(INDEX * STEP_S) @ models[name].vehicle_from_camera
        waymo_camera = world_from_street(street) @ mounted
        np.testing.assert_allclose(view.camera_center, waymo_camera[:3, 3], atol=1e-6)
        forward, left, up = waymo_camera[:3, :3].T
        np.testing.assert_allclose(view.world_to_camera[:3, :3], [-left, -up, forward], atol=1e-9)


def test_boxes_are_those_of_the_street(scene: Scene, street: Street) -> None:
    blocks = named_blocks(street)
    assert [instance.category.lower() for instance in scene.instances.values()] == [b.kind for b in blocks.values()]
    for instance, block in zip(scene.instances.values(), blocks.values(), strict=True):
        expected = move(world_from_street(street), block.vertices(INDEX * STEP_S))
        gaps = np.linalg.norm(instance.obb.corners[:, None] - expected[None], axis=-1)
        assert gaps.min(axis=0).max() < 1e-6
        np.testing.assert_allclose(instance.obb.extents, block.size)
        surface = scene.mesh.triangles_of(instance.instance_id).astype(np.float64)
        assert surface.shape == (12, 3, 3)
        volume = np.einsum("ni,ni->", surface[:, 0], np.cross(surface[:, 1], surface[:, 2])) / 6
        assert volume == pytest.approx(np.prod(block.size), rel=1e-3)  # faces look outward


def test_box_corners_lie_where_the_pictures_show_the_box(
    scene: Scene, street: Street, table: VisibilityTable, pictures: dict[str, np.ndarray]
) -> None:
    """Undistorted pictures, pinhole and poses agree to the pixel on all five cameras."""
    blocks = list(named_blocks(street).values())
    colors = [block.color for block in blocks] + [SKY_COLOR, GROUND_COLOR, (150, 140, 128), (120, 84, 70)]
    checked = set()
    for row, view in enumerate(scene.views):
        shown = nearest_color(pictures[view.view_id], colors)
        for column, instance in enumerate(scene.instances.values()):
            corners = move(view.world_to_camera, instance.obb.corners)
            in_full = table.visible_pixels[row, column] == table.frame_pixels[row, column] > 0
            if not in_full or corners[:, 2].min() < 0.5:
                continue
            pixels = ((corners / corners[:, 2:]) @ view.intrinsics.T)[:, :2]
            outside = _pixels_outside(pixels, view.size)
            assert (shown[outside < -1.0] == column).all()
            # further away, mixed colours at the edges of other things may be nearest to this one
            assert (shown[(outside > 1.0) & (outside < 4.0)] != column).all()
            checked.add(view.view_id)
    assert len(checked) == 5


def test_lenses_bend_by_more_than_the_tolerance() -> None:
    """Without this the undistortion would not be exercised."""
    for camera in SHARP.cameras:
        forward, left, up = camera.rays()[0]  # of the top left pixel
        straight = np.array([-left / forward * camera.focal[0], -up / forward * camera.focal[1]]) + camera.center
        assert np.linalg.norm(straight) > 2.0


def test_laser_points_lie_on_the_street(written: tuple[Path, Street], street: Street) -> None:
    caster = o3d.t.geometry.RaycastingScene()
    vertices, triangles = street.at(INDEX * STEP_S).mesh
    caster.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(triangles.astype(np.uint32)))
    scans = _scans(written[0], street)
    assert [scan.laser.name for scan in scans] == ["TOP", "FRONT", "SIDE_LEFT", "SIDE_RIGHT", "REAR"]
    for scan in scans:
        for image in scan.ranges_m:
            points = move(street.street_from_vehicle(INDEX * STEP_S), _points(scan, image))
            assert len(points) > 30
            distance_m = caster.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
            assert distance_m.max() < 0.01


def test_top_laser_is_read_with_the_pose_of_each_pixel(written: tuple[Path, Street], street: Street) -> None:
    """The car drives 0.8 m while the laser turns once, and nothing but those poses tells."""
    top = _scans(written[0], street)[0]
    assert top.vehicle_from_pixel_car is not None
    shifts = top.vehicle_from_pixel_car[0, :, :3, 3]
    assert np.ptp(shifts[:, 0]) == pytest.approx(0.8, abs=0.01)
    assert np.abs(shifts[len(shifts) // 2 - 1 : len(shifts) // 2 + 1]).max() < 0.01


def test_bare_surface_is_where_the_street_is(scene: Scene, street: Street) -> None:
    """Depth of what is not annotated, seen from the cameras, against the true street."""
    world = world_from_street(street)
    caster, truth = RayCaster.of_mesh(scene.mesh), street.at(INDEX * STEP_S)
    for view in scene.views:
        rays = view_rays(view.intrinsics, view.world_to_camera, Region.frame(view.size))
        depth_m, triangle = caster.first_hits(rays)
        bare = (triangle >= 0) & (scene.mesh.triangle_instances[triangle] == 0)
        to_street = np.linalg.inv(world)
        flat = rays[bare].astype(np.float64)
        hits = truth.cast(move(to_street, flat[:, :3]), flat[:, 3:] @ to_street[:3, :3].T)
        gap_m = np.abs(hits.distance - depth_m[bare])
        assert bare.mean() > 0.25
        assert np.median(gap_m) < 0.02
        assert np.percentile(gap_m, 95) < 0.3


def test_a_wall_that_nobody_annotated_hides_the_car_behind_it(
    written: tuple[Path, Street], scene: Scene, table: VisibilityTable, tmp_path: Path
) -> None:
    hidden, shut_in = _column(scene, "Vehicle", 0), scene.views[2].view_id
    assert shut_in.endswith("FRONT_RIGHT")
    row = table.view_ids.index(shut_in)
    assert table.frame_pixels[row, hidden] > 5000
    assert table.visible_pixels[row, hidden] < 0.25 * table.frame_pixels[row, hidden]
    # the same folder without its laser: nothing but boxes is left to hide anything, and the reader says so
    for path in (written[0] / "training").iterdir():
        if not path.name.startswith("lidar") or path.name == "lidar_box":
            (tmp_path / path.name).symlink_to(path)
    bare, notes = WaymoReader(tmp_path, snapshot_stride=1).read_with_notes(scene.scene_id)
    assert len(notes) == 1 and "nothing but the annotated boxes hides" in notes[0]
    assert set(np.unique(bare.mesh.triangle_instances)) == set(scene.instances)
    without = annotate(bare, COARSE)
    assert without.visible_pixels[row, hidden] > 0.8 * table.frame_pixels[row, hidden]


def test_visible_share_is_that_of_the_picture(
    scene: Scene, street: Street, table: VisibilityTable, pictures: dict[str, np.ndarray]
) -> None:
    blocks = list(named_blocks(street).values())
    colors = [block.color for block in blocks] + [SKY_COLOR, GROUND_COLOR, (150, 140, 128), (120, 84, 70)]
    for row, view in enumerate(scene.views):
        shown = np.bincount(nearest_color(pictures[view.view_id], colors).ravel(), minlength=len(blocks))
        counted = table.visible_pixels[row]
        big = table.frame_pixels[row] >= 400
        # the edge of a wall is known to half a pixel of the coarser lasers
        slack = 0.06 * table.frame_pixels[row] + 60
        assert (np.abs(counted - shown[: len(blocks)]) <= slack)[big].all()


def test_text_names_and_no_split_folder_give_the_same_scene(tmp_path: Path) -> None:
    write_street(tmp_path / "numbers", frames=2)
    write_street(tmp_path / "texts", frames=2, text_names=True, split="", rows_per_group=3)
    numbers, texts = (WaymoReader(tmp_path / name).read(f"{SEGMENT}_t000") for name in ("numbers", "texts"))
    np.testing.assert_array_equal(numbers.mesh.vertices, texts.mesh.vertices)
    np.testing.assert_array_equal(numbers.mesh.triangles, texts.mesh.triangles)
    for one, other in zip(numbers.views, texts.views, strict=True):
        assert (one.view_id, one.size) == (other.view_id, other.size)
        np.testing.assert_array_equal(one.world_to_camera, other.world_to_camera)
        assert one.image.read() == other.image.read()


def test_chosen_cameras_only(written: tuple[Path, Street]) -> None:
    reader = open_reader("waymo", written[0], {"cameras": "side_right,FRONT"})
    assert [view.view_id for view in reader.read(f"{SEGMENT}_t002").views] == [
        "frame_002_FRONT",
        "frame_002_SIDE_RIGHT",
    ]


def test_neighbours_add_views_in_which_nothing_moves(written: tuple[Path, Street], street: Street) -> None:
    reader = WaymoReader(written[0], snapshot_stride=1, neighbours=1)
    assert reader.scene_ids() == [f"{SEGMENT}_t001"]
    scene, notes = reader.read_with_notes(f"{SEGMENT}_t001")
    blocks = named_blocks(street)
    still = [block for block in blocks.values() if not any(block.velocity)]
    assert [instance.category.lower() for instance in scene.instances.values()] == [block.kind for block in still]
    assert len({view.view_id.split("_")[1] for view in scene.views}) == 3
    assert "may show motion" in notes[0] and len(scene.views) < 15
    for view in scene.views:
        picture = np.asarray(Image.open(io.BytesIO(view.image.read()))).astype(np.int32)
        for block in blocks.values():
            if any(block.velocity):
                assert (np.abs(picture - np.array(block.color)).max(axis=-1) < 8).sum() == 0
    # every moment adds what its lasers saw
    assert len(scene.mesh.triangles) > 2 * len(WaymoReader(written[0]).read(f"{SEGMENT}_t000").mesh.triangles)


def _scans(root: Path, street: Street) -> list[Scan]:
    stamps = sorted(pq.read_table(component(root, "vehicle_pose")).column(2).to_pylist())
    segment = find_segments(root)[SEGMENT]
    return list(read_scans(segment, stamps[INDEX], street.world_from_vehicle(INDEX * STEP_S)))


def _points(scan: Scan, image: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(image)
    return scan.points(rows, columns, image[rows, columns])


def _pixels_outside(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How far each pixel lies outside of the convex hull of the corners, pixels; negative inside."""
    width, height = size
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    lines = ConvexHull(corners).equations
    return (grid @ lines[:, :2].T + lines[:, 2]).max(axis=-1)


def _column(scene: Scene, category: str, place: int) -> int:
    found = [column for column, instance in enumerate(scene.instances.values()) if instance.category == category]
    return found[place]
