"""What generation costs: annotation of scenes as large as real scans, and a whole run with its rate and memory.

    python -m benchmarks.performance.generation annotation
    python -m benchmarks.performance.generation run ROOMS --out DATASET --scenes 600 --workers 2

``annotation`` makes two scenes out of synthetic rooms whose triangles are divided and shaken by 2 mm like a scan's: one
of ScanNet's size (150,000 vertices, 300 frames) and one of ScanNet++'s (1 M triangles, 60 instances or more). It prints
CPU seconds on one thread next to the bare casting of the same rays. ``run`` makes a dataset and samples the memory of
all its processes; from its rate it projects 849 scenes and 3 million records.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import psutil
import trimesh
import typer

from benchmarks.performance.visibility import pair_overlap_s, timed
from qa_generation.raycast import RayCaster, Region, scale_intrinsics, view_rays
from qa_generation.scene import Blob, Instance, Mesh, OrientedBox, Scene, View
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.visibility import VisibilityConfig, annotate

app = typer.Typer(add_completion=False, help=__doc__)
# rendered small, since only the cameras are wanted
_PROBE = (32, 24)
_SHAKE_M = 0.002
_GAP_M = 2.0
PAPER_SCENES, PAPER_RECORDS = 849, 3_000_000


@dataclass(frozen=True)
class ScanSize:
    """A scene of about this size; ``rooms`` stand side by side."""

    name: str
    rooms: int
    vertices: int
    views: int
    picture: tuple[int, int]


SIZES = (
    ScanSize("ScanNet size", 1, 150_000, 300, (640, 480)),
    ScanSize("ScanNet++ size", 3, 500_000, 300, (640, 480)),
)


def scan_scene(size: ScanSize, seed: int = 0) -> Scene:
    """Rooms in a row, every triangle divided until there are enough, corners moved at random by 2 mm."""
    parts: list[trimesh.Trimesh] = []
    views: list[View] = []
    instances: dict[int, Instance] = {}
    offset_m = 0.0
    for index in range(size.rooms):
        room = build_scene(seed, index, RoomConfig(size.views // size.rooms, _PROBE))
        shift = np.array([offset_m - room.mesh.vertices[:, 0].min(), 0.0, 0.0])
        offset_m += float(np.ptp(room.mesh.vertices[:, 0])) + _GAP_M
        first = len(instances)
        labels = np.where(room.mesh.triangle_instances > 0, room.mesh.triangle_instances + first, 0)
        parts.append(_divided(room.mesh, labels, shift, size.vertices // size.rooms))
        for number, instance in room.instances.items():
            box = OrientedBox(instance.obb.center + shift, instance.obb.axes, instance.obb.extents)
            instances[number + first] = Instance(number + first, instance.category, box)
        for view in room.views:
            to_room = np.eye(4)
            to_room[:3, 3] = -shift
            intrinsics = scale_intrinsics(view.intrinsics, _PROBE, size.picture)
            views.append(
                View(f"frame_{len(views):06d}", Blob(Path()), intrinsics, view.world_to_camera @ to_room, size.picture)
            )
    joined = cast(trimesh.Trimesh, trimesh.util.concatenate(parts))
    rng = np.random.default_rng(seed)
    vertices = joined.vertices + rng.uniform(-_SHAKE_M, _SHAKE_M, joined.vertices.shape)
    mesh = Mesh(
        vertices.astype(np.float32),
        np.asarray(joined.faces, dtype=np.int32),
        np.asarray(joined.face_attributes["instance"], dtype=np.int32),
    )
    return Scene(size.name, "synthetic", tuple(views), instances, lambda: mesh)


def _divided(mesh: Mesh, labels: np.ndarray, shift: np.ndarray, vertices: int) -> trimesh.Trimesh:
    """The mesh with triangles no longer than it takes to have so many vertices."""
    low_m, high_m = 0.005, 5.0
    for _ in range(12):  # the number of vertices falls with the length
        longest_m = (low_m * high_m) ** 0.5
        points, faces, index = trimesh.remesh.subdivide_to_size(
            mesh.vertices + shift, mesh.triangles, longest_m, max_iter=20, return_index=True
        )
        low_m, high_m = (low_m, longest_m) if len(points) < vertices else (longest_m, high_m)
    return trimesh.Trimesh(points, faces, face_attributes={"instance": labels[index]}, process=False)


@app.command()
def annotation(
    max_side: Annotated[list[int] | None, typer.Option(help="Longer side of the pixel grid.  [160, 320, 640]")] = None,
    only: Annotated[int | None, typer.Option(min=0, max=len(SIZES) - 1, help="Number of one scene.")] = None,
) -> None:
    """CPU seconds to annotate scenes as large as real scans, next to the bare casting of their frame rays."""
    for size in SIZES if only is None else SIZES[only : only + 1]:
        scene = scan_scene(size)
        mesh = scene.mesh
        typer.echo(
            f"{size.name}: {len(mesh.vertices):,} vertices, {len(mesh.triangles):,} triangles, "
            f"{len(scene.instances)} instances, {len(scene.views)} frames"
        )
        for side in max_side or [160, 320, 640]:
            config = VisibilityConfig.for_questions(scene.kind, side)
            table, annotate_s = timed(partial(annotate, scene, config))
            caster, rays_s = RayCaster.of_mesh(mesh), 0.0
            for view, (width, height) in zip(scene.views, table.sizes.tolist(), strict=True):
                intrinsics = scale_intrinsics(view.intrinsics, view.size, (width, height))
                rays = view_rays(intrinsics, view.world_to_camera, Region.frame((width, height)))
                rays_s += timed(partial(caster.first_hits, rays))[1]
            typer.echo(
                f"  grid {side:4}: annotate {annotate_s:7.2f} s CPU = {annotate_s / rays_s:5.2f} x "
                f"bare casting ({rays_s:.2f} s); all pairs {pair_overlap_s(scene, config):.3f} s"
            )


@contextmanager
def memory_curve(every_s: float = 2.0) -> Iterator[list[tuple[float, float, float]]]:
    """(seconds, MB of this process, MB of its largest child) while the block runs; memory is resident size."""
    curve: list[tuple[float, float, float]] = []
    over = threading.Event()
    me, start = psutil.Process(), time.monotonic()

    def watch() -> None:
        while not over.wait(every_s):
            children = [_resident_mb(child) for child in me.children(recursive=True)]
            curve.append((time.monotonic() - start, _resident_mb(me), max(children, default=0.0)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield curve
    finally:
        over.set()
        watcher.join()


def _resident_mb(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.Error:  # it has just ended
        return 0.0


def _cpu_s() -> float:
    """CPU seconds of this process and its ended children."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


