"""The blind audit finds planted giveaways and finds none where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from qa_generation.blind.audit import audit_records
from qa_generation.blind.folds import even_folds, fold_of
from qa_generation.blind.scores import best_constant, best_point, clustered_mean, point_accuracy, relative_accuracy
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from qa_generation.shards import shard_path, write_shard
from qa_generation.tasks.relations import AXES, PHRASES
from spatialvlm.cli import build_app
from tests.qa_generation import blind_records as make


def audited(records: list[QARecord], seed: int = 0):
    """The report of the only type in there."""
    report = audit_records(records, seed=seed)
    (found,) = report.types.values()
    return found


@pytest.mark.parametrize(("one", "chance"), [(make.existence, 0.5), (make.count, 0.25), (make.located, 0.25)])
def test_answers_by_coin_are_within_noise_of_chance(one, chance: float) -> None:
    found = audited(make.made(one, 400, 30))
    assert found.baseline == pytest.approx(chance)
    assert found.structural == pytest.approx(chance)
    # the best of four readers, each with a standard error of about two and a half points
    assert found.best < chance + 0.09


def test_names_that_decide_a_direction_are_found() -> None:
    found = audited(make.made(make.with_habit(make.existence, bias=0.9), 400, 30))
    # 0.9 decided by names, half of the rest by luck
    assert 0.85 < found.best < 0.99
    assert not found.passed


def test_numbers_that_go_with_a_name_are_found_by_every_reader() -> None:
    found = audited(make.made(make.with_habit(make.count, habit=0.6), 500, 30))
    assert set(found.scores) == {"forest", "boosting", "text", "together"}
    assert min(found.scores.values()) > 0.55


def test_the_outermost_point_is_found() -> None:
    assert audited(make.made(make.with_habit(make.located, outermost=True), 400, 30)).best > 0.6


def test_a_right_letter_that_is_always_the_same_is_found() -> None:
    records = [
        replace(r, options=(f"A. {r.ground_truth}", f"B. {'No' if r.ground_truth == 'Yes' else 'Yes'}"), mc_answer="A")
        for r in make.made(make.existence, 300, 20)
    ]
    assert audited(records).best > 0.95


def published_relation(number: int, scene: int, rng: np.random.Generator) -> QARecord:
    """A coin for every axis: the true phrase, its opposite, and what is false on the two other axes."""
    lr, ab, fb = (PHRASES[axis] for axis in AXES)
    sign, other, third = (int(v) for v in rng.integers(2, size=3))
    wrong = [f"{phrase} the lamp." for phrase in (lr[1 - sign], ab[other], fb[third])]
    return make.record(
        number,
        scene,
        "obj_spatial_occ_lr",
        "Seen from Frame 1, where is the vase with respect to the lamp?",
        f"{lr[sign]} the lamp.",
        wrong=[wrong[i] for i in rng.permutation(3)],
        position=int(rng.integers(4)),
        target_category="vase",
        reference_category="lamp",
    )


def test_published_relation_options_give_one_half_by_their_form() -> None:
    records = make.made(published_relation, 300, 20)
    found = audited(records)
    assert found.baseline == 0.25
    assert found.structural == pytest.approx(0.498)
    assert 0.4 < found.best < 0.6


def test_lengths_that_go_with_a_name_beat_the_best_constant() -> None:
    told = audited(make.made(make.with_habit(make.size, habit=0.9), 160, 20))
    open_ = audited(make.made(make.size, 160, 20))
    assert told.metric == open_.metric == "MRA"
    assert told.excess > 0.25
    assert not told.passed
    assert abs(open_.excess) < 0.1


@pytest.mark.slow
def test_places_that_go_with_a_name_beat_the_best_point() -> None:
    told = audited(make.made(make.with_habit(make.point, habit=0.9), 160, 20))
    open_ = audited(make.made(make.point, 160, 20))
    assert told.metric == "MPA"
    assert told.excess > 0.3
    assert open_.excess < 0.1


def test_bias_is_high_where_the_text_tells_and_low_where_it_misleads() -> None:
    records = make.made(make.with_habit(make.existence, bias=0.9), 400, 30)
    report = audit_records(records)

    def told(r: QARecord) -> bool:
        higher = make.NAMES.index(r.target_category) > make.NAMES.index(r.reference_category)
        return (r.ground_truth == "Yes") == (higher == ("higher" in r.question))

    as_names_say = [report.bias[r.id] for r in records if told(r)]
    against = [report.bias[r.id] for r in records if not told(r)]
    assert np.mean(as_names_say) > 0.75
    assert np.mean(against) < 0.35


def test_same_report_whatever_the_order() -> None:
    records = make.made(make.with_habit(make.count, habit=0.3), 120, 10)
    shuffled = [records[i] for i in np.random.default_rng(1).permutation(len(records))]
    assert audit_records(records, seed=5).to_json(True) == audit_records(shuffled, seed=5).to_json(True)


def test_few_records_or_scenes_are_skipped_with_a_reason() -> None:
    report = audit_records(make.made(make.count, 30, 10) + make.made(make.existence, 80, 3))
    assert not report.types
    assert "30 records of 10 scenes" in report.skipped["obj_count_occ"]
    assert "80 records of 3 scenes" in report.skipped["obj_existence_occ_ab"]


def test_an_unreadable_number_is_named() -> None:
    records = make.made(make.size, 60, 10)
    records[7] = replace(records[7], ground_truth="long")
    with pytest.raises(InputError, match=r"0007.*'long'.*expected a number"):
        audit_records(records)


def test_folds_never_share_a_scene_and_rescans_stay_together() -> None:
    scenes = [f"scene{i:04d}_{k:02d}" for i in range(30) for k in range(3)]
    fold = even_folds(scenes, seed=3, folds=5)
    assert sorted(np.bincount(fold)) == [18] * 5
    for i in range(30):
        assert len({int(f) for f in fold[3 * i : 3 * i + 3]}) == 1
        assert len({fold_of(s, 3, 5) for s in scenes[3 * i : 3 * i + 3]}) == 1


def test_relative_accuracy_by_hand() -> None:
    # specs 8.3: 4 for 5 is off by 0.2, within six of the ten tolerances; 0 gets nothing; exact gets all
    guess, truth = np.array([4.0, 0.0, 5.0, 2.0]), np.array([5.0, 3.0, 5.0, 3.0])
    assert relative_accuracy(guess, truth).tolist() == pytest.approx([0.6, 0.0, 1.0, 0.4])


def test_point_accuracy_by_hand() -> None:
    guess, truth = np.array([[5.0, 0.0], [8.0, 0.0], [15.0, 0.0]]), np.zeros((3, 2))
    assert point_accuracy(guess, truth, np.full(3, 10.0)).tolist() == pytest.approx([1.0, 0.6, 0.0])


def test_best_constants_by_hand() -> None:
    # guessing 2 is right three times out of four and worth nothing for 10
    assert best_constant(np.array([2.0, 2.0, 2.0, 10.0])) == 2.0
    cluster = np.array([[100.0, 100.0]] * 5 + [[400.0, 400.0]])
    assert best_point(cluster, np.full(6, 30.0)).tolist() == [100.0, 100.0]


def test_scenes_that_agree_within_make_the_error_larger() -> None:
    scenes = [f"room_{i // 10}" for i in range(200)]
    values = np.repeat(np.arange(20) % 2, 10).astype(float)
    mean, error = clustered_mean(values, scenes)
    assert mean == 0.5
    # twenty scenes that are all right or all wrong: as good as twenty coins
    assert error == pytest.approx(0.5 / np.sqrt(19))


def test_command_prints_a_table_and_writes_the_report(tmp_path: Path) -> None:
    for records in make.by_scene(make.made(make.with_habit(make.count, habit=0.8), 200, 10)):
        write_shard(shard_path(tmp_path, "test", records[0].scene_name), records, "x")
    out = tmp_path / "blind.json"
    result = CliRunner().invoke(build_app(), ["blind-audit", str(tmp_path), "--out", str(out), "--strict"])
    assert result.exit_code == 1
    assert "obj_count_occ" in result.stdout
    written = json.loads(out.read_text())
    assert written["types"]["obj_count_occ"]["best"] > 0.6
    assert written["types"]["obj_count_occ"]["baseline"] == 0.25
    assert len(written["bias"]) == 200


def test_command_names_the_splits_there_are(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    result = CliRunner().invoke(build_app(), ["blind-audit", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "'test'" in str(result.exception)
    assert "train" in str(result.exception)
