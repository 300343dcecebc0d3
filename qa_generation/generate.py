"""The whole way from a reader to a dataset folder: annotate, ask, write shards, then the files about all of them.

    OUT/data/<split>/<scene>.parquet     records (QARecord), one shard per scene
    OUT/images/<dataset>/<scene>/images/ pictures of the used frames
    OUT/official/*.json                  the published train and test layouts
    OUT/README.md, OUT/report.json       dataset card; counts, and the scenes that failed with their reasons

Two rounds over the scenes: the first annotates and learns over all of them what names give away, the second asks. Each
scene is made by one worker from (seed, scene id, what was learned), so the bytes do not depend on the number of
workers, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from qa_generation.dataset_card import write_card
from qa_generation.errors import InputError
from qa_generation.generation_config import GenerationConfig
from qa_generation.image_store import check_name
from qa_generation.make_scene import SceneJob, make_scene, survey_scene
from qa_generation.name_priors import MIN_SCENES, Learner
from qa_generation.official import benchmark_file_name, write_benchmark_json, write_training_json
from qa_generation.readers.base import SceneReader, options_of
from qa_generation.records import QARecord
from qa_generation.shards import read_shard, shard_fingerprint, shard_path
from qa_generation.splits import TRAIN, WARMUP, assign_splits
from qa_generation.workers import run_all

Result = TypeVar("Result")
DEFAULT_SPLITS: Mapping[str, float] = {"test": 0.2}


@dataclass(frozen=True)
class Report:
    """What a run made.

    Attributes:
        scenes: split -> ids of the scenes in it that were made.
        failures: scene id -> why it gave nothing.
        questions: split -> question type -> number of records.
    """

    scenes: Mapping[str, Sequence[str]]
    failures: Mapping[str, str] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

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

    Raises:
        InputError: no scenes, or ``out`` holds shards of other settings or scenes. A scene that fails does not raise:
            it is in the report.
    """
    config = config or GenerationConfig()
    scene_ids = sorted(reader.scene_ids())[:limit]
    if not scene_ids:
        raise InputError(f"{reader.root}: no scenes found, expected at least one in the {reader.dataset} layout")
    assigned = assign_splits(scene_ids, splits, seed)
    fingerprint = config.fingerprint(seed, options_of(reader))
    _prepare(out, assigned, fingerprint, overwrite)

    job = SceneJob(reader, out, cache_dir or out / ".cache", config, seed, assigned)
    failures: dict[str, str] = {}
    if any(_made_with(out, scene_id, job) is None for scene_id in scene_ids):
        if config.name_balance and len(scene_ids) >= MIN_SCENES:
            learner = Learner()
            failures = _each(partial(survey_scene, job), scene_ids, workers, "annotate", progress, learner.add)
            job = replace(job, names=learner.learned())
        # scenes that joined later change what is learned, and then the others are made anew
        todo = [s for s in scene_ids if s not in failures and _made_with(out, s, job) != job.fingerprint]
        failures |= _each(partial(make_scene, job), todo, workers, "questions", progress)
    return _finish(out, assigned, failures, config)


def _each(
    function: Callable[[str], Result],
    scene_ids: Sequence[str],
    workers: int,
    title: str,
    progress: bool,
    take: Callable[[Result], object] = lambda result: None,
) -> dict[str, str]:
    """Gives every result to ``take``, shows a bar, and tells why the others failed."""
    failures: dict[str, str] = {}
    # disable=None hides the bar where stderr is no terminal
    with tqdm(total=len(scene_ids), desc=title, unit="scene", disable=None if progress else True) as bar:
        for outcome in run_all(function, scene_ids, workers):
            if outcome.result is None:
                failures[outcome.item] = outcome.reason
                bar.write(f"scene {outcome.item} skipped: {outcome.reason}", file=sys.stderr)
            else:
                take(outcome.result)
            bar.update()
    return failures


def _made_with(out: Path, scene_id: str, job: SceneJob) -> str | None:
    """Fingerprint of the scene's complete shards, None where one is missing."""
    split = job.assigned[scene_id]
    wanted = [split, WARMUP] if split == TRAIN and job.config.warmup else [split]
    found = {shard_fingerprint(shard_path(out, name, scene_id)) for name in wanted}
    return found.pop() if len(found) == 1 else None


def _prepare(out: Path, assigned: Mapping[str, str], fingerprint: str, overwrite: bool) -> None:
    """Makes sure that ``out`` holds only shards of these settings and scenes, each in its split."""
    for scene_id in assigned:
        check_name("scene id", scene_id)
    if overwrite:
        shutil.rmtree(out / "data", ignore_errors=True)
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


def _finish(out: Path, assigned: Mapping[str, str], failures: Mapping[str, str], config: GenerationConfig) -> Report:
    """Writes what depends on all shards: official JSON, dataset card, report."""
    scenes: dict[str, list[str]] = {TRAIN: [], **{split: [] for split in assigned.values()}}
    for scene_id, split in assigned.items():
        if scene_id not in failures:
            scenes[split].append(scene_id)
    if config.warmup:
        scenes[WARMUP] = list(scenes[TRAIN])
    questions = {split: _count(out, split, ids) for split, ids in scenes.items()}
    report = Report({k: v for k, v in scenes.items() if k != WARMUP}, failures, questions)

    official = out / "official"
    shutil.rmtree(official, ignore_errors=True)
    write_training_json(official / "train.json", _records(out, TRAIN, scenes[TRAIN]))
    if scenes.get("test"):
        dataset = next((record.dataset for record in _records(out, "test", scenes["test"])), "")
        write_benchmark_json(official / benchmark_file_name(dataset), _records(out, "test", scenes["test"]))
    write_card(out, report, config)
    (out / "report.json").write_text(report.to_json(), encoding="utf-8")
    return report


def _records(out: Path, split: str, scene_ids: Sequence[str]) -> Iterator[QARecord]:
    for scene_id in scene_ids:
        yield from read_shard(shard_path(out, split, scene_id))


def _count(out: Path, split: str, scene_ids: Sequence[str]) -> Counter[str]:
    return Counter(record.question_type for record in _records(out, split, scene_ids))
