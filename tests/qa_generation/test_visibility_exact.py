"""The counts of `annotate` against the plain definition: all rays of the 3 x 3 canvas cast at each instance alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.raycast import RayCaster, Region, view_rays
from qa_generation.scene import Blob, Instance, Mesh, OrientedBox, Scene, View
from qa_generation.visibility import annotate
from tests.qa_generation.factories import Camera, Part, furnished_room, look_at, make_scene, pinhole


def assert_counts_are_those_of_casting_everything(scene: Scene) -> None:
    table, mesh = annotate(scene), scene.mesh
    everything = RayCaster.of_mesh(mesh)
    alone = {i: RayCaster(mesh.vertices, mesh.triangles[mesh.triangle_instances == i]) for i in scene.instances}
    for row, view in enumerate(scene.views):
        width, height = view.size
        rays = view_rays(view.intrinsics, view.world_to_camera, Region.canvas(view.size))
        frame = (slice(height, 2 * height), slice(width, 2 * width))
        depth_m, triangle = everything.first_hits(rays[frame])
        winner = np.append(mesh.triangle_instances, 0)[triangle]
        for column, instance_id in enumerate(table.instance_ids):
            won = winner == instance_id
            silhouette = alone[instance_id].hits(rays)
            assert not (won & ~silhouette[frame]).any()
            where = f"view {row}, instance {instance_id}"
            assert table.visible_pixels[row, column] == won.sum(), where
            assert table.frame_pixels[row, column] == silhouette[frame].sum(), where
            assert table.canvas_pixels[row, column] == silhouette.sum(), where
            if won.any():
                ys, xs = np.nonzero(won)
                assert table.boxes[row, column].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], where
                assert table.centroid_depth[row, column] == pytest.approx(depth_m[won].mean(), rel=1e-5), where


def test_furnished_room() -> None:
    assert_counts_are_those_of_casting_everything(furnished_room(views=6))


# centimetres: boxes that touch, share planes and face the camera edge-on are as likely as any
coordinates = st.integers(-300, 300).map(lambda n: n / 100)
points = st.tuples(coordinates, coordinates, coordinates)
sides = st.integers(1, 250).map(lambda n: n / 100)
parts = st.builds(Part, st.sampled_from(["thing", ""]), points, st.tuples(sides, sides, sides))


@given(st.lists(parts, min_size=1, max_size=5), points, points, st.integers(20, 120))
@settings(max_examples=60, deadline=None)
def test_any_boxes_seen_from_anywhere(things: list[Part], eye: tuple, target: tuple, fov_deg: int) -> None:
    if np.linalg.norm(np.subtract(target, eye)[:2]) < 0.1:  # straight up or down needs another up vector
        target = (eye[0] + 1.0, eye[1], eye[2])
    scene = make_scene(things, [Camera(eye, target)], size=(37, 29), fov_deg=fov_deg)
    assert_counts_are_those_of_casting_everything(scene)


@pytest.mark.parametrize("seed", range(6))
def test_triangle_soup_with_skewed_lens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, spread = 300, (0.05, 0.4, 1.5)[seed % 3]
    corners = rng.normal(size=(count, 1, 3)) * 1.5 + rng.normal(size=(count, 3, 3)) * spread
    mesh = Mesh(
        corners.reshape(-1, 3).astype(np.float32),
        np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
        (np.arange(count) % 5).astype(np.int32),
    )
    instances = {i: Instance(i, "soup", OrientedBox(np.zeros(3), np.eye(3), np.ones(3))) for i in range(1, 5)}
    lens = pinhole((90, 70), 75.0)
    lens[0, 1], lens[0, 2] = 3.0, 40.3
    views = tuple(
        View(f"v{k}", Blob(Path("none")), lens, look_at(tuple(rng.normal(size=3)), tuple(rng.normal(size=3))), (90, 70))
        for k in range(3)
    )
    assert_counts_are_those_of_casting_everything(Scene("soup", "test", views, instances, lambda: mesh))


def test_curved_dense_surface() -> None:
    side = np.linspace(-2.0, 2.0, 60)
    x, y = np.meshgrid(side, side)
    vertices = np.stack([x, y, 0.3 * np.sin(3 * x) * np.cos(2 * y)], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(59)[:, None] * 60 + np.arange(59)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + 61], -1), np.stack([corner, corner + 61, corner + 60], -1)]
    ).astype(np.int32)
    ids = np.where(np.arange(len(triangles)) % 2 == 0, 1, 2).astype(np.int32)  # two instances like a comb and its gaps
    mesh = Mesh(vertices, triangles, ids)
    template = make_scene(
        [Part("a", (0, 0, 0), (1, 1, 1)), Part("b", (0, 0, 0), (1, 1, 1))], [Camera((0, -2, 1), (0, 0, 0))]
    )
    assert_counts_are_those_of_casting_everything(
        Scene("dunes", "test", template.views, template.instances, lambda: mesh)
    )
