"""The questions of a neighbour in the columns of ours, with their views found, checked before a model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.neighbours.catalogue import SPAR
from benchmarks.neighbours.files import benchmark_of, question_files, read_rows
from benchmarks.neighbours.pictures import PUBLISHED_FRAMES, FrameFolders, unpack
from benchmarks.neighbours.published import from_spar, from_video_benchmark
from benchmarks.neighbours.records import kind_of
from benchmarks.spatialmosaic.dataset import BenchData
from qa_generation.errors import InputError
from qa_generation.records import QARecord, to_table

UNPACKED = ".pictures"  # where pictures out of rows are written, beside the questions


@dataclass(frozen=True, eq=False)
class NeighbourData:
    """Questions of one benchmark; ``data`` holds them as ours are held, so that reports can show them."""

    benchmark: str
    data: BenchData

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The questions in file order."""
        rows: list[dict[str, Any]] = self.data.table.to_pylist()
        return rows


def load(
    source: Path,
    image_root: Path | None = None,
    frames: int = PUBLISHED_FRAMES,
    split: str = "test",
    limit: int | None = None,
) -> NeighbourData:
    """The checked questions of VSI-Bench, VSTI-Bench or SPAR-Bench, told apart by their columns.

    Args:
        source: a file as it was published, or the folder it was downloaded to.
        image_root: where frames of videos lie, see `FrameFolders`; where pictures out of rows are written to. Left out,
            the folder of the questions.
        frames: how many frames of a video a question shows (published: 32).
        split: which files of a folder.
        limit: at most so many questions per type, the first in file order.

    Raises:
        InputError: naming what is missing or wrong: no questions, unknown columns, an answer that cannot be read, ids
            that are not unique, frames or pictures that are not there.
    """
    files = question_files(source, split)
    folder = source if source.is_dir() else source.parent
    benchmark = benchmark_of(files[0], next((row for _, row in read_rows(files[0])), None))
    root = image_root or (folder / UNPACKED if benchmark == SPAR else folder)
    views = FrameFolders(root, frames)
    seen: Counter[str] = Counter()
    records: list[QARecord] = []
    for file in files:
        for number, row in read_rows(file):
            kind = str(row.get("task" if benchmark == SPAR else "question_type"))
            seen[kind] += 1
            if limit is None or seen[kind] <= limit:
                records.append(_record(benchmark, row, f"{file}, record {number}", views))
    twice = [key for key, count in Counter(record.id for record in records).items() if count > 1]
    if twice:
        raise InputError(f"{source}: {len(twice)} ids are not unique, e.g. {twice[0]!r}")
    return NeighbourData(benchmark, BenchData(source, split, root, to_table(records)))


def _record(benchmark: str, row: Mapping[str, Any], where: str, views: FrameFolders) -> QARecord:
    if benchmark_of(Path(where), row) != benchmark:
        raise InputError(f"{where}: not a record of {benchmark} like the first one")
    record = from_spar(row) if benchmark == SPAR else from_video_benchmark(benchmark, row)
    if kind_of(asdict(record)) == "none":
        truth = record.mc_answer or record.ground_truth
        raise InputError(f"{where}: the answer is {truth!r}, expected a letter, a number or camera motions")
    if benchmark == SPAR:
        names: tuple[str, ...] = tuple(unpack(row["image"] or (), views.root, where))
    else:
        names = views.frames(record.dataset, record.scene_name)
    if not names:
        raise InputError(f"{where}: shows no picture, expected at least one")
    return replace(record, images=names, frames=tuple(Path(name).stem for name in names), frame_naming="index")
