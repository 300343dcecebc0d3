"""Search in a chunk database against bare FAISS on the same vectors: latency, build time, memory, recall.

Vectors are synthetic: unit vectors around random centres, of length 64. Chunks take 8 KiB each up to ``--full-chunks``
rows; above that a few bytes stand for them, since the search never touches them.

Example: ``OMP_NUM_THREADS=1 python -m benchmarks.performance.retrieval --sizes 10000,100000 --out retrieval.json``
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from jaxtyping import Float, Float32

from geometry_encoders.own_folders import load_own_folder
from geometry_encoders.retrieval.chunk_index import TRAINING_VECTORS, ChunkIndex, IndexSettings, faiss
from geometry_encoders.retrieval.chunk_shards import ChunkRows, column_values, features, write_shard
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.database_header import DatabaseHeader, DatabaseSettings, write_header
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.scale import CHUNK, PRESETS
from geometry_encoders.retrieval.window_store import WindowDataset, WindowStore
from spatialvlm.training.retrieval.sources import split_scenes

LATENT, QUERIES, K, PER_WINDOW, WINDOWS_PER_SCENE = 64, 64, 4, 50, 4
Vectors = Float32[np.ndarray, "rows latent"]


@dataclass(frozen=True)
class Figures:
    """One size and one kind of index; seconds unless a name says otherwise.

    Attributes:
        build_s, bare_build_s: from vectors to a searchable index, by us (files written, mapped) and by bare FAISS.
        search_ms, bare_search_ms: CPU time of 64 queries (one window), 4 neighbours each; fastest round.
        excluding_ms: the same without the chunks of one scene.
        overhead: of the search, median over rounds of the ratio of neighbouring measurements, less one.
        recall: share of the true 4 neighbours found.
        memory_mb: growth of the process's own memory from opening to the last search.
    mapped_mb: growth of resident pages of mapped files, which the system may drop at any time.
        index_mb, chunks_mb: size of the files.
    """

    kind: str
    rows: int
    build_s: float
    bare_build_s: float
    load_s: float
    search_ms: float
    bare_search_ms: float
    excluding_ms: float
    overhead: float
    recall: float
    memory_mb: float
    mapped_mb: float
    index_mb: float
    chunks_mb: float


def synthetic_vectors(rows: int, seed: int) -> Vectors:
    """Unit vectors around 1000 centres, so that neighbours differ in nearness as embeddings do."""
    centres = np.random.default_rng(0).standard_normal((1000, LATENT)).astype(np.float32)
    generator = np.random.default_rng([1, seed])
    vectors = centres[generator.integers(0, len(centres), rows)]
    vectors += generator.standard_normal((rows, LATENT), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def chunk_rows(vectors: Vectors, side: int) -> Iterator[ChunkRows]:
    """The vectors as windows of scenes, with zeros for chunks."""
    extents = np.tile(np.array([0, side] * 3, np.int16), (PER_WINDOW, 1))
    chunks = np.zeros((PER_WINDOW, side, side, side), np.float16)
    for number, start in enumerate(range(0, len(vectors), PER_WINDOW)):
        part = vectors[start : start + PER_WINDOW]
        scene = f"scene{number // WINDOWS_PER_SCENE:06d}"
        name = f"{scene}__64__{number % WINDOWS_PER_SCENE:03d}"
        yield ChunkRows(scene, name, extents[: len(part)], chunks[: len(part)], part)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the action returned."""
    started = time.perf_counter()
    result = action()
    return time.perf_counter() - started, result


def interleaved(actions: list[Callable[[], Any]], rounds: int) -> Float[np.ndarray, "actions rounds"]:
    """CPU milliseconds of every action in every round, taken in turns so that other load slows all alike."""
    for action in actions:
        action()
    taken = np.zeros((len(actions), rounds))
    for number in range(rounds):
        order = range(len(actions)) if number % 2 else reversed(range(len(actions)))
        for which in order:
            started = time.process_time()
            actions[which]()
            taken[which, number] = (time.process_time() - started) * 1000
    return taken


def bare_index(vectors: Vectors, settings: IndexSettings) -> tuple[Any, Callable[[Vectors], Any]]:
    """What one would write with FAISS alone: the index and its search."""
    module = faiss()
    flat = module.IndexFlatL2(LATENT)
    flat.add(vectors)
    if settings.kind == "exact":
        return flat, lambda queries: flat.search(queries, K)
    lists = module.IndexIVFPQ(module.IndexFlatL2(LATENT), LATENT, settings.list_count(len(vectors)), settings.codes, 8)
    lists.cp.max_points_per_centroid = 64
    lists.train(vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), TRAINING_VECTORS)).astype(np.int64)])
    lists.add(vectors)
    refined = module.IndexRefine(lists, flat)
    options = module.IndexRefineSearchParameters(
        k_factor=float(settings.refine), base_index_params=module.SearchParametersIVF(nprobe=settings.probes)
    )
    return (lists, flat, refined), lambda queries: refined.search(queries, K, params=options)


