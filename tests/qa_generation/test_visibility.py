"""Visibility of scenes small enough to work out on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa_generation.compose import scene_context
from qa_generation.errors import InputError, SceneError
from qa_generation.generation_config import GenerationConfig
from qa_generation.scene import Mesh, Scene
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_table import VisibilityTable
from tests.qa_generation.factories import Part, box_mesh, furnished_room, level_camera, make_scene

# a camera at the origin that looks along +x: picture right is -y, picture down is -z, and 100 pixels make 45 degrees
AHEAD = level_camera((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
LENS = np.array([[100.0, 0.0, 79.5], [0.0, 100.0, 59.5], [0.0, 0.0, 1.0]])


def look_ahead(*parts: Part) -> VisibilityTable:
    return annotate(make_scene(parts, [AHEAD], intrinsics=LENS))


def same(first: VisibilityTable, second: VisibilityTable) -> None:
    for name in ("visible_pixels", "frame_pixels", "canvas_pixels", "boxes", "centroid_depth", "median_depth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    np.testing.assert_array_equal(first.overlap, second.overlap)


def test_object_in_the_open_has_no_occlusion_at_all() -> None:
    table = look_ahead(Part("box", (2.5, 0.0, 0.0), (1.0, 1.0, 1.0)))
    # the front face, 1 m wide at 2 m, is 50 pixels wide and high, from 79.5 - 25 to 79.5 + 25
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (2500, 2500, 2500)
    assert (table.object_occlusion, table.truncation, table.occlusion) == (0.0, 0.0, 0.0)
    assert table.boxes[0, 0].tolist() == [55, 35, 105, 85]
    assert table.centroid_depth[0, 0] == pytest.approx(2.0, abs=1e-5)
    assert table.visible.all() and not table.absent.any() and not table.ambiguous.any()


def test_wall_to_the_left_hides_exactly_half() -> None:
    wall = Part("", (1.0, 2.0, 0.0), (0.1, 4.0, 4.0))  # covers y > 0, the left half of the picture
    table = look_ahead(Part("box", (2.5, 0.0, 0.0), (1.0, 1.0, 1.0)), wall)
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (1250, 2500, 2500)
    assert (table.object_occlusion, table.truncation, table.occlusion) == (0.5, 0.0, 0.5)
    assert table.boxes[0, 0].tolist() == [80, 35, 105, 85]
    # the left half shows the wall at 0.95 m, the box is hit at 2 m, the rest nothing
    assert table.median_depth[0] == pytest.approx(0.95, abs=1e-5)


def test_frame_border_cuts_half_of_a_board() -> None:
    # at 2 m from 60 to 100 pixels right of the middle; the frame ends 80 pixels right of it
    table = look_ahead(Part("board", (2.005, -1.6, 0.0), (0.01, 0.8, 1.0)))
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (1000, 1000, 2000)
    assert (table.object_occlusion, table.truncation, table.occlusion) == (0.0, 0.5, 0.5)
    assert table.boxes[0, 0].tolist() == [140, 35, 160, 85]


def test_border_and_wall_together_multiply() -> None:
    # the wall hides y > -1.2 / 2 per metre: 60 to 70 pixels right of the middle, half of what the frame shows
    wall = Part("", (1.0005, -0.65, 0.0), (0.001, 0.1, 4.0))
    table = look_ahead(Part("board", (2.005, -1.6, 0.0), (0.01, 0.8, 1.0)), wall)
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (500, 1000, 2000)
    assert (table.object_occlusion, table.truncation, table.occlusion) == (0.5, 0.5, 0.75)


def test_canvas_ends_one_picture_beyond_each_border() -> None:
    # from 100 to 400 pixels right of the middle: wholly beyond the frame, and beyond the canvas (240) too
    table = look_ahead(Part("board", (2.005, -5.0, 0.0), (0.01, 6.0, 1.0)))
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (0, 0, 140 * 50)
    assert np.isnan(table.object_occlusion) and table.truncation == 1.0 and table.absent.all()


def test_object_behind_the_camera_is_on_no_canvas() -> None:
    table = look_ahead(Part("box", (-2.5, 0.0, 0.0), (1.0, 1.0, 1.0)), Part("ball", (3.0, 0.0, 0.0), (1, 1, 1)))
    assert [table.visible_pixels[0, 0], table.frame_pixels[0, 0], table.canvas_pixels[0, 0]] == [0, 0, 0]
    assert np.isnan(table.occlusion[0, 0]) and table.absent[0, 0] and not table.visible[0, 0]
    assert table.boxes[0, 0].tolist() == [-1, -1, -1, -1] and table.centroid_depth[0, 0] == 0
    assert table.visible[0, 1]


def test_camera_inside_an_object_sees_it_on_the_whole_canvas() -> None:
    table = look_ahead(Part("tent", (0.0, 0.0, 0.0), (4.0, 4.0, 4.0)))
    assert (table.visible_pixels, table.frame_pixels, table.canvas_pixels) == (160 * 120, 160 * 120, 9 * 160 * 120)


def test_what_is_nearer_than_ten_centimetres_is_looked_through() -> None:
    speck = Part("speck", (0.06, 0.0, 0.0), (0.02, 1.0, 1.0))
    table = look_ahead(speck, Part("box", (2.5, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert table.canvas_pixels[0].tolist() == [0, 2500]
    assert table.visible_pixels[0].tolist() == [0, 2500]
    assert table.median_depth[0] == pytest.approx(2.0, abs=1e-5)


def test_object_through_the_near_plane_shows_its_far_part() -> None:
    # a rail from behind the camera to 2 m, one metre under it: its top face is cut at 0.1 m, far below the canvas
    rail = Part("rail", (0.0, 0.0, -1.05), (4.0, 1.0, 0.1))
    table = look_ahead(rail)
    # row y shows the top face at depth z = 100 / (y - 59.5), 100 / z pixels wide; it ends at 2 m, 50 rows below 59.5
    below = np.arange(110, 240) - 59.5
    widths = [np.count_nonzero(np.abs(np.arange(-160, 320) - 79.5) <= row / 2.0) for row in below]
    assert table.canvas_pixels[0, 0] == sum(widths)
    assert table.frame_pixels[0, 0] == table.visible_pixels[0, 0] == sum(widths[:10])


def test_ids_that_the_scene_does_not_list_hide_but_have_no_column() -> None:
    scene = make_scene(
        [Part("box", (2.5, 0.0, 0.0), (1.0, 1.0, 1.0)), Part("screen", (1.0, 2.0, 0.0), (0.1, 4.0, 4.0))],
        [AHEAD],
        intrinsics=LENS,
    )
    table = annotate(replace(scene, instances={1: scene.instances[1]}))
    assert table.instance_ids == (1,)
    assert table.object_occlusion == 0.5


def test_scene_without_instances_has_depth_and_no_columns() -> None:
    table = look_ahead(Part("", (2.5, 0.0, 0.0), (1.0, 8.0, 8.0)))
    assert table.visible_pixels.shape == (1, 0) and table.boxes.shape == (1, 0, 4)
    assert table.median_depth[0] == pytest.approx(2.0, abs=1e-5)
    assert table.overlap.tolist() == [[100.0]]


def test_grid_is_the_stored_picture_scaled_down() -> None:
    part = Part("box", (2.5, 0.1, 0.2), (1.0, 1.0, 1.0))
    large = LENS.copy()
    large[:2] *= 8.0
    large[:2, 2] += 3.5  # the centre of pixel 0 of the small grid is between pixels 3 and 4 of the large one
    from_large = annotate(make_scene([part], [AHEAD], size=(1280, 960), intrinsics=large), VisibilityConfig(160))
    assert from_large.sizes.tolist() == [[160, 120]]
    same(from_large, look_ahead(part))
    assert annotate(make_scene([part], [AHEAD], size=(100, 300))).sizes.tolist() == [[100, 300]], "never enlarged"


@pytest.fixture(scope="module")
def room() -> VisibilityTable:
    return annotate(furnished_room(views=8))


def test_ratios_are_shares_and_multiply(room: VisibilityTable) -> None:
    assert (room.visible_pixels <= room.frame_pixels).all() and (room.frame_pixels <= room.canvas_pixels).all()
    for ratio in (room.object_occlusion, room.truncation, room.occlusion):
        known = ratio[~np.isnan(ratio)]
        assert len(known) and (known >= 0).all() and (known <= 1).all()
    framed = room.frame_pixels > 0
    together = 1 - (1 - room.object_occlusion[framed]) * (1 - room.truncation[framed])
    np.testing.assert_allclose(room.occlusion[framed], together, atol=1e-12)
    assert (room.occlusion[room.visible_pixels > 0] > 0).any(), "the room is meant to hide something"


def test_visible_absent_and_ambiguous_share_out_all_pairs(room: VisibilityTable) -> None:
    total = room.visible.astype(int) + room.absent + room.ambiguous
    assert (total == 1).all()


def test_boxes_hold_the_seen_pixels(room: VisibilityTable) -> None:
    seen = room.visible_pixels > 0
    x0, y0, x1, y1 = np.moveaxis(room.boxes[seen], -1, 0)
    assert ((x1 - x0) * (y1 - y0) >= room.visible_pixels[seen]).all()
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= room.sizes[0, 0]).all() and (y1 <= room.sizes[0, 1]).all()


def test_same_scene_gives_the_same_bytes_and_rows_do_not_depend_on_each_other(room: VisibilityTable) -> None:
    scene = furnished_room(views=8)
    same(room, annotate(scene))
    turned = annotate(replace(scene, views=scene.views[::-1]))
    np.testing.assert_array_equal(turned.canvas_pixels[::-1], room.canvas_pixels)
    np.testing.assert_array_equal(turned.boxes[::-1], room.boxes)
    np.testing.assert_array_equal(turned.overlap[::-1, ::-1], room.overlap)


def with_mesh(scene: Scene, **changes: np.ndarray) -> Scene:
    mesh = replace(scene.mesh, **changes)
    return replace(scene, load_mesh=lambda: mesh)


def with_view(scene: Scene, **changes: object) -> Scene:
    return replace(scene, views=(replace(scene.views[0], **changes), *scene.views[1:]))  # type: ignore[arg-type]


def nan_vertex(scene: Scene) -> Scene:
    vertices = scene.mesh.vertices.copy()
    vertices[5, 1] = np.nan
    return with_mesh(scene, vertices=vertices)


def nan_pose(scene: Scene) -> Scene:
    pose = scene.views[0].world_to_camera.copy()
    pose[0, 3] = np.nan
    return with_view(scene, world_to_camera=pose)


def millimetres(scene: Scene) -> Scene:
    return with_mesh(scene, vertices=scene.mesh.vertices * np.float32(1000))


BROKEN = {
    "no views": (lambda scene: replace(scene, views=()), "no views"),
    "same view id": (lambda scene: with_view(scene, view_id="frame_000010"), "id"),
    "nan vertex": (nan_vertex, "vertex 5"),
    "nan pose": (nan_pose, "frame_000000.*pose"),
    "scaled pose": (lambda scene: with_view(scene, world_to_camera=np.diag([2.0, 2, 2, 1])), "rigid"),
    "zero focal length": (lambda scene: with_view(scene, intrinsics=np.diag([0.0, 1, 1])), "focal length"),
    "no triangles": (
        lambda scene: with_mesh(
            scene, triangles=np.empty((0, 3), np.int32), triangle_instances=np.empty(0, dtype=np.int32)
        ),
        "no triangles",
    ),
    "ids missing": (lambda scene: with_mesh(scene, triangle_instances=np.ones(3, np.int32)), "12 triangles but 3"),
    "vertex out of range": (lambda scene: with_mesh(scene, triangles=scene.mesh.triangles + 8), "expected 0 to 7"),
    "instance without geometry": (
        lambda scene: replace(scene, instances={**scene.instances, 7: scene.instances[1]}),
        r"instance 7 \(box\) has no triangles",
    ),
    "millimetres": (millimetres, "are the vertices in metres"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_scene_is_named(name: str) -> None:
    scene = make_scene([Part("box", (2.5, 0, 0), (1, 1, 1))], [AHEAD, AHEAD], scene_id="attic")
    breaking, message = BROKEN[name]
    with pytest.raises(SceneError, match=message) as caught:
        annotate(breaking(scene))
    assert "attic" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"max_side": 0}, {"voxel_m": 0.0}, {"depth_tolerance_m": -1.0}])
def test_bad_settings_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        VisibilityConfig(**wrong)  # type: ignore[arg-type]


def test_box_mesh_is_closed() -> None:
    mesh: Mesh = box_mesh([Part("box", (1, 2, 3), (1, 2, 3))])
    corners = mesh.triangles_of(1).astype(np.float64)
    volume = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert abs(volume) == pytest.approx(6.0)


def test_views_of_unequal_size_are_counted_on_their_own_grids() -> None:
    wide, tall = furnished_room(views=4, size=(80, 60)), furnished_room(views=4, size=(60, 90))
    mixed = replace(wide, views=(*wide.views[:2], *tall.views[2:]))
    table, of_wide, of_tall = annotate(mixed), annotate(wide), annotate(tall)
    assert table.sizes.tolist() == [[80, 60]] * 2 + [[60, 90]] * 2
    for name in ("visible_pixels", "frame_pixels", "canvas_pixels", "boxes", "centroid_depth", "visible"):
        parts = getattr(of_wide, name)[:2], getattr(of_tall, name)[2:]
        np.testing.assert_array_equal(getattr(table, name), np.concatenate(parts), err_msg=name)
    np.testing.assert_array_equal(table.overlap[:2, :2], of_wide.overlap[:2, :2])
    np.testing.assert_array_equal(table.overlap[2:, 2:], of_tall.overlap[2:, 2:])
    boxes = scene_context(mixed, table, GenerationConfig(), seed=0).boxes
    np.testing.assert_array_equal(boxes[2:], scene_context(tall, of_tall, GenerationConfig(), seed=0).boxes[2:])
