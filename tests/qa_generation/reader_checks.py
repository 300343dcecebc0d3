"""What must hold for the scenes of every reader, checked by casting rays at the scene's own mesh."""

from __future__ import annotations

import io

import numpy as np
import open3d as o3d
from PIL import Image
from scipy.ndimage import map_coordinates, maximum_filter, minimum_filter

from qa_generation.scene import Scene, View
from tests.qa_generation.scannet_factories import _palette

# colours of `scannet_factories.rendered_room`, by instance
COLORS = _palette(256)


def cast(scene: Scene, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Depth along z in metres (0 = nothing) and instance of every pixel, from the mesh and the camera alone."""
    caster = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(o3d.core.Tensor(scene.mesh.vertices), o3d.core.Tensor(scene.mesh.triangles.astype(np.uint32)))
    columns, rows = np.meshgrid(np.arange(view.size[0]), np.arange(view.size[1]))
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(view.intrinsics).T
    camera_to_world = np.linalg.inv(view.world_to_camera)
    directions = rays @ camera_to_world[:3, :3].T
    origins = np.broadcast_to(camera_to_world[:3, 3], directions.shape)
    hits = caster.cast_rays(o3d.core.Tensor(np.concatenate([origins, directions], axis=-1).astype(np.float32)))
    depth, triangles = hits["t_hit"].numpy(), hits["primitive_ids"].numpy()
    hit = np.isfinite(depth)
    instances = np.where(hit, scene.mesh.triangle_instances[np.where(hit, triangles, 0)], 0)
    return np.where(hit, depth, 0), instances


def depth_error_m(scene: Scene, view: View) -> float:
    """Median difference between the view's depth and the mesh, metres."""
    assert view.read_depth is not None
    depth = view.read_depth()
    assert depth.shape == view.size[::-1] and depth.dtype == np.float32
    expected, _ = cast(scene, view)
    both = (depth > 0) & (expected > 0)
    assert both.mean() > 0.5
    return float(np.median(np.abs(depth - expected)[both]))


def neighbour_disagreement_m(first: View, second: View) -> float:
    """Median difference between the depth of ``second`` and the points of ``first`` seen from it; nan where few are."""
    assert first.read_depth is not None and second.read_depth is not None
    depth = first.read_depth()
    rows, columns = np.nonzero(depth)
    points = np.stack([columns, rows, np.ones_like(rows)]) * depth[rows, columns]
    world = np.linalg.inv(first.world_to_camera) @ np.vstack(
        [np.linalg.inv(first.intrinsics) @ points, np.ones(len(rows))]
    )
    seen = (second.world_to_camera @ world)[:3]
    seen = seen[:, seen[2] > 0.1]
    x, y, _ = second.intrinsics @ seen / seen[2]
    other = second.read_depth()
    # one over depth is linear across a plane; where a pixel beside is missing it is too small, so too far to count
    inverse = np.divide(1, other, out=np.zeros_like(other), where=other > 0)
    found = map_coordinates(inverse, [y, x], order=1, cval=0)
    apart = np.abs(1 / found[found > 0] - seen[2][found > 0])
    # what one camera sees and the other does not is no disagreement
    near = apart[apart < 0.3]
    return float(np.median(near)) if len(near) > max(100, len(apart) / 2) else float("nan")


def picture_of(view: View) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(view.image.read())).convert("RGB"))
    assert picture.shape == (view.size[1], view.size[0], 3)
    return picture


def wrong_color_share(scene: Scene, view: View, border: int = 1) -> float:
    """Share of pixels, ``border`` or more away from any outline, without the colour of the instance they show."""
    _, instances = cast(scene, view)
    size = 2 * border + 1
    inner = maximum_filter(instances, size) == minimum_filter(instances, size)
    # what surrounds the picture is unknown
    inner[:border], inner[-border:], inner[:, :border], inner[:, -border:] = False, False, False, False
    assert inner.mean() > 0.3
    off = np.abs(picture_of(view).astype(int) - COLORS[instances]).max(axis=-1)
    return float((off[inner] > 30).mean())


def least_held_share(scene: Scene, margin_m: float = 1e-3) -> float:
    """The smallest share of an instance's corner points that its box holds."""
    shares = []
    for number, instance in scene.instances.items():
        points = scene.mesh.triangles_of(number).reshape(-1, 3)
        local = (points - instance.obb.center) @ instance.obb.axes.T
        shares.append((np.abs(local) <= instance.obb.extents / 2 + margin_m).all(axis=1).mean())
    return float(min(shares))
