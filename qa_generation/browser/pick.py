"""Which records of a set are shown: all of them, or a bounded number spread evenly over types, levels and scenes."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from qa_generation.question_files import QuestionFile
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int
from qa_generation.splits import WARMUP
from qa_generation.statistics import type_rank

# records that agree in these are of one stratum, and strata take turns
_STRATUM = ("occ_level", "trunc_level", "overlap_level", "gt_scenario")
_LEAST_SCENES = 6


@dataclass(frozen=True)
class Shown:
    """A record to show with the split it is in."""

    split: str
    record: QARecord


def all_records(files: Sequence[QuestionFile]) -> Iterator[Shown]:
    """Every record in the order of the files; one file is in memory at a time."""
    for file in files:
        for row in file.read().to_pylist():
            yield Shown(file.split, record_of(row))


def choose_files(files: Sequence[QuestionFile], max_scenes: int, seed: int) -> list[QuestionFile]:
    """The files of at most ``max_scenes`` scenes, shared among the splits by their size, a few of each at least.

    A hash of (seed, scene) ranks the scenes, so that a set that grows keeps showing the same ones for the most part.
    """
    by_split: dict[str, list[QuestionFile]] = defaultdict(list)
    for file in files:
        by_split[file.split].append(file)
    asked = {split: group for split, group in by_split.items() if split != WARMUP} or by_split
    total = sum(map(len, asked.values()))
    chosen: set[tuple[str, str]] = set()
    for split, group in asked.items():
        share = max(max_scenes * len(group) // total, _LEAST_SCENES)
        ranked = sorted(group, key=lambda file: (stable_int(seed, "browse", file.path.stem), file.path.stem))
        chosen.update((split, file.path.stem) for file in ranked[:share])
    stems = {stem for _, stem in chosen}
    return [f for f in files if (f.split, f.path.stem) in chosen or (f.split == WARMUP and f.path.stem in stems)]


def pick_records(files: Sequence[QuestionFile], per_type: int, seed: int) -> list[Shown]:
    """Up to ``per_type`` records of every type, in the order of the families.

    Within a type the strata (levels of occlusion, truncation, overlap, coverage; number of views) take turns; a hash of
    (seed, id) orders each stratum. Only the best ``per_type`` of every stratum are remembered on the way.
    """
    heaps: dict[tuple[str, tuple], list[tuple[int, int, int]]] = defaultdict(list)
    for number, file in enumerate(files):
        table = file.read(["id", "question_type", "frames", *_STRATUM])
        for row, values in enumerate(table.to_pylist()):
            stratum = (*(values[name] or "" for name in _STRATUM), len(values["frames"] or ()))
            heap = heaps[(values["question_type"] or "", stratum)]
            entry = (-stable_int(seed, "browse", values["id"] or ""), number, row)
            if len(heap) < per_type:
                heapq.heappush(heap, entry)
            elif entry > heap[0]:
                heapq.heapreplace(heap, entry)
    places: list[tuple[int, int]] = []
    for question_type in sorted({kind for kind, _ in heaps}, key=type_rank):
        strata = [sorted(heap, reverse=True) for (kind, _), heap in sorted(heaps.items()) if kind == question_type]
        turns = sorted((turn, place, entry) for place, heap in enumerate(strata) for turn, entry in enumerate(heap))
        places += [(entry[1], entry[2]) for _, _, entry in turns[:per_type]]
    return _read(files, places)


def _read(files: Sequence[QuestionFile], places: Sequence[tuple[int, int]]) -> list[Shown]:
    rows: dict[int, list[int]] = defaultdict(list)
    for number, row in places:
        rows[number].append(row)
    found: dict[tuple[int, int], Shown] = {}
    for number, wanted in rows.items():
        taken = files[number].read().take(pa.array(wanted)).to_pylist()
        for row, values in zip(wanted, taken, strict=True):
            found[(number, row)] = Shown(files[number].split, record_of(values))
    return [found[place] for place in places]


def record_of(row: dict) -> QARecord:
    """The record of a row; columns that the file does not have keep the record's defaults."""
    blank = {"overlap_avg": 0.0, "occlusion_avg": 0.0, "occ_level": "", "overlap_level": "", "vis_level": ""}
    blank |= {"gt_scenario": "", "mc_answer": "", "ground_truth": "", "options": (), "frames": (), "dataset": ""}
    blank |= {"scene_name": "", "question_type": "", "question": ""}
    return QARecord.from_row({**blank, **{name: value for name, value in row.items() if value is not None}})
