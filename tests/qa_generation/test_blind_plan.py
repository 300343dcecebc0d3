"""The plan leaves out what texts give away, the same in every process, and nothing where there is nothing to find."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from qa_generation.blind.audit import audit_records
from qa_generation.blind.config import BlindConfig
from qa_generation.blind.dominance import category_keep
from qa_generation.blind.fit import bounded, fit_plan
from qa_generation.blind.folds import fold_of
from qa_generation.blind.option_table import option_table
from qa_generation.blind.plan import BlindPlan, judge
from qa_generation.blind.rules import Rule, keep_probability
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from tests.qa_generation import blind_records as make


def pruned(records: list[QARecord], plan: BlindPlan) -> tuple[list[QARecord], Counter[str]]:
    """What the plan keeps of all scenes, and why the rest went."""
    kept, reasons = [], Counter[str]()
    for scene in make.by_scene(records):
        stays, why = plan.keep(scene)
        kept += stays
        reasons += why
    return kept, reasons


def blind_lead(records: list[QARecord]) -> float:
    """The best reader's lead over a guesser, by folds and forests the plan never had."""
    (report,) = audit_records(records, seed=77).types.values()
    return report.excess


@pytest.fixture(scope="module")
def told() -> list[QARecord]:
    """Existence questions half of which names decide."""
    return make.made(make.with_habit(make.existence, bias=0.6), 1200, 40)


@pytest.fixture(scope="module")
def plan(told: list[QARecord]) -> BlindPlan:
    return fit_plan(told, seed=1)


def test_what_names_decide_is_pruned_to_chance(told: list[QARecord], plan: BlindPlan) -> None:
    kept, reasons = pruned(told, plan)
    assert blind_lead(told) > 0.2
    assert blind_lead(kept) < 0.09
    assert len(kept) > 0.25 * len(told)
    assert reasons["obj_existence_occ_ab: told by its text"] == len(told) - len(kept)


def test_scenes_the_plan_never_saw_are_pruned_too(plan: BlindPlan) -> None:
    new = make.made(make.with_habit(make.existence, bias=0.6), 800, 40, seed=9)
    new = [replace(r, id=f"new.{r.id}", scene_name=f"new_{r.scene_name}") for r in new]
    kept, _ = pruned(new, plan)
    assert blind_lead(kept) < 0.1 < 0.2 < blind_lead(new)


def test_kept_records_are_the_given_ones_in_order_with_a_bias(told: list[QARecord], plan: BlindPlan) -> None:
    scene = make.by_scene(told)[3]
    kept, reasons = plan.keep(scene)
    ids = [r.id for r in scene]
    assert [ids.index(r.id) for r in kept] == sorted(ids.index(r.id) for r in kept)
    assert len(kept) + reasons.total() == len(scene)
    for record in kept:
        assert record.bias_score is not None
        assert 0.0 <= record.bias_score <= 1.0
        assert replace(record, bias_score=None) in scene


def test_fate_does_not_depend_on_the_other_records(told: list[QARecord], plan: BlindPlan) -> None:
    scene = make.by_scene(told)[7]
    kept = {r.id: r.bias_score for r in plan.keep(scene)[0]}
    alone = {r.id: r.bias_score for one in scene for r in plan.keep([one])[0]}
    assert alone == kept


def test_same_plan_whatever_the_order_and_after_a_pickle(told: list[QARecord], plan: BlindPlan) -> None:
    shuffled = [told[i] for i in np.random.default_rng(4).permutation(len(told))]
    again = pickle.loads(pickle.dumps(fit_plan(shuffled, seed=1)))
    assert again.summary() == plan.summary()
    assert pruned(told, again) == pruned(told, plan)


def test_another_seed_throws_other_coins(told: list[QARecord], plan: BlindPlan) -> None:
    other = replace(plan, seed=2)
    assert [r.id for r in pruned(told[:400], other)[0]] != [r.id for r in pruned(told[:400], plan)[0]]


def test_judging_models_never_saw_the_scene(told: list[QARecord], plan: BlindPlan) -> None:
    # the habits a scene is judged by are those of the other groups: new records of its own group change nothing
    (stage, *_) = plan.types["obj_existence_occ_ab"].stages
    assert stage.models is not None
    scene = make.by_scene(told)[0]
    fold = fold_of(scene[0].scene_name, 1, 5)
    flipped = [
        replace(r, mc_answer="A" if r.mc_answer == "B" else "B") if fold_of(r.scene_name, 1, 5) == fold else r
        for r in told
    ]
    other = fit_plan(flipped, seed=1).types["obj_existence_occ_ab"].stages[0].models
    table = option_table(scene)
    folds = np.full(len(scene), fold)
    assert other is not None
    assert np.array_equal(stage.models.ratings(table, folds), other.ratings(table, folds))


def test_nothing_much_goes_where_coins_answer() -> None:
    records = make.made(make.existence, 800, 40)
    kept, _ = pruned(records, fit_plan(records, seed=1))
    assert len(kept) > 0.85 * len(records)


