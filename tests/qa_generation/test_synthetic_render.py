"""Rendered views: geometry agrees with the mesh and between views, light and shadow behave like light and shadow."""

from __future__ import annotations

import numpy as np
import pytest

from qa_generation.raycast import RayCaster
from qa_generation.scene import Mesh
from qa_generation.synthetic.build import RenderedView, RoomConfig, SyntheticScene, build_scene
from qa_generation.synthetic.cameras import look
from qa_generation.synthetic.lighting import Lamp, Lighting, Pane
from qa_generation.synthetic.parts import block
from qa_generation.synthetic.render import Renderer
from qa_generation.synthetic.surface import join

SIZE = (160, 120)


@pytest.fixture(scope="module")
def scene() -> SyntheticScene:
    return build_scene(11, 0, RoomConfig(views=24, size=SIZE))


@pytest.fixture(scope="module")
def views(scene: SyntheticScene) -> list[RenderedView]:
    return list(scene.views)


def world_points(view: RenderedView) -> np.ndarray:
    v, u = np.mgrid[: view.size[1], : view.size[0]]
    ways = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(view.intrinsics).T
    camera = ways * view.depth_m[..., None]
    rotation, translation = view.world_to_camera[:3, :3], view.world_to_camera[:3, 3]
    return (camera - translation) @ rotation


def test_shapes_types_and_names(scene: SyntheticScene, views: list[RenderedView]) -> None:
    assert len(scene.views) == len(views) == 24
    for k, view in enumerate(views):
        assert view.view_id == f"frame_{k:06d}"
        assert (view.rgb.shape, view.rgb.dtype) == ((120, 160, 3), np.uint8)
        assert (view.depth_m.shape, view.depth_m.dtype) == ((120, 160), np.float32)
        assert (view.instance.shape, view.instance.dtype) == ((120, 160), np.int32)
        assert (view.depth_m > 0).all(), "a closed room has no holes"
        assert view.rgb.std() > 5


