"""Posed RGB-D views of whole scenes, decoded once to the size a geometry encoder trains at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Float64, UInt8
from PIL import Image, UnidentifiedImageError
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from geometry_encoders.errors import InputError
from geometry_encoders.whole_files import whole_file
from qa_generation.errors import InputError as SceneInputError
from qa_generation.readers.base import open_reader
from qa_generation.scene import Scene, View

Fit = Literal["squeeze", "crop"]
OVERLAP_GRID = 16  # points per side of a view that are looked for in the other views
VISIBLE_SLACK = 0.05  # metres, and share of the depth, by which a point may lie behind the surface seen there


@dataclass(frozen=True)
class ViewCacheKey:
    """What decides the content of a cache: another value means another folder.

    Attributes:
        reader: name of the dataset reader.
        root: folder of the dataset.
        image_px: side of the stored square pictures and depth maps.
        max_views: at most that many views per scene, evenly spaced.
        fit: how a picture becomes square: ``squeeze`` keeps all of it, ``crop`` keeps the middle and its shape.
    """

    reader: str
    root: str
    image_px: int
    max_views: int
    fit: Fit = "squeeze"

    @property
    def digest(self) -> str:
        """A short name for the folder."""
        content = {name: value for name, value in asdict(self).items() if (name, value) != ("fit", "squeeze")}
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, eq=False)
class SceneViews:
    """The views of one scene; tensors are mapped from disk.

    Attributes:
        images: RGB pictures made square, by default squeezed as the image processor of the towers does.
        depth_m: metres along z, 0 = missing.
        rays_x: x / z of the sight line of every column.
        rays_y: y / z of the sight line of every row.
        world_to_camera: rigid transforms, metres.
        overlap: share of the points of view i (first axis) that are visible in view j.
    """

    scene_id: str
    images: UInt8[Tensor, "views px px 3"]
    depth_m: Float16[Tensor, "views px px"]
    rays_x: Float32[Tensor, "views px"]
    rays_y: Float32[Tensor, "views px"]
    world_to_camera: Float64[Tensor, "views 4 4"]
    overlap: Float32[Tensor, "views views"]


def kept_part(size: tuple[int, int], fit: Fit) -> tuple[float, float, float, float]:
    """Left, top, width and height of what is kept of a picture of that (width, height), as shares of it."""
    width, height = size
    if fit == "squeeze":
        return 0.0, 0.0, 1.0, 1.0
    side = min(size)
    return (width - side) / 2 / width, (height - side) / 2 / height, side / width, side / height


def _decode_picture(view: View, image_px: int, fit: Fit) -> UInt8[np.ndarray, "px px 3"]:
    try:
        with Image.open(BytesIO(view.image.read())) as image:
            left, top, width, height = kept_part(image.size, fit)
            right, bottom = (left + width) * image.width, (top + height) * image.height
            box = (left * image.width, top * image.height, right, bottom)
            picture = image.convert("RGB").resize((image_px, image_px), Image.Resampling.BICUBIC, box)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{view.image.path}: the picture of {view.view_id} is damaged ({error})") from error
    return np.asarray(picture)


def _decode_depth(
    view: View, image_px: int, fit: Fit
) -> tuple[Float32[np.ndarray, "px px"], Float64[np.ndarray, " px"], Float64[np.ndarray, " px"]]:
    """Depth at the nearest stored pixels (a mean would invent surfaces at edges) and the rays through those pixels."""
    depth_m = view.read_depth() if view.read_depth is not None else None
    if depth_m is None:
        raise InputError(f"view {view.view_id} has no depth map, expected one for every view")
    height, width = depth_m.shape
    steps = (np.arange(image_px) + 0.5) / image_px
    left, top, share_x, share_y = kept_part(view.size, fit)
    rows, columns = ((top + steps * share_y) * height).astype(int), ((left + steps * share_x) * width).astype(int)
    # the depth map may be smaller than the picture that the intrinsics belong to; pixel centres are integers
    pixel_x = (columns + 0.5) * view.size[0] / width - 0.5
    pixel_y = (rows + 0.5) * view.size[1] / height - 0.5
    camera = view.intrinsics
    rays_x, rays_y = (pixel_x - camera[0, 2]) / camera[0, 0], (pixel_y - camera[1, 2]) / camera[1, 1]
    small = np.nan_to_num(depth_m[np.ix_(rows, columns)], nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(small, 0, 1000).astype(np.float32), rays_x, rays_y


def view_overlaps(
    depth_m: Float[np.ndarray, "views px px"],
    rays_x: Float[np.ndarray, "views px"],
    rays_y: Float[np.ndarray, "views px"],
    world_to_camera: Float64[np.ndarray, "views 4 4"],
) -> Float32[np.ndarray, "views views"]:
    """Share of the points of view i that lie in the frame of view j and on (or before) the surface seen there."""
    views, image_px = rays_x.shape
    pick = ((np.arange(OVERLAP_GRID) + 0.5) * image_px / OVERLAP_GRID).astype(int)
    camera_to_world = np.linalg.inv(world_to_camera)
    overlap = np.zeros((views, views), np.float32)
    for i in range(views):
        z = depth_m[i][np.ix_(pick, pick)].astype(np.float64)
        local = np.stack([rays_x[i, pick][None] * z, rays_y[i, pick][:, None] * z, z], -1)[z > 0]
        if not len(local):
            continue
        world = local @ camera_to_world[i, :3, :3].T + camera_to_world[i, :3, 3]
        for j in range(views):
            seen = _visible(world, depth_m[j], rays_x[j], rays_y[j], world_to_camera[j])
            overlap[i, j] = seen.mean()
    return overlap


def _visible(
    world: Float64[np.ndarray, "points 3"],
    depth_m: Float[np.ndarray, "px px"],
    rays_x: Float[np.ndarray, " px"],
    rays_y: Float[np.ndarray, " px"],
    world_to_camera: Float64[np.ndarray, "4 4"],
) -> Bool[np.ndarray, " points"]:
    local = world @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    z = np.maximum(local[:, 2], 1e-6)
    image_px = len(rays_x)
    column = np.searchsorted(rays_x, local[:, 0] / z - (rays_x[1] - rays_x[0]) / 2)
    row = np.searchsorted(rays_y, local[:, 1] / z - (rays_y[1] - rays_y[0]) / 2)
    inside = (local[:, 2] > 0.01) & (column > 0) & (column < image_px) & (row > 0) & (row < image_px)
    surface = depth_m[np.minimum(row, image_px - 1), np.minimum(column, image_px - 1)].astype(np.float64)
    return inside & (z < surface * (1 + VISIBLE_SLACK) + VISIBLE_SLACK)


def decode_scene(scene: Scene, key: ViewCacheKey) -> dict[str, np.ndarray]:
    """The arrays of `SceneViews` for one scene; raises ``InputError`` for a damaged picture or a missing depth map."""
    if len(scene.views) < 2:
        raise InputError(f"scene {scene.scene_id} has {len(scene.views)} views, expected at least 2")
    chosen = np.unique(np.linspace(0, len(scene.views) - 1, min(key.max_views, len(scene.views))).round().astype(int))
    images, depths, rays_x, rays_y = [], [], [], []
    for index in chosen:
        images.append(_decode_picture(scene.views[index], key.image_px, key.fit))
        depth_m, x, y = _decode_depth(scene.views[index], key.image_px, key.fit)
        depths.append(depth_m)
        rays_x.append(x)
        rays_y.append(y)
    poses = np.stack([scene.views[index].world_to_camera for index in chosen]).astype(np.float64)
    depth_m, x, y = np.stack(depths), np.stack(rays_x), np.stack(rays_y)
    return {
        "images": np.stack(images),
        "depth_m": depth_m.astype(np.float16),
        "rays_x": x.astype(np.float32),
        "rays_y": y.astype(np.float32),
        "world_to_camera": poses,
        "overlap": view_overlaps(depth_m, x, y, poses),
    }


def _store_scene(scene_id: str, key: ViewCacheKey, folder: Path) -> tuple[str, str | None]:
    """Writes one scene's file; returns its id and, where it cannot be used, the reason."""
    try:
        arrays = decode_scene(open_reader(key.reader, Path(key.root)).read(scene_id), key)
    except (InputError, SceneInputError) as error:
        return scene_id, str(error)
    with whole_file(folder / f"{scene_id}.safetensors") as unfinished:
        save_file(arrays, unfinished)
    return scene_id, None


