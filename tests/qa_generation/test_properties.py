"""What holds for every record of every room (specs 11.2), over rooms that hypothesis thinks up."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_generation.compose import compose, scene_context
from qa_generation.generation_config import GenerationConfig
from qa_generation.official import benchmark_row, training_row
from qa_generation.prompts import CHOICE_TYPES, NUMERIC_TYPES, QUESTION_TYPES
from qa_generation.records import QARecord, to_table
from qa_generation.settle import settle
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.visibility_table import VisibilityTable
from tests.qa_generation.rooms import random_room

HIDDEN = ("obj_existence", "obj_attribute", "obj_spatial")


def _check_table(table: VisibilityTable) -> None:
    for ratio in (table.object_occlusion, table.truncation, table.occlusion):
        known = ratio[~np.isnan(ratio)]
        assert ((known >= 0) & (known <= 1)).all()
    both = ~np.isnan(table.object_occlusion)
    product = 1 - (1 - table.object_occlusion[both]) * (1 - table.truncation[both])
    np.testing.assert_allclose(table.occlusion[both], product, atol=1e-12)
    np.testing.assert_array_equal(table.overlap, table.overlap.T)
    assert (np.diagonal(table.overlap) == 100).all() and ((table.overlap >= 0) & (table.overlap <= 100)).all()
    states = table.visible.astype(int) + table.absent + table.ambiguous
    assert (states == 1).all(), "every pair is exactly one of the three"


def _check_record(record: QARecord, table: VisibilityTable, sizes: dict[str, tuple[int, int]]) -> None:
    rows = [table.view_ids.index(frame) for frame in record.frames]
    columns = {i: table.instance_ids.index(i) for i in (*record.target_ids, *record.reference_ids)}
    assert 2 <= len(rows) <= 5 and len(set(rows)) == len(rows)
    assert len({sizes[frame] for frame in record.frames}) == 1
    pairs = [table.overlap[i, j] for i in rows for j in rows if i < j]
    assert max(pairs) <= 30 and record.overlap_max == max(pairs) and 0 <= record.overlap_avg <= 30
    assert 0 <= record.occlusion_avg <= 1 and 0 <= record.truncation_avg <= 1
    if record.question_type in CHOICE_TYPES:
        texts = [option[3:] for option in record.options]
        assert [option[:3] for option in record.options] == [f"{letter}. " for letter in "ABCD"[: len(texts)]]
        assert texts["ABCD".index(record.mc_answer)] == record.ground_truth and len(set(texts)) == len(texts)
        assert record.answer_value is None and record.unit == ""
    else:
        assert record.options == () and record.mc_answer == ""
    if record.question_type in NUMERIC_TYPES:
        assert record.answer_value is not None and record.answer_value > 0
        half_unit = {"m": 0.05, "cm": 0.5, "objects": 0.0}[record.unit]
        assert abs(float(record.ground_truth) - record.answer_value) <= half_unit + 1e-9
        unit_words = {"m": "in metres", "cm": "in centimetres", "objects": "whole number"}
        assert unit_words[record.unit] in record.question
    if record.question_type.startswith(HIDDEN):
        query, (target, reference) = rows[record.frames.index(record.query_frame)], columns.values()
        assert table.absent[query, target] and table.visible[rows, target].any() and table.visible[query, reference]
    for column in columns.values():
        assert table.visible[rows, column].any(), "what decides the answer is visible in some frame"
    if record.bbox_2d:
        x0, y0, x1, y1 = record.bbox_2d
        assert 0 <= x0 < x1 <= record.coord_size[0] and 0 <= y0 < y1 <= record.coord_size[1]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    room=st.integers(0, 10_000),
    seed=st.integers(0, 100),
    naming=st.sampled_from(["index", "stem"]),
    relations=st.sampled_from(["paired", "published"]),
)
def test_every_record_of_every_room(room: int, seed: int, naming: str, relations: str):
    scene = random_room(room, objects=24, views=14)
    table = annotate(scene, VisibilityConfig(voxel_m=0.05))
    _check_table(table)
    config = GenerationConfig(per_type=6, frame_naming=naming, relation_options=relations, blind=None)
    records = settle(compose(scene_context(scene, table, config, seed), seed), None, config, seed)
    sizes = {view.view_id: view.size for view in scene.views}
    for record in records:
        assert record.question_type in QUESTION_TYPES and "\n" not in record.question
        _check_record(record, table, sizes)
        if record.query_frame:
            said = f"Frame {record.frames.index(record.query_frame) + 1}" if naming == "index" else record.query_frame
            assert said in record.question
        json.dumps([training_row(record), benchmark_row(record, 0)], allow_nan=False)
    assert len({record.id for record in records}) == len(records)
    assert [QARecord.from_row(row) for row in to_table(records).to_pylist()] == records
