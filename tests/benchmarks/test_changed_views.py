"""Baselines that ask the model again: which views it is shown, and a model without its geometry."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.spatialmosaic.baselines import NAMES, check_names, run_baselines
from benchmarks.spatialmosaic.baselines.geometry import has_geometry, without_geometry
from benchmarks.spatialmosaic.baselines.views import best_view, other_views, shuffled_views
from benchmarks.spatialmosaic.dataset import BenchData, load
from benchmarks.spatialmosaic.prompt import user_text
from benchmarks.spatialmosaic.results import Run, run_from_predictions
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from spatialvlm.loading import load_model
from tests.benchmarks.samples import make_record, write_images, write_split


def box(frame: str, role: str, *corners: int) -> dict[str, Any]:
    return {"frame": frame, "instance_id": 1, "role": role, "box": corners}


def written(root: Path, records: list[QARecord]) -> BenchData:
    write_split(root, "test", records)
    write_images(root, records)
    return load(root)


@pytest.fixture
def data(tmp_path: Path) -> BenchData:
    """Three scenes of four questions with 2-5 views each, two more questions about the views of the first."""
    records = [make_record("obj_count_occ", index, f"room_{scene}") for scene in range(3) for index in range(4)]
    records += [replace(records[1], id=f"again {number}", question="Another?") for number in range(2)]
    return written(tmp_path, records)


def rows(data: BenchData) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data.table.to_pylist()
    return found


def test_the_best_view_is_where_most_of_the_target_shows(tmp_path: Path) -> None:
    record = make_record("obj_count_occ", 1)
    first, second, third = record.frames
    evidence = [
        box(first, "reference", 0, 0, 500, 500),
        box(second, "target", 0, 0, 30, 30),
        box(third, "target", 0, 0, 20, 20),
        box(third, "target", 0, 0, 25, 25),
    ]
    (row,) = rows(best_view(written(tmp_path, [replace(record, evidence=json.dumps(evidence))])))
    assert row["images"] == [record.images[2]]


@pytest.mark.parametrize(("naming", "name"), [("index", "Frame 2"), ("stem", "frame_000010")])
def test_the_only_view_keeps_the_name_that_the_question_uses(naming: str, name: str, tmp_path: Path) -> None:
    record = make_record("obj_count_occ", 1)
    evidence = json.dumps([box(record.frames[1], "target", 0, 0, 9, 9)])
    (row,) = rows(best_view(written(tmp_path, [replace(record, evidence=evidence, frame_naming=naming)])))
    assert row["images"] == [record.images[1]]
    assert user_text(row).startswith(f"{name}: <image>\n") and user_text(row).count("<image>") == 1


def test_without_a_target_the_asked_frame_is_shown(tmp_path: Path) -> None:
    asked, other = make_record("obj_count_occ", 1), make_record("obj_count_occ", 2)
    evidence = json.dumps([box(other.frames[0], "target", 0, 0, 9, 9)])
    data = written(tmp_path, [replace(asked, query_frame=asked.frames[2]), replace(other, evidence=evidence)])
    assert rows(best_view(data))[0]["images"] == [asked.images[2]]


def test_best_view_needs_evidence(data: BenchData) -> None:
    with pytest.raises(InputError, match="no question says where its objects are seen"):
        best_view(data)


def test_other_views_are_as_many_from_another_scene_and_the_same_for_the_same_views(data: BenchData) -> None:
    before, after = rows(data), rows(other_views(data))
    for old, new in zip(before, after, strict=True):
        assert len(new["images"]) == len(old["images"]) and new["frames"] == old["frames"]
        assert all(old["scene_name"] not in name for name in new["images"])
        assert {key: new[key] for key in new if key != "images"} == {key: old[key] for key in old if key != "images"}
    assert after[1]["images"] == after[-1]["images"] == after[-2]["images"]
    assert rows(other_views(data)) == after and rows(other_views(data, seed=1)) != after


def test_one_scene_has_no_other_views(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one scene only"):
        other_views(written(tmp_path, [make_record("obj_count_occ", 0)]))


def test_shuffled_views_are_the_same_pictures_and_none_in_its_place(data: BenchData) -> None:
    for old, new in zip(rows(data), rows(shuffled_views(data)), strict=True):
        assert sorted(new["images"]) == sorted(old["images"]) and new["frames"] == old["frames"]
        assert all(a != b for a, b in zip(old["images"], new["images"], strict=True))


def test_geometry_is_bypassed_and_comes_back(model_dir: Path) -> None:
    model: Any = load_model(model_dir)[0]
    torch.manual_seed(0)
    size = model.config.vision_config.image_size
    views = torch.rand(2, 3, size, size)
    counts = torch.tensor([2])
    with torch.inference_mode():
        fused = model.encode_views(views, counts)["image"]
        with without_geometry(model):
            bare = model.encode_views(views, counts)["image"]
            assert not has_geometry(model)
            projected = model.model.language_tokens(bare.last_hidden_state, None)
        again = model.encode_views(views, counts)["image"]
    assert torch.equal(bare.last_hidden_state, fused.last_hidden_state)  # the vision tower is untouched
    assert torch.equal(torch.stack(bare.pooler_output), projected)
    assert not torch.equal(torch.stack(bare.pooler_output), torch.stack(fused.pooler_output))
    assert torch.equal(torch.stack(again.pooler_output), torch.stack(fused.pooler_output))


def test_geometry_comes_back_after_an_error(model_dir: Path) -> None:
    model: Any = load_model(model_dir)[0]
    with pytest.raises(RuntimeError), without_geometry(model):
        raise RuntimeError
    assert has_geometry(model)


def test_a_model_without_fusion_is_refused() -> None:
    with pytest.raises(InputError, match="no fusion block to bypass"), without_geometry(torch.nn.Linear(1, 1)):
        pass


def test_every_baseline_runs_by_its_name(tmp_path: Path) -> None:
    records = [make_record("obj_count_occ", i, f"room_{i % 6}") for i in range(24)]
    evidence = [json.dumps([box(record.frames[0], "target", 0, 0, 9, 9)]) for record in records]
    data = written(tmp_path, [replace(r, evidence=e) for r, e in zip(records, evidence, strict=True)])
    shown: dict[str, tuple[int, bool]] = {}

    def ask(data: BenchData, name: str, change: Callable[[Any], AbstractContextManager[None]] = nullcontext) -> Run:
        shown[name] = (data.max_views, change is not nullcontext)
        return run_from_predictions(name, [(row, "A") for row in rows(data)])

    asked = {record.id for record in records[:20]}
    runs = run_baselines(["all"], data, asked, ask)
    assert [run.name for run in runs] == [
        "chance",
        "constant (cross-fitted)",
        "question only (cross-fitted)",
        "best view",
        "other views",
        "shuffled views",
        "geometry bypassed",
    ]
    assert all({answer.id for answer in run.answers} == asked for run in runs)
    assert [run.role for run in runs] == ["expected", *["baseline"] * 6]
    assert shown == {
        "best view": (1, False),
        "other views": (5, False),
        "shuffled views": (5, False),
        "geometry bypassed": (5, True),
    }


def test_names_are_checked_and_put_in_order() -> None:
    assert check_names(["question_only", "chance"]) == ("chance", "question_only")
    assert check_names(["all"]) == NAMES
    with pytest.raises(InputError, match="baseline 'luck' is unknown, expected all or some of chance, constant"):
        check_names(["luck"])


def test_a_baseline_that_asks_the_model_needs_one(data: BenchData) -> None:
    with pytest.raises(InputError, match="asks the model again"):
        run_baselines(["shuffled_views"], data, {"again 0"})