def cached_views(
    key: ViewCacheKey, cache: Path, workers: int = 1, min_views: int = 2
) -> tuple[list[SceneViews], dict[str, str]]:
    """All scenes with ``min_views`` usable views, decoded into ``cache`` on first use, and why others are left out.

    Interrupted work is taken up at the next scene. Raises ``InputError`` when no scene is usable.
    """
    folder = cache / key.digest
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made_from.json").write_text(json.dumps(asdict(key), indent=1))
    scene_ids = list(open_reader(key.reader, Path(key.root)).scene_ids())
    missing = [scene_id for scene_id in scene_ids if not (folder / f"{scene_id}.safetensors").is_file()]
    skipped: dict[str, str] = {}
    for scene_id, reason in _map(partial(_store_scene, key=key, folder=folder), missing, workers):
        if reason is not None:
            skipped[scene_id] = reason
    usable = []
    for scene_id in scene_ids:
        if scene_id in skipped:
            continue
        scene = SceneViews(scene_id, **load_file(folder / f"{scene_id}.safetensors"))
        if len(scene.images) < min_views:
            skipped[scene_id] = f"scene {scene_id} has {len(scene.images)} views, expected at least {min_views}"
        else:
            usable.append(scene)
    if not usable:
        reason = next(iter(skipped.values()), "it holds no scene at all")
        raise InputError(f"{key.root}: no usable scene for the reader {key.reader} ({reason})")
    return usable, skipped


def _map(
    store: partial[tuple[str, str | None]], scene_ids: list[str], workers: int
) -> Iterator[tuple[str, str | None]]:
    bar = partial(tqdm, total=len(scene_ids), desc="decoding views", unit="scene", disable=None if scene_ids else True)
    if workers <= 1 or len(scene_ids) < 2:
        yield from bar(map(store, scene_ids))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from bar(pool.map(store, scene_ids, chunksize=2))
