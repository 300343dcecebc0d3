"""Time and memory of the global alignment against the number of views, for complete and sparse graphs.

    python -m benchmarks.performance.global_alignment --views 5,20,50,100 --graphs complete,swin-3 --size 224x224

The pairs are synthetic (views of the inside of a ball by known cameras, each pair at a scale of its own, with noise),
not predictions of a network: what is measured is the alignment alone, and the cameras it finds can be checked. Every
row runs in a process of its own. CPU seconds are printed, which other load on the machine changes little; "all" is the
start plus as many iterations as asked for, extrapolated from the few that were run.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from geometry_encoders.reconstruction.dust3r.pairs import make_pairs
from geometry_encoders.reconstruction.global_alignment.alignment import read_scene
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras, StorageConfig
from geometry_encoders.reconstruction.global_alignment.optimiser import optimise
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph, PairPrediction
from geometry_encoders.reconstruction.global_alignment.start import encode_start, find_start
from geometry_encoders.reconstruction.registration import fit_similarity_robust

RADIUS, NOISE = 3.0, 0.01
MEGA = 1e6


@dataclass(frozen=True)
class Cost:
    """What one alignment costs.

    Attributes:
        pairs_mb: predictions of all pairs as they are kept, in memory or on disk.
        start_s: CPU seconds of the spanning tree and of the registration of every pair.
        step_s: CPU seconds of one iteration.
        peak_mb: largest resident memory of the process.
        base_mb: its resident memory before the first pair, libraries included.
        centre_error: median distance of camera centres from the truth after alignment; the room has radius 3.
    """

    views: int
    graph: str
    edges: int
    kept: str
    pairs_mb: float
    start_s: float
    step_s: float
    peak_mb: float
    base_mb: float
    centre_error: float


def make_cameras(views: int) -> tuple[Float[ndarray, "views 4 4"], float]:
    """Cameras on a ring in the middle of a ball, looking outwards a little up or down; focal length over width."""
    generator = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (views, 1, 1))
    for number, pose in enumerate(poses):
        turn = 2 * np.pi * number / views
        tilt = generator.uniform(-0.2, 0.2)
        pose[:3, :3] = Rotation.from_euler("yx", [turn, tilt]).as_matrix()
        pose[:3, 3] = (np.sin(turn), 0.3 * generator.standard_normal(), np.cos(turn))
    return poses, 0.6


def ball_points(pose: Float[ndarray, "4 4"], focal: float, height: int, width: int) -> Float[ndarray, "pixels 3"]:
    """World points that the pixels of a camera see on the inside of a bumpy ball."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(columns - width / 2) / focal, (rows - height / 2) / focal, np.ones_like(columns, float)], -1)
    rays = rays.reshape(-1, 3) @ pose[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    along = rays @ pose[:3, 3]
    reach = -along + np.sqrt(along**2 + RADIUS**2 - pose[:3, 3] @ pose[:3, 3])
    points = pose[:3, 3] + reach[:, None] * rays
    bumps: ndarray = 1 - 0.15 * (1 + np.sin(2 * points).prod(axis=1))
    return pose[:3, 3] + bumps[:, None] * reach[:, None] * rays


def fill_graph(
    views: int, scene_graph: str, height: int, width: int, storage: StorageConfig
) -> tuple[PairGraph, Float[ndarray, "views 4 4"]]:
    """A graph with synthetic predictions, and the true poses."""
    poses, ratio = make_cameras(views)
    points = [ball_points(pose, ratio * width, height, width) for pose in poses]
    edges = [edge for edge in make_pairs(views, scene_graph) if edge[0] != edge[1]]
    graph = PairGraph(edges, [np.zeros((height, width, 3), np.uint8)] * views, storage)
    world_to_camera = np.linalg.inv(poses)
    for number, (i, j) in enumerate(edges):
        generator = torch.Generator().manual_seed(number)
        scale = 0.3 + 0.4 * torch.rand((), generator=generator).item()
        sides = []
        for view in (i, j):
            seen = points[view] @ world_to_camera[i, :3, :3].T + world_to_camera[i, :3, 3]
            exact = torch.from_numpy((scale * seen).astype(np.float32))
            sides.append((exact + NOISE * scale * torch.randn(exact.shape, generator=generator)).view(height, width, 3))
        nearness = 1 / (1 + float(np.linalg.norm(poses[i, :3, 2] - poses[j, :3, 2])))
        confidence = 1 + 10 * nearness * torch.rand(2, height, width, generator=generator)
        graph.put(number, PairPrediction((i, j), (sides[0], sides[1]), (confidence[0], confidence[1])))
    return graph, poses


def measure(views: int, scene_graph: str, height: int, width: int, steps: int, storage: StorageConfig) -> Cost:
    """Aligns one synthetic scene in this process."""
    torch.set_num_threads(1)
    base = resident_mb()
    graph, truth = fill_graph(views, scene_graph, height, width, storage)
    config, known = AlignmentConfig(iterations=steps, storage=storage), KnownCameras()
    begin = time.process_time()
    parameters = encode_start(graph, config, known, find_start(graph, config, known))
    start_s = time.process_time() - begin
    begin = time.process_time()
    history = optimise(graph, parameters, config, known)
    step_s = (time.process_time() - begin) / (steps + 1)  # the last loss counts as one step, though it costs half
    found = read_scene(graph, parameters, config, history).camera_to_world[:, :3, 3]
    fit = fit_similarity_robust(found, truth[:, :3, 3]).similarity
    error = float(np.median(np.linalg.norm(fit.apply(found) - truth[:, :3, 3], axis=1)))
    kept = f"{str(graph.storage.dtype).removeprefix('torch.')} {'disk' if graph.storage.on_disk else 'memory'}"
    pairs_mb = 2 * len(graph.edges) * 4 * height * width * graph.storage.dtype.itemsize / MEGA
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGA
    return Cost(views, scene_graph, len(graph.edges), kept, pairs_mb, start_s, step_s, peak, base, error)


def resident_mb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGA


def measure_apart(*arguments: object) -> Cost:
    """`measure` in a fresh process, so that its peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, arguments))
    process.start()
    sender.close()
    try:
        cost = receiver.recv()
    except EOFError as error:
        raise RuntimeError(f"the process for {arguments[:2]} ended without a result") from error
    process.join()
    return cost


def _send(sender: Connection, arguments: tuple) -> None:
    sender.send(measure(*arguments))


def main(
    views: Annotated[str, typer.Option(help="numbers of views, with commas")] = "5,20,50,100",
    graphs: Annotated[str, typer.Option(help="scene graphs, with commas")] = "complete,swin-3,logwin-3,oneref-0",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT")] = "224x224",
    steps: Annotated[int, typer.Option(min=1, help="iterations that are run")] = 3,
    iterations: Annotated[int, typer.Option(help="iterations that the total is extrapolated to")] = 300,
    limit_gb: Annotated[float, typer.Option(help="pairs beyond this go to half precision, then to disk")] = 4.0,
) -> None:
    """Prints one row per graph and number of views."""
    width, height = (int(part) for part in size.split("x"))
    storage = StorageConfig(limit_gb=limit_gb)
    print(f"synthetic pairs, {size}, {steps} iterations run, one thread; CPU seconds, 10^6 bytes")
    print(f"{'graph':<10}{'views':>6}{'edges':>7}  {'pairs kept as':<16}{'MB':>7}{'start s':>9}{'s/iter':>8}"
          f"{'all s':>8}{'peak MB':>9}{'of it base':>11}{'centre error':>14}")  # fmt: skip
    for scene_graph in graphs.split(","):
        for count in (int(part) for part in views.split(",")):
            cost = measure_apart(count, scene_graph, height, width, steps, storage)
            total = cost.start_s + iterations * cost.step_s
            print(f"{cost.graph:<10}{cost.views:>6}{cost.edges:>7}  {cost.kept:<16}{cost.pairs_mb:>7.0f}"
                  f"{cost.start_s:>9.1f}{cost.step_s:>8.2f}{total:>8.0f}{cost.peak_mb:>9.0f}{cost.base_mb:>11.0f}"
                  f"{cost.centre_error:>14.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
