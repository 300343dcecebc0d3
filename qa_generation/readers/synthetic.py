"""Reads synthetic rooms in the layout of `qa_generation.writers.native`."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.checks import (
    check_file,
    check_image,
    check_image_file,
    check_intrinsics,
    check_pose,
    check_size,
    check_views,
)
from qa_generation.scene import Blob, Instance, Mesh, OrientedBox, Scene, View
from qa_generation.scene_checks import check_mesh

_FORMAT, _VERSION = "spatialvlm-room", 1
_MESH_ARRAYS = {
    "vertices": (np.float32, 3),
    "triangles": (np.int32, 3),
    "triangle_instances": (np.int32, 0),
    "vertex_colors": (np.uint8, 3),
}


class SyntheticReader:
    """Scenes under a folder of rooms made by ``spatialvlm synth``."""

    dataset = "synthetic"

    def __init__(self, root: Path) -> None:
        self.root = root

    def scene_ids(self) -> Sequence[str]:
        """Names of the folders that hold a ``scene.json``, sorted; unfinished rooms (dotted names) are left out."""
        return sorted(p.parent.name for p in self.root.glob("*/scene.json") if not p.parent.name.startswith("."))

    def read(self, scene_id: str) -> Scene:
        """The room, without its mesh and pictures, which are read on use.

        Raises:
            SceneError: a file is missing or truncated, a camera is none, or there are fewer than two views. An instance
                without geometry, and a broken mesh, are told when ``mesh`` is used.
        """
        folder = self.root / scene_id
        path = check_file(folder / "scene.json", "the description of a synthetic room")
        content = _load_json(path)
        views = tuple(_read_view(entry, folder, path) for entry in _list(content, "views", path))
        check_views(len(views), str(path))
        if len({v.view_id for v in views}) < len(views):
            raise SceneError(f"{path}: two views share an id, expected different ids")
        found = [_read_instance(entry, path) for entry in _list(content, "instances", path)]
        instances = {i.instance_id: i for i in found}
        if len(instances) < len(found):
            raise SceneError(f"{path}: two instances share an id, expected different ids")
        mesh_path = check_file(folder / "mesh.npz", "the mesh of a synthetic room")
        if not zipfile.is_zipfile(mesh_path):
            raise SceneError(f"{mesh_path}: file is truncated or no npz archive, expected arrays of a mesh")
        return Scene(scene_id, self.dataset, views, instances, partial(_load_mesh, mesh_path, instances))

    def read_instance_ids(self, scene_id: str, view_id: str) -> Int32[np.ndarray, "height width"]:
        """Instance id of every pixel of a view, 0 = none; raises `SceneError` for a missing or broken file."""
        return _read_png(self.root / scene_id / "instance" / f"{view_id}.png", None).astype(np.int32)


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{path}: no JSON ({error}), expected the description of a synthetic room") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SceneError(f"{path}: format is not {_FORMAT!r}, expected the description of a synthetic room")
    if content.get("version") != _VERSION:
        raise SceneError(f"{path}: format version is {content.get('version')!r}, expected {_VERSION}")
    return content


def _list(content: Mapping[str, Any], field: str, path: Path) -> list[Mapping[str, Any]]:
    entries = content.get(field)
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise SceneError(f"{path}: {field} is missing or no list of objects")
    return entries


def _field(entry: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in entry:
        raise SceneError(f"{where}: field {name!r} is missing")
    return entry[name]


def _read_view(entry: Mapping[str, Any], folder: Path, path: Path) -> View:
    view_id = _field(entry, "id", f"{path}: a view")
    where = f"{path}: view {view_id}"
    # the id becomes part of file names: nothing that leaves the folder
    if not isinstance(view_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", view_id):
        raise SceneError(f"{where}: id is {view_id!r}, expected letters, digits, '_' and '-'")
    size = check_size(_field(entry, "size", where), where)
    image = folder / "images" / f"{view_id}.jpg"
    depth = folder / "depth" / f"{view_id}.png"
    for file in (image, depth, folder / "instance" / f"{view_id}.png"):
        check_image_file(file, size)
    return View(
        view_id=view_id,
        image=Blob(image),
        intrinsics=check_intrinsics(_field(entry, "intrinsics", where), size, where),
        world_to_camera=check_pose(_field(entry, "world_to_camera", where), where),
        size=size,
        read_depth=partial(_read_depth, depth, size),
    )


def _read_instance(entry: Mapping[str, Any], path: Path) -> Instance:
    number, category = (_field(entry, name, f"{path}: an instance") for name in ("id", "category"))
    where = f"{path}: instance {number}"
    if not isinstance(number, int) or not 1 <= number < 1 << 16:
        raise SceneError(f"{where}: id is {number!r}, expected a whole number from 1 to 65535")
    if not isinstance(category, str) or not category:
        raise SceneError(f"{where}: category is {category!r}, expected a word")
    box = _field(entry, "obb", where)
    if not isinstance(box, dict):
        raise SceneError(f"{where}: obb is {box!r}, expected center, axes and extents")
    center, axes, extents = (
        _numbers(_field(box, name, where), shape, f"{where}: obb.{name}")
        for name, shape in (("center", (3,)), ("axes", (3, 3)), ("extents", (3,)))
    )
    if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-3) or (extents < 0).any():
        raise SceneError(f"{where}: obb has axes that are not orthonormal, or a negative extent")
    return Instance(number, category, OrientedBox(center, axes, extents))


def _numbers(value: Any, shape: tuple[int, ...], where: str) -> Float64[np.ndarray, "*shape"]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise SceneError(f"{where} is {value!r}, expected finite numbers of shape {shape}")
    return array


def _load_mesh(path: Path, instances: Mapping[int, Instance]) -> Mesh:
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name, (dtype, columns) in _MESH_ARRAYS.items():
                arrays[name] = archive[name]
                shape = arrays[name].shape
                if arrays[name].dtype != dtype or shape[1:] != ((columns,) if columns else ()):
                    raise SceneError(f"{path}: array {name} is {arrays[name].dtype} {shape}, expected {dtype.__name__}")
    except SceneError:
        raise
    except KeyError as error:
        raise SceneError(f"{path}: array is missing ({error.args[0]})") from None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen classes for broken archives
        raise SceneError(f"{path}: mesh cannot be read ({error}), expected a whole npz archive") from None
    mesh = Mesh(**arrays)
    check_mesh(path.parent.name, mesh)
    if len(mesh.vertex_colors if mesh.vertex_colors is not None else ()) != len(mesh.vertices):
        raise SceneError(f"{path}: vertex_colors and vertices differ in length")
    present = set(np.unique(mesh.triangle_instances).tolist())
    for number, instance in instances.items():
        if number not in present:
            raise SceneError(f"{path}: instance {number} ({instance.category}) has no geometry, expected triangles")
    unknown = sorted(present - set(instances) - {0})
    if unknown:
        raise SceneError(f"{path}: triangles carry instance id {unknown[0]} that scene.json does not describe")
    return mesh


def _read_depth(path: Path, size: tuple[int, int]) -> Float32[np.ndarray, "height width"]:
    return _read_png(path, size).astype(np.float32) / np.float32(1000)


def _read_png(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    data = check_file(path, "a 16-bit PNG").read_bytes()
    check_image(data, size, str(path))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
