"""A small furnished room, rendered by ray casting, and ScanNet folders written from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import open3d as o3d
from PIL import Image

from qa_generation.readers.scannet import ScanNetReader
from qa_generation.scene import Mesh, Scene
from qa_generation.synthetic.content import RenderedView, SyntheticScene
from qa_generation.writers.scannet import write_scannet_labels, write_scannet_scene
from tests.qa_generation.factories import furnished_room

NAME = "scene0000_00"
SIZE = (160, 120)


def rendered_room(views: int = 6, size: tuple[int, int] = SIZE) -> SyntheticScene:
    """The toy room with exact depth; every instance has a colour of its own."""
    scene = furnished_room(views=views, size=size)
    caster = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(o3d.core.Tensor(scene.mesh.vertices), o3d.core.Tensor(scene.mesh.triangles.astype(np.uint32)))
    rendered = [_render(caster, scene, number) for number in range(views)]
    colors = _palette(64)[np.arange(len(scene.mesh.vertices)) // 8 % 64]
    mesh = Mesh(scene.mesh.vertices, scene.mesh.triangles, scene.mesh.triangle_instances, colors)
    return SyntheticScene(scene.scene_id, 0, mesh, scene.instances, rendered)


def write_dataset(root: Path, room: SyntheticScene, **options: tuple[int, int]) -> ScanNetReader:
    write_scannet_scene(room, root, NAME, **options)
    write_scannet_labels(root)
    return ScanNetReader(root)


def copy_dataset(source: Path, target: Path) -> Path:
    """A copy of a written dataset to spoil, and the folder of its only scan."""
    shutil.copytree(source, target)
    return target / "scans" / NAME


def export_frames(scene: Scene, to_scan: np.ndarray, folder: Path, layout: str, color_size: tuple[int, int]) -> None:
    """What the dataset's exporter writes for ``scene``: folders of unpadded numbers, or ``sensor_data``.

    Pictures are resized to ``color_size``, while the intrinsics stay those of the full size, as they do in the field.
    """
    for number, view in enumerate(scene.views):
        names = {
            "folders": ("color/{}.jpg", "depth/{}.png", "pose/{}.txt"),
            "sensor_data": (
                "sensor_data/frame-{:06d}.color.jpg",
                "sensor_data/frame-{:06d}.depth.png",
                "sensor_data/frame-{:06d}.pose.txt",
            ),
        }[layout]
        color, depth, pose = (folder / name.format(number) for name in names)
        for path in (color, depth, pose):
            path.parent.mkdir(parents=True, exist_ok=True)
        color.write_bytes(view.image.read())
        if color_size != view.size:
            Image.open(color).resize(color_size).save(color)
        assert view.read_depth is not None
        Image.fromarray(np.rint(view.read_depth() * 1000).astype(np.uint16)).save(depth)
        np.savetxt(pose, to_scan @ np.linalg.inv(view.world_to_camera))
    (folder / "intrinsic").mkdir()
    full = np.eye(4)
    full[:3, :3] = scene.views[0].intrinsics
    for camera in ("color", "depth"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{camera}.txt", full)
        np.savetxt(folder / "intrinsic" / f"extrinsic_{camera}.txt", np.eye(4))
    for path in folder.glob("*.sens"):
        path.unlink()


def _render(caster: o3d.t.geometry.RaycastingScene, scene: Scene, number: int) -> RenderedView:
    view = scene.views[number]
    width, height = view.size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(view.intrinsics).T
    camera_to_world = np.linalg.inv(view.world_to_camera)
    directions = rays @ camera_to_world[:3, :3].T
    origins = np.broadcast_to(camera_to_world[:3, 3], directions.shape)
    hits = caster.cast_rays(o3d.core.Tensor(np.concatenate([origins, directions], axis=-1).astype(np.float32)))
    # rays have z = 1 in the camera, so the ray parameter is the depth
    depth = hits["t_hit"].numpy()
    triangles = hits["primitive_ids"].numpy()
    hit = np.isfinite(depth)
    instance = np.where(hit, scene.mesh.triangle_instances[np.where(hit, triangles, 0)], 0).astype(np.int32)
    return RenderedView(
        view_id=view.view_id,
        intrinsics=view.intrinsics,
        world_to_camera=view.world_to_camera,
        size=view.size,
        rgb=_palette(256)[instance],
        depth_m=np.where(hit, depth, 0).astype(np.float32),
        instance=instance,
    )


def _palette(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(30, 226, size=(count, 3)).astype(np.uint8)
