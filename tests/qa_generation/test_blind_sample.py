"""The sample that plans are fitted to: bounded per scene and type, the same whatever the order, nothing changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from qa_generation.blind_sample import draw_sample, sample_groups
from qa_generation.records import QARecord
from qa_generation.shards import write_shard
from tests.qa_generation.test_records import record

TYPES = ("obj_count_occ", "obj_existence_occ_lr")


@pytest.fixture
def shards(tmp_path: Path) -> dict[Path, list[QARecord]]:
    written = {}
    for scene in range(3):
        path = tmp_path / f"room_{scene}.parquet"
        written[path] = [
            record(id=f"synthetic.room_{scene}.{kind}.{number:03d}", scene_name=f"room_{scene}", question_type=kind)
            for kind in (*TYPES, "obj_size_occ_na")
            for number in range(2 + 3 * scene)
        ]
        write_shard(path, written[path], "test")
    return written


def test_so_many_of_each_type_and_scene_and_no_other_type(shards: dict[Path, list[QARecord]]) -> None:
    groups = dict(sample_groups(draw_sample(shards, TYPES, 4, seed=1)))
    assert set(groups) == set(TYPES)
    for group in groups.values():
        assert Counter(r.scene_name for r in group) == {"room_0": 2, "room_1": 4, "room_2": 4}


def test_records_come_back_as_they_were_but_for_what_is_not_read(shards: dict[Path, list[QARecord]]) -> None:
    known = {r.id: replace(r, images=(), evidence="[]") for records in shards.values() for r in records}
    for kind, group in sample_groups(draw_sample(shards, TYPES, 100, seed=1)):
        assert {r.id for r in group} == {r.id for r in known.values() if r.question_type == kind}
        assert all(r == known[r.id] for r in group)


def test_what_is_drawn_follows_from_the_seed_and_not_from_the_order(shards: dict[Path, list[QARecord]]) -> None:
    def drawn(paths: list[Path], seed: int) -> set[str]:
        return {r.id for _, group in sample_groups(draw_sample(paths, TYPES, 3, seed)) for r in group}

    paths = list(shards)
    assert drawn(paths, 1) == drawn(paths[::-1], 1) != drawn(paths, 2)