@pytest.mark.slow
def test_numbers_of_a_name_are_pruned() -> None:
    records = make.made(make.with_habit(make.count, habit=0.4), 1000, 40)
    plan = fit_plan(records, seed=1)
    kept, _ = pruned(records, plan)
    assert plan.summary()["types"]["obj_count_occ"]["before"] > 0.45
    assert blind_lead(kept) < 0.1
    assert len(kept) > 0.2 * len(records)


@pytest.mark.slow
def test_lengths_of_a_name_are_pruned() -> None:
    records = make.made(make.with_habit(make.size, habit=0.5), 600, 40)
    plan = fit_plan(records, seed=1)
    kept, _ = pruned(records, plan)
    found = plan.summary()["types"]["obj_size_occ_na"]
    assert found["before"] > found["baseline"] + 0.1
    assert blind_lead(kept) < 0.09
    assert len(kept) > 0.15 * len(records)


def test_few_records_are_left_as_they_are_and_the_summary_says_so() -> None:
    records = make.made(make.with_habit(make.existence, bias=0.9), 200, 20)
    plan = fit_plan(records, seed=1)
    kept, reasons = plan.keep(make.by_scene(records)[0])
    assert kept == make.by_scene(records)[0]
    assert not reasons
    assert "200 records of 20 scenes" in plan.summary()["types"]["obj_existence_occ_ab"]["note"]


def test_a_name_asked_too_often_is_thinned_to_its_share() -> None:
    rng = np.random.default_rng(0)
    records = make.made(make.existence, 1200, 40)
    often = [replace(r, target_category="chair") if rng.random() < 0.5 else r for r in records]
    kept, reasons = pruned(often, fit_plan(often, seed=1))
    share = Counter(r.target_category for r in kept)["chair"] / len(kept)
    # twelve names: one and a half times the even share
    assert share < 0.125 * 1.35
    assert reasons["obj_existence_occ_ab: category too frequent"] > 300


def test_category_keep_by_hand() -> None:
    # six kinds: at most a quarter each. 60 of 100 are chairs; 40 others leave room for 40 / 3 chairs
    names = ["chair"] * 60 + [name for name in "abcde" for _ in range(8)]
    assert category_keep(names, share=0.05, excess=1.5) == {"chair": pytest.approx(40 / 3 / 60, abs=1e-5)}
    assert category_keep(["chair"] * 10, share=0.05, excess=1.5) == {}
    assert category_keep(list("abcdef") * 5, share=0.05, excess=1.5) == {}


def test_keep_probability_evens_out_options_by_hand() -> None:
    table = option_table(make.made(make.count, 1, 1))
    likely = np.where(table.truth, 0.7, 0.1)
    # the truth is seven times as likely as each other: one in seven stays, and then all four are equally likely
    assert keep_probability(table, likely, Rule()).tolist() == pytest.approx([1 / 7])
    assert keep_probability(table, likely, Rule(strength=0.5)).tolist() == pytest.approx([7**-0.5])
    unlikely = np.where(table.truth, 0.1, 0.3)
    assert keep_probability(table, unlikely, Rule()).tolist() == [1.0]


def test_a_sample_is_bounded_and_spread_over_scenes() -> None:
    records = make.made(make.existence, 500, 25)
    some = bounded(records, 100, seed=0)
    assert len(some) == 100
    assert len({r.scene_name for r in some}) > 20
    assert some == bounded(records[::-1], 100, seed=0)


def test_summary_is_json_and_counts_add_up(told: list[QARecord], plan: BlindPlan) -> None:
    summary = json.loads(json.dumps(plan.summary()))["types"]["obj_existence_occ_ab"]
    gone = sum(stage["too_frequent"] + stage["told_by_text"] for stage in summary["stages"])
    assert summary["records"] == len(told)
    assert summary["kept"] == len(told) - gone
    assert summary["before"] > 0.7 > 0.55 > summary["after"]


def test_the_sample_is_pruned_as_the_summary_says(told: list[QARecord], plan: BlindPlan) -> None:
    # a record of the sample meets the same coins and models when its scene is settled
    kept, _ = pruned(told, plan)
    assert len(kept) == plan.summary()["types"]["obj_existence_occ_ab"]["kept"]


def test_records_of_two_scenes_at_once_are_refused(told: list[QARecord], plan: BlindPlan) -> None:
    with pytest.raises(InputError, match="2 scenes"):
        plan.keep(told[:2])


def test_types_the_plan_does_not_know_pass(plan: BlindPlan) -> None:
    (record,) = make.made(make.size, 1, 1)
    assert plan.keep([record]) == ([record], Counter())


def test_judge_says_why(told: list[QARecord], plan: BlindPlan) -> None:
    scene = make.by_scene(told)[0]
    bias, reasons = judge(plan.types["obj_existence_occ_ab"], scene, plan.seed, plan.folds)
    assert set(reasons) <= {"", "told by its text", "category too frequent"}
    # what is left out was likelier told than what stays
    gone = np.array([bool(reason) for reason in reasons])
    assert bias[gone].mean() > bias[~gone].mean()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("folds", 2),
        ("stages", -1),
        ("strength", 0.0),
        ("least_records", 0),
        ("category_excess", 0.5),
        ("tolerance", -1.0),
    ],
)
def test_settings_that_cannot_be_are_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=field):
        BlindConfig(**{field: value})  # type: ignore[arg-type]