@app.command()
def run(
    scenes: Annotated[Path, typer.Argument(help="Folder of captures.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset to make.")],
    reader: Annotated[str, typer.Option(help="Layout of the captures.")] = "synthetic",
    limit: Annotated[int | None, typer.Option("--scenes", help="Only the first so many.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes.")] = 2,
    quotas: Annotated[Path | None, typer.Option(help="Settings, see recipes/generation.yaml.")] = None,
) -> None:
    """Makes a dataset and prints rate, CPU per record, memory over time, and the projection to the paper's size."""
    from qa_generation.generate import generate_dataset
    from qa_generation.generation_config import GenerationConfig, load_config
    from qa_generation.readers.base import open_reader

    config = load_config(quotas) if quotas else GenerationConfig()
    start, before_s = time.monotonic(), _cpu_s()
    with memory_curve() as curve:
        report = generate_dataset(open_reader(reader, scenes), out, config, workers=workers, limit=limit, progress=True)
    wall_s, cpu_s = time.monotonic() - start, _cpu_s() - before_s
    made = sum(len(ids) for ids in report.scenes.values())
    typer.echo(
        f"{report.records:,} records of {made} scenes in {wall_s:.0f} s, {report.records / wall_s:.0f} per second"
    )
    typer.echo(
        f"CPU: {cpu_s:.0f} s, {1000 * cpu_s / max(report.records, 1):.2f} ms per record, "
        f"{cpu_s / max(made, 1):.2f} s per scene"
    )
    _print_curve(curve)
    scenes_s, records_s = cpu_s / max(made, 1) * PAPER_SCENES, cpu_s / max(report.records, 1) * PAPER_RECORDS
    typer.echo(
        f"on 2 cores at this rate: {PAPER_SCENES} scenes like these {scenes_s / 2 / 60:.0f} minutes, "
        f"{PAPER_RECORDS:,} records {records_s / 2 / 60:.0f} minutes"
    )
    (out / "run.json").write_text(
        json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "records": report.records, "memory": curve})
    )


def _print_curve(curve: list[tuple[float, float, float]]) -> None:
    if not curve:
        return
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0):
        until = curve[: max(1, int(share * len(curve)))]
        typer.echo(
            f"memory after {until[-1][0]:6.0f} s: this process {until[-1][1]:5.0f} MB "
            f"(largest {max(own for _, own, _ in until):.0f}), "
            f"a worker {until[-1][2]:5.0f} MB (largest {max(worker for _, _, worker in until):.0f})"
        )


if __name__ == "__main__":
    sys.exit(app())