def test_views_agree_on_depth(views: list[RenderedView]) -> None:
    """Points of one view, seen from another: the depth there is theirs. Planes are linear in inverse depth."""
    errors = []
    for one in views:
        points = world_points(one).reshape(-1, 3)
        for other in views:
            if other is one:
                continue
            camera = points @ other.world_to_camera[:3, :3].T + other.world_to_camera[:3, 3]
            z = camera[:, 2]
            with np.errstate(divide="ignore", invalid="ignore"):
                u, v = (camera @ other.intrinsics.T)[:, :2].T / z
            ok = (z > 0.1) & (u >= 0) & (v >= 0) & (u < SIZE[0] - 1) & (v < SIZE[1] - 1)
            u, v, z = u[ok], v[ok], z[ok]
            c, r = u.astype(int), v.astype(int)
            fu, fv = u - c, v - r
            inverse = 1 / other.depth_m
            corners = np.stack([inverse[r, c], inverse[r, c + 1], inverse[r + 1, c], inverse[r + 1, c + 1]])
            weights = np.stack([(1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv])
            difference = np.abs(1 / (weights * corners).sum(axis=0) - z)
            # what is hidden there lies well behind; only what both see is compared
            errors.append(difference[difference < 0.03])
    together = np.concatenate(errors)
    assert len(together) > 100_000
    assert np.median(together) < 0.001
    # pixels across an edge are interpolated between two faces
    assert np.percentile(together, 75) < 0.001


def test_pixels_of_an_instance_lie_in_its_box(scene: SyntheticScene, views: list[RenderedView]) -> None:
    seen = set()
    for view in views:
        points = world_points(view)
        for number in np.unique(view.instance[view.instance > 0]):
            box = scene.instances[int(number)].obb
            local = (points[view.instance == number] - box.center) @ box.axes.T
            assert (np.abs(local) <= box.extents / 2 + 0.001).all()
            seen.add(int(number))
    assert len(seen) > 0.7 * len(scene.instances)


def test_boxes_hold_their_instances_tightly(scene: SyntheticScene) -> None:
    assert sorted(scene.instances) == list(range(1, len(scene.instances) + 1))
    present = np.unique(scene.mesh.triangle_instances)
    assert present.tolist() == list(range(len(scene.instances) + 1))
    owners = {}
    for number, instance in scene.instances.items():
        corners = scene.mesh.triangles_of(number).reshape(-1, 3)
        local = np.abs((corners - instance.obb.center) @ instance.obb.axes.T)
        assert (local <= instance.obb.extents / 2 + 1e-4).all()
        np.testing.assert_allclose(local.max(axis=0), instance.obb.extents / 2, atol=1e-4)
        np.testing.assert_allclose(instance.obb.axes @ instance.obb.axes.T, np.eye(3), atol=1e-12)
        for vertex in np.unique(scene.mesh.triangles[scene.mesh.triangle_instances == number]).tolist():
            assert owners.setdefault(vertex, number) == number, "no vertex is shared"


def test_cameras_are_where_people_are(scene: SyntheticScene, views: list[RenderedView]) -> None:
    for view in views:
        rotation = view.world_to_camera[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        center = -rotation.T @ view.world_to_camera[:3, 3]
        assert 1.2 <= center[2] <= 1.8
        assert abs(rotation[0, 2]) < 0.08, "the horizon is about level"
        assert rotation[1, 2] < -0.7, "image down is world down"
        fov = 2 * np.degrees(np.arctan(SIZE[0] / 2 / view.intrinsics[0, 0]))
        assert 60 <= fov <= 75
        assert view.depth_m[40:80, 60:100].min() > 0.6
        for instance in scene.instances.values():
            local = np.abs((center - instance.obb.center) @ instance.obb.axes.T)
            assert (local > instance.obb.extents / 2).any(), f"inside a {instance.category}"


def test_views_differ_and_things_are_cut_off_hidden_or_absent(views: list[RenderedView]) -> None:
    centers = np.array([-v.world_to_camera[:3, :3].T @ v.world_to_camera[:3, 3] for v in views])
    assert np.ptp(centers[:, :2], axis=0).min() > 1.0
    shown = [set(np.unique(v.instance).tolist()) - {0} for v in views]
    shared = [len(a & b) / max(len(a | b), 1) for k, a in enumerate(shown) for b in shown[k + 1 :]]
    assert np.mean(np.array(shared) < 0.3) > 0.4
    assert np.mean([len(s) > 2 for s in shown]) > 0.7


def test_a_view_is_the_same_whenever_it_is_asked_for(scene: SyntheticScene, views: list[RenderedView]) -> None:
    again = scene.views[5]
    np.testing.assert_array_equal(again.rgb, views[5].rgb)
    np.testing.assert_array_equal(again.depth_m, views[5].depth_m)
    assert scene.views[-1].view_id == "frame_000023"


def test_four_samples_smooth_the_picture_and_leave_depth_alone(views: list[RenderedView]) -> None:
    smooth = build_scene(11, 0, RoomConfig(views=24, size=SIZE, samples=4)).views[2]
    np.testing.assert_array_equal(smooth.depth_m, views[2].depth_m)
    np.testing.assert_array_equal(smooth.instance, views[2].instance)
    difference = np.abs(smooth.rgb.astype(int) - views[2].rgb)
    assert 0 < difference.mean() < 12

    def roughness(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    assert roughness(smooth.rgb) < roughness(views[2].rgb)


GREY = np.full(3, 0.5)
NO_LIGHT = np.zeros(3)


def lit_table(lamps: tuple[Lamp, ...] = (), panes: tuple[Pane, ...] = (), sun: np.ndarray = NO_LIGHT) -> Renderer:
    """A 4 x 4 m floor with a 1 x 1 m board 1 m above its middle, under the given light and no other."""
    surface = join([block((-2, 2), (-2, 2), (-0.1, 0), GREY), block((-0.5, 0.5), (-0.5, 0.5), (0.98, 1.0), GREY)])
    ids = np.repeat([0, 1], 12).astype(np.int32)
    mesh = Mesh(surface.vertices.astype(np.float32), surface.triangles.astype(np.int32), ids)
    light = Lighting(lamps, panes, NO_LIGHT, NO_LIGHT, NO_LIGHT, sun, np.array([0.6, 0.0, 0.8]))
    return Renderer(mesh, surface.colors, surface.normals, surface.glow, light, RayCaster.of_mesh(mesh))


def floor_picture(renderer: Renderer) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and instance seen from 3 m straight above: the floor at 160 pixels to the metre."""
    intrinsics = np.array([[480.0, 0, 399.5], [0, 480, 399.5], [0, 0, 1]])
    camera = look(np.array([0, 0, 3.0]), np.pi / 2, -np.pi / 2, 0.0)
    rgb, _, instance = renderer.render(intrinsics, camera, (800, 800))
    return rgb.mean(axis=2), instance


def test_a_lamp_lights_what_it_sees_and_falls_off() -> None:
    lamp = Lamp(np.array([0, 0, 2.5], np.float32), np.ones(3, np.float32) * 2, 0.02, 0.0, 50.0)
    light, instance = floor_picture(lit_table((lamp,)))
    assert (instance[400, 400], instance[400, 80]) == (1, 0)
    # the board's shadow on the floor reaches 0.5 * 2.5 / 1.5 = 0.83 m, seen from above the board hides 0.75 m of it
    row = light[400, 400:]
    assert row[int(0.79 * 160)] == 0, "0.79 m off the middle lies in the shadow"
    assert row[int(0.87 * 160)] > 40, "0.87 m off it lies in the light"
    assert row[int(0.9 * 160)] > row[int(1.5 * 160)] > row[int(1.9 * 160)] > 20
    assert row[0] > row[int(0.9 * 160)], "the board is nearer to the lamp"


def test_the_sun_comes_through_the_window_only() -> None:
    # a window in the plane x = 2, 1 to 2 m high, 1 m wide; the sun stands at 3:4 behind it
    pane = Pane(np.array([2.0, -0.5, 1.0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0]), np.array([-1.0, 0, 0]))
    light, _ = floor_picture(lit_table(panes=(pane,), sun=np.ones(3)))
    # light that falls 4 m for every 3 m across and passes the plane x = 2.125 at 1 to 2 m meets the floor
    # where x = 2.125 - 0.75 z, so from 0.625 to 1.375
    row, aside = light[400, 400:], light[400 - int(0.7 * 160), 400:]
    assert row[int(0.8 * 160)] > 40 and row[int(1.3 * 160)] > 40
    assert row[int(1.45 * 160)] == 0
    assert aside[int(1.0 * 160)] == 0, "beside the window's width it stays dark"
    # the board, 1 m up, lies out of the beam: there it would have to reach from 1.375 on
    assert row[0] == 0
    assert floor_picture(lit_table(panes=(pane,)))[0].max() == 0, "no sun, no light"