def measure(folder: Path, rows: int, settings: IndexSettings, rounds: int, full_chunks: int) -> Figures:
    """All figures of one size and one kind, on the same vectors and queries."""
    vectors, queries = synthetic_vectors(rows, 0), synthetic_vectors(QUERIES, 1)
    side = CHUNK if rows <= full_chunks else 2
    columns = features(side, LATENT, "float16")
    (folder / "shards").mkdir(parents=True)
    write_shard(folder / "shards/00000.arrow", chunk_rows(vectors, side), columns)
    header = DatabaseHeader(
        "benchmark",
        PRESETS["rooms"],
        ChunkLayout(2, 1, side, 4, CHUNK),
        LATENT,
        DatabaseSettings(index=settings),
        (("shards/00000.arrow", rows),),
        "index",
    )
    write_header(folder, header)

    def build() -> None:
        ChunkIndex.build(settings, LATENT, rows, [vectors]).save(folder / "index")

    build_s, _ = timed(build)
    bare_build_s, (bare, bare_search) = timed(lambda: bare_index(vectors, settings))
    process = psutil.Process()
    gc.collect()
    before = process.memory_info()
    load_s, database = timed(lambda: ChunkDatabase.load(folder))
    taken = interleaved(
        [
            lambda: database.search(queries, K, exclude_scene="scene000001"),
            lambda: database.search(queries, K),
            lambda: bare_search(queries),
        ],
        rounds,
    )
    excluding_ms, search_ms, bare_ms = (float(fastest) for fastest in taken.min(axis=1))
    after = process.memory_info()
    mapped = after.shared - before.shared
    found = database.search(queries, K)[1]
    exact = faiss().knn(queries, vectors, K)[1]
    recall = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact, strict=True)]))
    del bare
    size = {
        kind: sum(path.stat().st_size for path in folder.glob(pattern)) / 2**20
        for kind, pattern in (("index", "index.*"), ("chunks", "shards/*"))
    }
    return Figures(
        kind=settings.kind,
        rows=rows,
        build_s=build_s,
        bare_build_s=bare_build_s,
        load_s=load_s,
        search_ms=search_ms,
        bare_search_ms=bare_ms,
        excluding_ms=excluding_ms,
        overhead=float(np.median(taken[1] / taken[2])) - 1,
        recall=recall,
        memory_mb=(after.rss - before.rss - mapped) / 2**20,
        mapped_mb=mapped / 2**20,
        index_mb=size["index"],
        chunks_mb=size["chunks"],
    )


@torch.no_grad()
def learned_recall(
    database_folder: Path, encoder_folder: Path, windows_folder: Path, held_out: float
) -> dict[str, Any]:
    """Recall of the approximate index on learned embeddings, asked by the inputs of held-out windows."""
    encoder = load_own_folder(encoder_folder, ChunkEncoder)
    database = ChunkDatabase.load(database_folder, encoder)
    store = WindowStore(windows_folder)
    held = WindowDataset(store, database.scale, split_scenes(store.scenes(), held_out)[1], keep_empty=False)
    inputs = torch.stack([held[index]["input"] for index in range(len(held))])
    queries = encoder(input_chunks=database.layout.input_chunks(inputs, database.scale)).input_embeddings.numpy()
    vectors = np.concatenate(list(column_values(database.dataset, "embedding")))
    exact = faiss().knn(queries, vectors, K)
    found: dict[str, float] = {"rows": len(vectors), "queries": len(queries)}
    settings = IndexSettings("ivf_pq")
    index = ChunkIndex.build(settings, vectors.shape[1], len(vectors), [vectors])
    for probes in (8, 32, 128):
        index.settings = replace(settings, probes=probes)
        distances, rows = index.search(queries, K)
        shared = [len(set(a) & set(b)) / K for a, b in zip(rows, exact[1], strict=True)]
        found[f"recall_{probes}_probes"] = round(float(np.mean(shared)), 4)
        found[f"distance_ratio_{probes}_probes"] = round(float(np.sqrt(distances / exact[0].clip(1e-9)).mean()), 4)
    return found


def main() -> None:
    """Prints one line per measurement and writes all of them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="chunks, separated by commas")
    parser.add_argument("--kinds", default="exact,ivf_pq")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--full-chunks", type=int, default=100000, help="store whole chunks up to that many rows")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument(
        "--learned",
        type=Path,
        nargs=3,
        metavar=("DATABASE", "ENCODER", "WINDOWS"),
        help="only the recall on a real database, asked by held-out windows",
    )
    parser.add_argument("--held-out", type=float, default=0.15)
    options = parser.parse_args()
    faiss().omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if options.learned:
        database, encoder, windows = options.learned
        print(json.dumps(learned_recall(database, encoder, windows, options.held_out)))
        return
    results: list[dict[str, Any]] = []
    for rows in map(int, options.sizes.split(",")):
        for kind in options.kinds.split(","):
            with tempfile.TemporaryDirectory() as folder:
                settings = IndexSettings(kind)
                figures = asdict(measure(Path(folder) / "db", rows, settings, options.rounds, options.full_chunks))
            figures = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
            print(json.dumps(figures), flush=True)
            results.append(figures)
    if options.out:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        options.out.write_text(
            json.dumps({"machine": machine, "faiss": faiss().__version__, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
