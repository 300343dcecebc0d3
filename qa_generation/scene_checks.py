"""Tells whether a scene can be worked with, before anything is computed from it."""

from __future__ import annotations

import numpy as np

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_intrinsics, check_pose, check_size
from qa_generation.scene import Mesh, Scene, View


def check_scene(scene: Scene) -> None:
    """Raises ``SceneError`` naming the first view, array or instance that cannot be annotated."""
    if not scene.views:
        raise SceneError(f"scene {scene.scene_id} has no views, expected at least one")
    for view in scene.views:
        check_view(scene.scene_id, view)
    if len({view.view_id for view in scene.views}) < len(scene.views):
        raise SceneError(f"scene {scene.scene_id} has two views of one id, expected different ids")
    check_mesh(scene.scene_id, scene.mesh)
    present = set(np.unique(scene.mesh.triangle_instances).tolist())
    for instance_id, instance in scene.instances.items():
        if instance_id < 1:
            raise SceneError(f"scene {scene.scene_id}: instance id {instance_id} found, expected 1 or more")
        if instance_id not in present:
            raise SceneError(
                f"scene {scene.scene_id}: instance {instance_id} ({instance.category}) has no triangles, "
                "expected at least one"
            )


def check_view(scene_id: str, view: View) -> None:
    """Raises ``SceneError`` when the size, the intrinsics or the pose of the view is that of no pinhole camera."""
    where = f"scene {scene_id}, view {view.view_id}"
    check_intrinsics(view.intrinsics, check_size(view.size, where), where)
    check_pose(view.world_to_camera, where)


def check_mesh(scene_id: str, mesh: Mesh) -> None:
    """Raises ``SceneError`` when the arrays of the mesh are empty, not finite or contradict each other."""
    where = f"scene {scene_id}: mesh"
    if not len(mesh.triangles):
        raise SceneError(f"{where} has no triangles")
    if len(mesh.triangle_instances) != len(mesh.triangles):
        raise SceneError(f"{where} has {len(mesh.triangles)} triangles but {len(mesh.triangle_instances)} instance ids")
    finite = np.isfinite(mesh.vertices).all(axis=1)
    if not finite.all():
        raise SceneError(f"{where} vertex {np.argmin(finite)} is not finite, expected metres")
    if mesh.triangles.min() < 0 or mesh.triangles.max() >= len(mesh.vertices):
        raise SceneError(
            f"{where} triangles name vertices {mesh.triangles.min()} to {mesh.triangles.max()}, "
            f"expected 0 to {len(mesh.vertices) - 1}"
        )
