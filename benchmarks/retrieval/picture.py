"""A picture of completed windows: input, nearest neighbour, refined, truth, one row per window.

Example: ``python -m benchmarks.retrieval.picture outputs/ablation/attention/model outputs/retrieval/windows
outputs/retrieval/retrieved docs/retrieval.png --window NAME --window NAME``
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.retrieval.ablation import Seen, network
from geometry_encoders.errors import InputError
from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.meshes import TriangleMesh
from geometry_encoders.retrieval.refinement import RetrievalFuseModel
from geometry_encoders.retrieval.retrieved import RetrievedWindows
from geometry_encoders.retrieval.scale import WINDOW, GridScale
from geometry_encoders.retrieval.surfaces import extract_surface
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore

SIDE_PX = 360
CAPTION_PX = 28
COLUMNS = ("input", "nearest neighbour", "refined", "truth")
LIGHT = np.array([0.35, 0.8, 0.5])
EYE = np.array([1.45, 1.75, 1.6])  # in windows, from the middle of the floor


def cubes(inputs: Float[Tensor, "side side side"], scale: GridScale) -> TriangleMesh:
    """The low-resolution cells with a surface in them as cubes, in target voxels (section 14: below 0.675 voxels)."""
    import trimesh

    cells = torch.nonzero(inputs <= 0.675 * scale.input_voxel).numpy()[:, ::-1]
    step = WINDOW / inputs.shape[0]
    boxes = [trimesh.creation.box((step, step, step)).apply_translation(cell * step) for cell in cells]
    mesh: Any = trimesh.util.concatenate(boxes) if boxes else trimesh.Trimesh()
    return TriangleMesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32))


def draw(mesh: TriangleMesh, side_px: int = SIDE_PX) -> UInt8[np.ndarray, "side side 3"]:
    """The mesh of a window, (x, y, z) in voxels with y up, seen obliquely from above."""
    import open3d as o3d

    picture = np.full((side_px, side_px, 3), 255, np.uint8)
    if not len(mesh.triangles):
        return picture
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.triangles.astype(np.uint32)))
    middle = np.array([0.5, 0.2, 0.5]) * WINDOW
    rays = scene.create_rays_pinhole(36.0, middle, middle + EYE * WINDOW, np.array([0.0, 1.0, 0.0]), side_px, side_px)
    found = scene.cast_rays(rays)
    hit = np.isfinite(found["t_hit"].numpy())
    normals = found["primitive_normals"].numpy()
    shade = 0.35 + 0.65 * np.abs(normals @ (LIGHT / np.linalg.norm(LIGHT)))
    picture[hit] = (np.array([205, 212, 225]) * shade[hit][:, None]).clip(0, 255).astype(np.uint8)
    return picture[::-1, ::-1]  # open3d's first ray is that of the lower right corner


def row(item: dict[str, Tensor], candidates: Tensor, model: RetrievalFuseModel) -> UInt8[np.ndarray, "side width 3"]:
    """The pictures of one window side by side."""
    scale = model.scale
    refined = network(model, len(candidates))(Seen(item["input"], candidates, None))
    fields = (candidates[0], refined, item["target"])
    meshes = [cubes(item["input"], scale), *(extract_surface(field.numpy(), scale.occupied) for field in fields)]
    return np.concatenate([draw(mesh) for mesh in meshes], axis=1)


def run(
    model: Annotated[Path, typer.Argument(help="Folder of a trained refinement network")],
    windows: Annotated[Path, typer.Argument(help="Folder of windows")],
    retrieved: Annotated[Path, typer.Argument(help="Folder of retrieved windows")],
    out: Annotated[Path, typer.Argument(help="The picture to write (.png)")],
    window: Annotated[list[str], typer.Option(help="Name of a window; give it once per row")],
) -> None:
    """Draws windows: input, nearest neighbour, refined, truth."""
    torch.set_num_threads(1)
    network_model = load_own_folder(model, RetrievalFuseModel)
    found = RetrievedWindows(retrieved)
    scenes = sorted({name.rsplit("__", 2)[0] for name in window})
    dataset = WindowDataset(WindowStore(windows), network_model.scale, scenes)
    by_name = {sample.name: index for index, sample in enumerate(dataset.samples)}
    if missing := [name for name in window if name not in by_name]:
        raise InputError(f"{windows}: no window {missing[0]!r}, expected names such as {next(iter(by_name), 'none')!r}")
    rows = [row(dataset[by_name[name]], found.read(name), network_model) for name in window]
    caption = Image.new("RGB", (SIDE_PX * len(COLUMNS), CAPTION_PX), "white")
    for number, text in enumerate(COLUMNS):
        place = (SIDE_PX * (number + 0.5), CAPTION_PX / 2)
        ImageDraw.Draw(caption).text(place, text, fill="black", anchor="mm", font=ImageFont.load_default(16))
    Image.fromarray(np.concatenate([np.asarray(caption), *rows])).save(out, optimize=True)


if __name__ == "__main__":
    typer.run(run)
