"""Dense labels of rendered views, decoded once into arrays on disk that training reads without decoding anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from jaxtyping import Float16, Float32, Int, Int32, Shaped, UInt8
from numpy.lib.format import open_memmap
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from geometry_encoders.errors import InputError
from qa_generation.errors import InputError as SceneInputError
from qa_generation.readers.base import SceneReader, open_reader

BACKGROUND = 0  # label of walls, floors and whatever belongs to no instance
MAX_CATEGORIES = 254  # labels are stored in one byte


class LabelledReader(SceneReader, Protocol):
    """A reader that also knows the instance seen by every pixel."""

    def read_instance_ids(self, scene_id: str, view_id: str) -> Int32[np.ndarray, "height width"]:
        """Instance ids of a view, 0 = none."""
        ...


@dataclass(frozen=True)
class LabelGrid:
    """Size of the stored pictures and of the label cells.

    Attributes:
        image_px: side of the stored square picture.
        cell_px: side of one label cell in that picture.
    """

    image_px: int = 128
    cell_px: int = 8

    @property
    def cells(self) -> int:
        """Cells along one side."""
        return self.image_px // self.cell_px


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """Views of all scenes, one row per view, in the order of scene ids and views; arrays are mapped from disk.

    Attributes:
        images: RGB pictures, squeezed to a square as the vision tower sees them.
        categories: label of each cell, 0 for background, else 1 + index into ``names``.
        log_depth: natural logarithm of the depth in metres of each cell, NaN where it is missing.
        names: category names.
        view_scenes: index of the scene of each view in ``scene_ids``, -1 for views of scenes that were skipped.
        scene_ids: scenes in order.
        skipped: reason of each scene that could not be used.
    """

    images: UInt8[np.ndarray, "views image_px image_px 3"]
    categories: UInt8[np.ndarray, "views cells cells"]
    log_depth: Float16[np.ndarray, "views cells cells"]
    names: tuple[str, ...]
    view_scenes: Int[np.ndarray, " views"]
    scene_ids: tuple[str, ...]
    skipped: dict[str, str]


def majority_labels(
    labels: Int[np.ndarray, "image_px image_px"], depth_m: Float32[np.ndarray, "image_px image_px"], cell_px: int
) -> tuple[UInt8[np.ndarray, "cells cells"], Float16[np.ndarray, "cells cells"]]:
    """The commonest label of each cell and the mean log depth of its pixels that carry that label.

    Ties go to the smaller label. Pixels without depth (0) do not count in the mean; a cell without any holds NaN.
    """
    side = labels.shape[0] // cell_px
    cells = labels.reshape(side, cell_px, side, cell_px).swapaxes(1, 2).reshape(side * side, cell_px * cell_px)
    depths = depth_m.reshape(side, cell_px, side, cell_px).swapaxes(1, 2).reshape(side * side, cell_px * cell_px)
    classes = int(labels.max()) + 1
    counts = np.bincount((cells + np.arange(side * side)[:, None] * classes).ravel(), minlength=side * side * classes)
    majority = counts.reshape(side * side, classes).argmax(1)
    valid = (cells == majority[:, None]) & (depths > 0)
    total = np.where(valid, np.log(np.where(valid, depths, 1.0)), 0.0).sum(1)
    count = valid.sum(1)
    log_depth = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return majority.reshape(side, side).astype(np.uint8), log_depth.reshape(side, side).astype(np.float16)


def _open_picture(data: bytes, name: Path) -> Image.Image:
    try:
        with Image.open(BytesIO(data)) as image:
            image.load()
            return image.copy()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{name}: the picture is truncated or damaged ({error}), expected JPEG or PNG") from error


def _nearest(values: Shaped[np.ndarray, "height width"], side: int) -> Shaped[np.ndarray, "side side"]:
    """The map squeezed to a square by picking the value in the middle of each target pixel."""
    height, width = values.shape
    rows = ((np.arange(side) + 0.5) * height / side).astype(int)
    columns = ((np.arange(side) + 0.5) * width / side).astype(int)
    return values[rows[:, None], columns]


def _read_view_labels(
    root: Path, scene_id: str, category_index: dict[str, int], grid: LabelGrid
) -> Iterator[tuple[UInt8[np.ndarray, "px px 3"], UInt8[np.ndarray, "c c"], Float16[np.ndarray, "c c"]]]:
    reader = cast(LabelledReader, open_reader("synthetic", root))
    scene = reader.read(scene_id)
    lookup = np.zeros(max(scene.instances, default=0) + 1, dtype=np.int64)
    for instance_id, instance in scene.instances.items():
        lookup[instance_id] = 1 + category_index[instance.category]
    size = (grid.image_px, grid.image_px)
    for view in scene.views:
        picture = _open_picture(view.image.read(), view.image.path).convert("RGB")
        path = root / scene_id / "instance" / f"{view.view_id}.png"
        if not path.is_file():
            raise InputError(f"{path}: no such file, expected the instance ids of view {view.view_id}")
        instances = np.asarray(_open_picture(path.read_bytes(), path).resize(size, Image.Resampling.NEAREST)).astype(
            int
        )
        if instances.max() >= len(lookup):
            raise InputError(f"{path}: holds instance id {instances.max()}, expected ids listed in scene.json")
        depth_m = view.read_depth() if view.read_depth is not None else None
        if depth_m is None:
            raise InputError(f"{root / scene_id}: view {view.view_id} has no depth, expected depth/{view.view_id}.png")
        labels, log_depth = majority_labels(lookup[instances], _nearest(depth_m, grid.image_px), grid.cell_px)
        yield np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), labels, log_depth


def _store_scene(
    task: tuple[str, int, int], root: Path, cache: Path, category_index: dict[str, int], grid: LabelGrid
) -> tuple[str, str | None]:
    """Writes the rows of one scene into the arrays; returns the scene id and the reason if it cannot be used."""
    scene_id, start, count = task
    images, categories, log_depth = (open_memmap(cache / f"{name}.npy", mode="r+") for name in ARRAYS)
    try:
        rows = 0
        for offset, (image, labels, depth) in enumerate(_read_view_labels(root, scene_id, category_index, grid)):
            images[start + offset], categories[start + offset], log_depth[start + offset] = image, labels, depth
            rows += 1
        assert rows == count
    except (InputError, SceneInputError) as error:
        return scene_id, str(error)
    return scene_id, None


ARRAYS = ("images", "categories", "log_depth")


def _list_scenes(root: Path) -> tuple[dict[str, int], set[str], dict[str, str]]:
    """Views per scene, all category names and the scenes that cannot be read, with the reason."""
    reader = open_reader("synthetic", root)
    views: dict[str, int] = {}
    names: set[str] = set()
    skipped: dict[str, str] = {}
    for scene_id in tqdm(reader.scene_ids(), desc="listing scenes", unit="scene", disable=None):
        try:
            scene = reader.read(scene_id)
        except SceneInputError as error:
            skipped[scene_id] = str(error)
            continue
        views[scene_id] = len(scene.views)
        names.update(instance.category for instance in scene.instances.values())
    if not views:
        reason = next(iter(skipped.values()), "expected <scene_id>/scene.json inside")
        raise InputError(f"{root}: no usable scene ({reason})")
    return views, names, skipped


def cached_labels(root: Path, cache: Path, grid: LabelGrid, workers: int = 1) -> LabelledViews:
    """The labelled views of all rendered scenes under ``root``, decoded into ``cache`` on first use.

    Interrupted work is taken up where it stopped. A scene that cannot be used is left out and named in ``skipped``.

    Raises:
        InputError: no usable scene, more than 254 categories, or a cache made from other scenes or for another grid.
    """
    listing_path, done_path = cache / "listing.json", cache / "done.json"
    if not listing_path.is_file():
        views, names, skipped = _list_scenes(root)
        if len(names) > MAX_CATEGORIES:
            raise InputError(f"{root}: holds {len(names)} categories, expected at most {MAX_CATEGORIES}")
        cache.mkdir(parents=True, exist_ok=True)
        total = sum(views.values())
        shape = (total, grid.cells, grid.cells)
        open_memmap(cache / "images.npy", "w+", np.uint8, (total, grid.image_px, grid.image_px, 3)).flush()
        open_memmap(cache / "categories.npy", "w+", np.uint8, shape).flush()
        open_memmap(cache / "log_depth.npy", "w+", np.float16, shape).flush()
        listing = {"root": str(root), "grid": asdict(grid), "names": sorted(names), "views": views, "skipped": skipped}
        _write_json(listing_path, listing)
    listing = json.loads(listing_path.read_text())
    if listing["grid"] != asdict(grid) or listing["root"] != str(root):
        raise InputError(
            f"{listing_path}: made from {listing['root']}, grid {listing['grid']}; expected {root}, {grid}"
        )
    done: dict[str, str | None] = json.loads(done_path.read_text()) if done_path.is_file() else {}
    starts = dict(zip(listing["views"], np.cumsum([0, *listing["views"].values()]).tolist(), strict=False))
    tasks = [(scene_id, starts[scene_id], n) for scene_id, n in listing["views"].items() if scene_id not in done]
    category_index = {name: index for index, name in enumerate(listing["names"])}
    store = partial(_store_scene, root=root, cache=cache, category_index=category_index, grid=grid)
    try:
        for scene_id, reason in _map(store, tasks, workers):
            done[scene_id] = reason
    finally:
        _write_json(done_path, done)
    return _open_cache(cache, listing, done)


def _map(
    store: partial[tuple[str, str | None]], tasks: list[tuple[str, int, int]], workers: int
) -> Iterator[tuple[str, str | None]]:
    bar = partial(tqdm, total=len(tasks), desc="decoding views", unit="scene", disable=None if tasks else True)
    if workers <= 1 or len(tasks) < 2:
        yield from bar(map(store, tasks))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from bar(pool.map(store, tasks, chunksize=4))


def _open_cache(cache: Path, listing: dict[str, dict[str, int]], done: dict[str, str | None]) -> LabelledViews:
    images, categories, log_depth = (open_memmap(cache / f"{name}.npy", mode="r") for name in ARRAYS)
    scene_ids = tuple(listing["views"])
    view_scenes = np.repeat(np.arange(len(scene_ids)), list(listing["views"].values()))
    failed = {scene_id: reason for scene_id, reason in done.items() if reason is not None}
    usable = ~np.isin(view_scenes, [scene_ids.index(scene_id) for scene_id in failed])
    if not usable.any():
        raise InputError(f"{listing['root']}: no usable scene ({next(iter(failed.values()))})")
    skipped = {**listing["skipped"], **failed}
    if not usable.all():
        view_scenes = np.where(usable, view_scenes, -1)
    return LabelledViews(images, categories, log_depth, tuple(listing["names"]), view_scenes, scene_ids, skipped)  # type: ignore[arg-type]


def _write_json(path: Path, content: object) -> None:
    partial_path = path.with_suffix(".partial")
    partial_path.write_text(json.dumps(content, indent=1))
    partial_path.replace(path)
