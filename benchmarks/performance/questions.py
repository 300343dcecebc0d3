"""What writing questions costs after annotation, and whether memory grows with the number of scenes.

    python -m benchmarks.performance.questions --scenes 8 --views 20
    python -m benchmarks.performance.questions --root ROOMS --reader synthetic --scenes 50

Per scene, in this one process as in a worker: CPU milliseconds per record for drawing view sets, finding candidates,
choosing and writing (``compose``), the same with the Parquet shard (``+ shard``), and the process's peak memory so far.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from qa_generation.compose import compose, scene_context
from qa_generation.generation_config import GenerationConfig
from qa_generation.readers.base import open_reader
from qa_generation.scene import Scene
from qa_generation.shards import write_shard
from qa_generation.visibility import annotate
from qa_generation.workers import release_memory


@dataclass(frozen=True)
class SceneCost:
    """CPU seconds to compose and to write one scene's records, their number, and peak memory afterwards in MB."""

    records: int
    compose_s: float
    shard_s: float
    peak_mb: float


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(scene: Scene, folder: Path, config: GenerationConfig, seed: int = 0) -> SceneCost:
    """Annotates a scene, then times all that follows."""
    table = annotate(scene)
    start = time.process_time()
    records = compose(scene_context(scene, table, config, seed), seed)
    composed = time.process_time()
    write_shard(folder / f"{scene.scene_id}.parquet", records, "")
    return SceneCost(len(records), composed - start, time.process_time() - composed, peak_mb())


def main(
    root: Annotated[Path | None, typer.Option(help="Folder of scenes; rooms are made when absent.")] = None,
    reader: Annotated[str, typer.Option(help="Layout of the scenes.")] = "synthetic",
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to measure.")] = 8,
    views: Annotated[int, typer.Option(min=2, help="Views of a room that is made here.")] = 20,
    per_type: Annotated[int, typer.Option(min=1, help="Questions per type and scene.")] = 40,
) -> None:
    """Prints one line per scene and the total."""
    costs: list[SceneCost] = []
    with TemporaryDirectory() as folder:
        for scene in _scenes(root, reader, scenes, views):
            cost = measure(scene, Path(folder), GenerationConfig(per_type=per_type))
            costs.append(cost)
            release_memory()  # as the workers do
            print(_line(f"scene {len(costs)}", [cost]), flush=True)
    print(_line("all", costs))
    if len(costs) > 2:
        # the first scene loads libraries and code
        print(f"memory after scene 2: {costs[1].peak_mb:.0f} MB, after scene {len(costs)}: {costs[-1].peak_mb:.0f} MB")


def _scenes(root: Path | None, reader: str, count: int, views: int) -> Iterator[Scene]:
    if root is not None:
        opened = open_reader(reader, root)
        yield from (opened.read(scene_id) for scene_id in sorted(opened.scene_ids())[:count])
        return
    from qa_generation.commands.synth import synth

    with TemporaryDirectory() as folder:
        synth(Path(folder), scenes=count, seed=0, views=views, size="160x120")
        yield from _scenes(Path(folder), "synthetic", count, views)


def _line(name: str, costs: list[SceneCost]) -> str:
    records = sum(cost.records for cost in costs)
    compose_ms, shard_ms = (1000 * sum(getattr(cost, key) for cost in costs) for key in ("compose_s", "shard_s"))
    per_record = f"{compose_ms / max(records, 1):.3f} ms per record, + shard {shard_ms / max(records, 1):.3f} ms"
    return f"{name:10s} {records:6d} records  {per_record}  peak {costs[-1].peak_mb:.0f} MB"


if __name__ == "__main__":
    typer.run(main)
