"""From a Waymo folder to questions: outdoor types, one picture size a record, answers that stand up to the audit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from qa_generation.audit import AuditReport, audit_dataset, same_reader
from qa_generation.generate import Report, generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.readers.waymo import WaymoReader
from qa_generation.records import QARecord
from qa_generation.shards import read_shard
from qa_generation.writers.waymo_sensors import Rig
from tests.qa_generation.waymo_factories import SEGMENT, write_street

SMALL = Rig(320, (32, 800), (60, 180))
# Waymo has too few categories for a choice of four
INDOOR_ONLY = {f"obj_attribute_occ_{axis}" for axis in ("ab", "fb", "lr")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[WaymoReader, Path, Report]:
    root = tmp_path_factory.mktemp("waymo")
    for number in range(2):
        write_street(root / "waymo", SMALL, number, frames=2)
    reader = WaymoReader(root / "waymo", snapshot_stride=1)
    report = generate_dataset(reader, root / "out", GenerationConfig(), workers=0, splits={"test": 0.5})
    return reader, root / "out", report


@pytest.fixture(scope="module")
def records(made: tuple[WaymoReader, Path, Report]) -> list[QARecord]:
    _, out, report = made
    ids = [(split, scene_id) for split, scene_ids in report.scenes.items() for scene_id in scene_ids]
    return [record for split, name in ids for record in read_shard(out / "data" / split / f"{name}.parquet")]


def test_moments_of_one_drive_share_a_split(made: tuple[WaymoReader, Path, Report]) -> None:
    _, _, report = made
    assert not report.failures
    assert {split: {name.rpartition("_t")[0] for name in ids} for split, ids in report.scenes.items()} in (
        {"train": {SEGMENT}, "test": {made[0].scene_ids()[-1].rpartition("_t")[0]}},
        {"test": {SEGMENT}, "train": {made[0].scene_ids()[-1].rpartition("_t")[0]}},
    )


def test_outdoor_types_are_asked(records: list[QARecord]) -> None:
    types = {record.question_type for record in records}
    assert not types & INDOOR_ONLY
    assert {"obj_count_occ", "bestview_count_occ", "obj_existence_occ_lr", "obj_distance_occ_na"} <= types
    assert {record.dataset for record in records} == {"waymo"}


def test_pictures_of_a_record_are_of_one_size(made: tuple[WaymoReader, Path, Report], records: list[QARecord]) -> None:
    sizes = {}
    for path in {path for record in records for path in record.images}:
        with Image.open(made[1] / path) as picture:
            sizes[path] = picture.size
    assert all(len({sizes[path] for path in record.images}) == 1 for record in records)


def test_the_audit_agrees(made: tuple[WaymoReader, Path, Report], records: list[QARecord]) -> None:
    report: AuditReport = audit_dataset(made[1], same_reader(made[0]), workers=0)
    assert report.verdicts().total() == len(records) > 50
    assert report.agreement() == 1.0
