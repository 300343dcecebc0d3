"""What visibility annotation costs next to the bare ray casting it stands for.

    python -m benchmarks.performance.visibility --scenes 3 --views 20 --size 160x120
    python -m benchmarks.performance.visibility --root SCANS --reader scannet

Prints CPU seconds per scene on one thread. ``frame rays`` is one ray per frame pixel into the whole scene; ``all rays``
adds the rays that #A and #A+ are defined by: for each instance alone, those of its rectangle on the 3 x 3 canvas.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from jaxtyping import Float32

from qa_generation.overlap import overlap_percent, sample_instances
from qa_generation.raycast import NEAR_M, RayCaster, Region, scale_intrinsics, view_rays
from qa_generation.readers.base import open_reader
from qa_generation.scene import Scene, View
from qa_generation.visibility import VisibilityConfig, annotate

_RAYS_AT_ONCE = 1 << 20

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one scene, with what they were spent on."""

    scene_id: str
    views: int
    instances: int
    triangles: int
    frame_rays_s: float
    all_rays: int
    all_rays_s: float
    annotate_s: float
    pair_overlap_s: float
    peak_rss_mb: float


def measure(scene: Scene, config: VisibilityConfig) -> Cost:
    """The cost of annotating a scene, of casting its frame rays, and of casting all rays that its counts stand for."""
    mesh = scene.mesh
    table, annotate_s = timed(lambda: annotate(scene, config))
    peak_rss_mb = _peak_rss_mb()  # before the plain casts, which hold far more rays than annotation does
    everything, frame_rays_s = RayCaster.of_mesh(mesh), 0.0
    alone = [RayCaster(mesh.vertices, mesh.triangles[mesh.triangle_instances == i]) for i in table.instance_ids]
    instance_rays, instance_rays_s = 0, 0.0
    for view, (width, height) in zip(scene.views, table.sizes.tolist(), strict=True):
        size = (width, height)
        frame_rays = _rays(view, Region.frame(size), size)
        frame_rays_s += timed(partial(everything.first_hits, frame_rays))[1]
        for caster, instance_id in zip(alone, table.instance_ids, strict=True):
            for band in _bands(canvas_rectangle(mesh.triangles_of(instance_id), view, size)):
                rays = _rays(view, band, size)
                instance_rays += rays[..., 0].size
                instance_rays_s += timed(partial(caster.hits, rays))[1]
    return Cost(
        scene_id=scene.scene_id,
        views=len(scene.views),
        instances=len(table.instance_ids),
        triangles=len(mesh.triangles),
        frame_rays_s=frame_rays_s,
        all_rays=instance_rays + int(table.sizes.prod(axis=1).sum()),
        all_rays_s=frame_rays_s + instance_rays_s,
        annotate_s=annotate_s,
        pair_overlap_s=pair_overlap_s(scene, config),
        peak_rss_mb=peak_rss_mb,
    )


def canvas_rectangle(corners: Float32[np.ndarray, "triangles 3 3"], view: View, size: tuple[int, int]) -> Region:
    """The part of the canvas that can show these triangles: their projected box, all of it when they cross the near
    plane, nothing when they lie behind it."""
    canvas, intrinsics = Region.canvas(size), scale_intrinsics(view.intrinsics, view.size, size)
    points = corners.reshape(-1, 3) @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    if (points[:, 2] <= NEAR_M).all():
        return Region(0, 0, 0, 0)
    if (points[:, 2] <= NEAR_M).any():
        return canvas
    pixels = (points / points[:, 2:]) @ intrinsics[:2].T
    (x0, y0), (x1, y1) = np.floor(pixels.min(axis=0)).astype(int), np.ceil(pixels.max(axis=0)).astype(int) + 1
    x0, x1 = np.clip((x0, x1), canvas.x0, canvas.x1)
    y0, y1 = np.clip((y0, y1), canvas.y0, canvas.y1)
    return Region(int(x0), int(y0), int(x1), int(y1))


def _bands(region: Region) -> Iterator[Region]:
    """The region in slices of bounded size; nothing where it is empty."""
    if region.x1 <= region.x0:
        return
    step = max(_RAYS_AT_ONCE // (region.x1 - region.x0), 1)
    for y in range(region.y0, region.y1, step):
        yield Region(region.x0, y, region.x1, min(y + step, region.y1))


def _rays(view: View, region: Region, size: tuple[int, int]) -> Float32[np.ndarray, "height width 6"]:
    return view_rays(scale_intrinsics(view.intrinsics, view.size, size), view.world_to_camera, region)


def pair_overlap_s(scene: Scene, config: VisibilityConfig) -> float:
    """All pairs of views over as many voxels as the scene has; half of the bits set."""
    own = scene.mesh.triangle_instances > 0
    columns = scene.mesh.triangle_instances[own].astype(np.int64)
    voxels = sample_instances(scene.mesh.vertices[scene.mesh.triangles[own]], columns, config.voxel_m).voxel_count
    bits = np.random.default_rng(0).integers(0, 256, (len(scene.views), -(-voxels // 8)), dtype=np.uint8)
    return timed(lambda: overlap_percent(bits))[1]


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What the work gives, and its CPU seconds."""
    start = time.process_time()
    return work(), time.process_time() - start


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def report(cost: Cost) -> str:
    """One scene's cost as a paragraph."""
    to_frame, to_all = cost.annotate_s / cost.frame_rays_s, cost.annotate_s / cost.all_rays_s
    return (
        f"{cost.scene_id}: {cost.views} views, {cost.instances} instances, {cost.triangles} triangles\n"
        f"  annotate              {cost.annotate_s:8.3f} s CPU\n"
        f"  bare, frame rays      {cost.frame_rays_s:8.3f} s CPU   annotate is {to_frame:.2f} x\n"
        f"  bare, all rays        {cost.all_rays_s:8.3f} s CPU   annotate is {to_all:.2f} x ({cost.all_rays:,} rays)\n"
        f"  overlap of all pairs  {cost.pair_overlap_s:8.5f} s CPU\n"
        f"  peak memory           {cost.peak_rss_mb:8.0f} MB"
    )


def main(
    root: Annotated[Path | None, typer.Option(help="Folder of scenes; without it rooms are made.")] = None,
    reader: Annotated[str, typer.Option(help="Reader of that folder.")] = "synthetic",
    scenes: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 3,
    views: Annotated[int, typer.Option(min=2, help="Views of a made room.")] = 20,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of a made room's pictures, pixels.")] = "160x120",
    max_side: Annotated[int, typer.Option(help="Longer side of the pixel grid.")] = 640,
) -> None:
    """Measures visibility annotation against bare ray casting.

    Example: python -m benchmarks.performance.visibility --scenes 3 --views 20 --size 160x120
    """
    config = VisibilityConfig(max_side=max_side)
    with tempfile.TemporaryDirectory() as folder:
        if root is None:
            root = Path(folder)
            _make_rooms(root, scenes, views, size)
        source = open_reader(reader, root)
        for scene_id in source.scene_ids()[:scenes]:
            print(report(measure(source.read(scene_id), config)), flush=True)


def _make_rooms(root: Path, scenes: int, views: int, size: str) -> None:
    from qa_generation.commands.synth import parse_size
    from qa_generation.synthetic.build import RoomConfig
    from qa_generation.synthetic.make_rooms import Job, make_rooms

    for outcome in make_rooms(Job(root, 0, "native", RoomConfig(views, parse_size(size))), scenes):
        if outcome.result is None:
            raise RuntimeError(f"room {outcome.item}: {outcome.reason}")


if __name__ == "__main__":
    typer.run(main)
