"""Sets of records from random rooms: the audit finds exactly one true option in every one."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import ceil

import pytest

from qa_generation.audit import AuditConfig, audit_scene
from qa_generation.compose import compose, scene_context
from qa_generation.generation_config import GenerationConfig
from qa_generation.prompts import CHOICE_TYPES, QUESTION_TYPES
from qa_generation.records import QARecord
from qa_generation.scene import Scene
from qa_generation.settle import settle
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_table import VisibilityTable
from tests.qa_generation.rooms import random_room

SEEDS = range(5)


@lru_cache
def _annotated(seed: int) -> tuple[Scene, VisibilityTable]:
    scene = random_room(seed, objects=26, views=18)
    return scene, annotate(scene, VisibilityConfig(voxel_m=0.05))


@lru_cache
def _records(seed: int) -> list[QARecord]:
    scene, table = _annotated(seed)
    config = GenerationConfig(per_type=25, blind=None)
    return settle(compose(scene_context(scene, table, config, seed), seed), None, config, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_has_exactly_one_true_option(seed: int):
    records = _records(seed)
    assert len(records) > 60
    findings = list(audit_scene(_annotated(seed)[0], records, AuditConfig(labels=False)))
    assert [finding for finding in findings if finding.verdict == "disagree"] == []
    assert sum(finding.verdict == "agree" for finding in findings) >= 0.85 * len(records)


def test_all_seventeen_types_are_made():
    made = Counter(record.question_type for seed in SEEDS for record in _records(seed))
    assert set(made) == set(QUESTION_TYPES)


@pytest.mark.parametrize("seed", SEEDS)
def test_letters_and_answers_are_balanced(seed: int):
    for question_type in CHOICE_TYPES:
        records = [record for record in _records(seed) if record.question_type == question_type]
        if len(records) < 4:
            continue
        options = len(records[0].options)
        letters = Counter(record.mc_answer for record in records)
        counts = [letters["ABCD"[i]] for i in range(options)]
        assert max(counts) - min(counts) <= 1, question_type
    for kind in ("ab", "fb", "lr"):
        answers = Counter(r.ground_truth for r in _records(seed) if r.question_type == f"obj_existence_occ_{kind}")
        assert abs(answers["Yes"] - answers["No"]) <= 2
        related = [r for r in _records(seed) if r.question_type == f"obj_spatial_occ_{kind}"]
        words = Counter(r.ground_truth.removesuffix(f" the {r.reference_category}.") for r in related)
        # at most 30 % where all four are possible and there are enough to share out
        assert len(words) < 4 or len(related) < 12 or max(words.values()) <= ceil(0.3 * len(related)) + 1


def test_no_is_true_as_often_as_any_other_option_of_localisation():
    records = [r for seed in SEEDS for r in _records(seed) if r.question_type == "obj_localization_occ"]
    no = sum(record.ground_truth == "No" for record in records)
    # a few of the chosen turn out impossible to write
    assert len(records) >= 20 and 0.15 <= no / len(records) <= 0.35


def test_ids_are_unique_and_no_question_is_asked_twice_of_the_same_frames():
    records = _records(0)
    assert len({record.id for record in records}) == len(records)
    asked = {(r.question_type, r.question, r.frames) for r in records}
    assert len(asked) == len(records)


def test_records_depend_on_the_seed_and_nothing_else():
    scene, table = _annotated(1)
    config = GenerationConfig(per_type=5)
    runs = [compose(scene_context(scene, table, config, seed), seed) for seed in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]


def test_a_smaller_quota_of_one_type_leaves_the_others_alone():
    scene, table = _annotated(1)
    full = compose(scene_context(scene, table, GenerationConfig(per_type=6), 0), 0)
    config = GenerationConfig(per_type=6, quotas={"obj_count_occ": 0})
    rest = compose(scene_context(scene, table, config, 0), 0)
    assert rest == [record for record in full if record.question_type != "obj_count_occ"]


def test_labels_follow_from_the_numbers():
    for record in _records(2):
        bins = {"low": (0, 0.25), "medium": (0.25, 0.5), "high": (0.5, 0.75), "extreme": (0.75, 1.01)}
        low, high = bins[record.occ_level]
        assert low <= record.occlusion_avg < high
        assert (record.vis_level == "Fully Visible") == (record.occlusion_avg <= 0.05)
        expected = "high" if record.overlap_avg <= 10 else "medium" if record.overlap_avg <= 20 else "low"
        assert record.overlap_level == expected
        assert (record.bbox_2d == ()) == (record.bbox_2d_diag == 0.0)
        if record.question_type.startswith(("obj_spatial", "obj_existence", "obj_attribute")):
            assert len(record.target_ids) == len(record.reference_ids) == 1 and record.query_frame in record.frames
