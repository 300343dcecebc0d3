"""The whole way from a reader to a dataset folder: annotate, ask, write shards, then the files about all of them.

    OUT/data/<split>/<scene>.parquet     records (QARecord), one shard per scene
    OUT/images/<dataset>/<scene>/images/ pictures of the used frames
    OUT/official/*.json                  the published train and test layouts
    OUT/README.md, OUT/report.json       dataset card; counts, and the scenes that failed with their reasons

`rounds` goes over the scenes three times. Each scene is made by one worker from (seed, scene id, what was learned),
so the bytes depend neither on the number of workers nor on the backend, and a run that was interrupted goes on where
it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from qa_generation import cache_files
from qa_generation.dataset_card import write_card
from qa_generation.errors import InputError, OutputError
from qa_generation.generation_config import GenerationConfig
from qa_generation.image_store import NO_NAME, is_name
from qa_generation.make_scene import SceneJob
from qa_generation.official import benchmark_file_name, write_benchmark_json, write_training_json
from qa_generation.readers.base import SceneReader
from qa_generation.records import QARecord
from qa_generation.rounds import Backend, Rounds, Runner, settled_with
from qa_generation.shards import read_shard, shard_fingerprint, shard_path
from qa_generation.splits import TRAIN, WARMUP, assign_splits
from qa_generation.whole_files import write_whole
from qa_generation.workers import run_all

DEFAULT_SPLITS: Mapping[str, float] = {"test": 0.2}


@dataclass(frozen=True)
class Report:
    """What a run made.

    Attributes:
        scenes: split -> ids of the scenes in it that were made.
        failures: scene id -> why it gave nothing.
        questions: split -> question type -> number of records.
        blind: per type, how well the question alone told the answer before and after pruning, and what was left out.
        waiting: what other shards have to do before this one can go on; then nothing else is told yet.
    """

    scenes: Mapping[str, Sequence[str]]
    failures: Mapping[str, str] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    blind: Mapping[str, Any] = field(default_factory=dict)
    waiting: str = ""

    @property
    def records(self) -> int:
        """Number of records of all splits."""
        return sum(sum(by_type.values()) for by_type in self.questions.values())

    @property
    def failed_share(self) -> float:
        """Share of the scenes that gave nothing, 0-1."""
        made = sum(len(ids) for ids in self.scenes.values())
        return len(self.failures) / max(made + len(self.failures), 1)

    def to_json(self) -> str:
        """The report file's content."""
        content = {
            "scenes": {split: len(ids) for split, ids in sorted(self.scenes.items())},
            "failures": [{"scene": scene, "reason": reason} for scene, reason in sorted(self.failures.items())],
            "questions": {split: dict(sorted(by_type.items())) for split, by_type in sorted(self.questions.items())},
            "blind": self.blind,
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def generate_dataset(
    reader: SceneReader,
    out: Path,
    config: GenerationConfig | None = None,
    *,
    seed: int = 0,
    workers: int = 1,
    splits: Mapping[str, float] = DEFAULT_SPLITS,
    cache_dir: Path | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    shard: tuple[int, int] = (1, 1),
    backend: Backend | None = None,
) -> Report:
    """Makes the dataset ``out`` from all scenes of ``reader`` and tells what was made.

    Args:
        reader: where scenes come from; must be picklable for ``workers`` > 0.
        out: folder of the dataset; complete shards of the same settings in it are kept.
        config: quotas and thresholds.
        seed: same seed, scenes and settings give the same bytes.
        workers: processes; 0 works in this one.
        splits: share of the scenes per held-out split; the rest is ``train``.
        cache_dir: where visibility tables are kept, ``out/.cache`` by default.
        limit: only the first so many scenes.
        overwrite: make all shards anew and drop those of other settings or scenes.
        progress: show a bar on a terminal.
        shard: (i, n) works on every n-th scene only, for jobs side by side that share ``out``; each does as many rounds
            as the others' progress allows and says in the report what it waits for.
        backend: runs the scenes instead of worker processes here, e.g. `ray_backend.run_all`.

    Raises:
        InputError: no scenes, or ``out`` holds shards of other settings or scenes. A scene that fails does not raise:
            it is in the report.
        OutputError: ``out`` cannot be written; what was written stays and the next run goes on from it.
    """
    config = config or GenerationConfig()
    scene_ids = sorted(reader.scene_ids())[:limit]
    if not scene_ids:
        raise InputError(f"{reader.root}: no scenes found, expected at least one in the {reader.dataset} layout")
    assigned = assign_splits(scene_ids, splits, seed)
    job = SceneJob(reader, out, cache_dir or out / ".cache", config, seed, assigned)
    number, of = shard
    if not 1 <= number <= of:
        raise InputError(f"--shard {number}/{of} is no part of {of}, expected 1/{of} to {of}/{of}")
    if overwrite and of > 1:
        raise InputError("--overwrite and --shard cannot go together: one job would remove what another has made")
    named = [scene_id for scene_id in scene_ids if is_name(scene_id)]
    mine = named[number - 1 :: of]
    try:
        _prepare(job, overwrite)
        rounds = Rounds(job, named, mine, Runner(backend or partial(run_all, workers=workers), progress))
        if not _complete(job, named):
            rounds.go()
        rounds.failures |= {s: NO_NAME for s in scene_ids if not is_name(s)}
        if rounds.waiting:
            return Report({}, rounds.failures, waiting=rounds.waiting)
        return _finish(rounds.job, rounds.failures)
    except OSError as error:
        raise OutputError.of(Path(error.filename or out), error) from error


def _complete(job: SceneJob, scene_ids: Sequence[str]) -> bool:
    """Whether all shards are there, made with these settings and with one another."""
    found = {settled_with(job, scene_id) for scene_id in scene_ids}
    return len(found) == 1 and None not in found


def _prepare(job: SceneJob, overwrite: bool) -> None:
    """Makes sure that ``out`` holds only shards of these settings and scenes, each in its split."""
    out, assigned, fingerprint = job.out, job.assigned, job.settings
    if overwrite:
        for folder in (out / "data", job.state_dir / "pools", job.state_dir / "surveys"):
            shutil.rmtree(folder, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((out / "data").glob("*/*.parquet")):
        split, scene_id = path.parent.name, path.stem
        if (shard_fingerprint(path) or fingerprint).split(".")[0] != fingerprint:
            raise InputError(f"{path} was made with other settings or another seed; use --overwrite or another folder")
        if scene_id not in assigned:
            raise InputError(f"{path} is of a scene that is not in this run; use --overwrite or another folder")
        # splits may shift when scenes are added; records do not depend on them
        if split == WARMUP:
            if assigned[scene_id] != TRAIN:
                path.unlink()
        elif split != assigned[scene_id]:
            target = shard_path(out, assigned[scene_id], scene_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def _finish(job: SceneJob, failures: Mapping[str, str]) -> Report:
    """Writes what depends on all shards: official JSON, dataset card, report."""
    out, assigned, config = job.out, job.assigned, job.config
    scenes: dict[str, list[str]] = {TRAIN: [], **{split: [] for split in assigned.values()}}
    for scene_id, split in assigned.items():
        if scene_id not in failures:
            scenes[split].append(scene_id)
    if config.warmup:
        scenes[WARMUP] = list(scenes[TRAIN])
    questions = {split: _count(out, split, ids) for split, ids in scenes.items()}
    made = next((s for s in assigned if s not in failures), None)
    plan_id = (settled_with(job, made) or "").rpartition(".")[2] if made else ""
    blind = cache_files.read_summary(job.state_dir, plan_id)
    report = Report({k: v for k, v in scenes.items() if k != WARMUP}, failures, questions, blind or {})

    official = out / "official"
    shutil.rmtree(official, ignore_errors=True)
    write_training_json(official / "train.json", _records(out, TRAIN, scenes[TRAIN]))
    if scenes.get("test"):
        dataset = next((record.dataset for record in _records(out, "test", scenes["test"])), "")
        write_benchmark_json(official / benchmark_file_name(dataset), _records(out, "test", scenes["test"]))
    write_card(out, report, config)
    write_whole(out / "report.json", report.to_json())
    return report


def _records(out: Path, split: str, scene_ids: Sequence[str]) -> Iterator[QARecord]:
    for scene_id in scene_ids:
        yield from read_shard(shard_path(out, split, scene_id))


def _count(out: Path, split: str, scene_ids: Sequence[str]) -> Counter[str]:
    return Counter(record.question_type for record in _records(out, split, scene_ids))
