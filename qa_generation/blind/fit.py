"""Fits the plan: find what texts tell, leave out what tells most, look again, until little is left to find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from qa_generation.blind import choices
from qa_generation.blind.answer_table import Answers, Bins, Guesser
from qa_generation.blind.config import BlindConfig
from qa_generation.blind.dominance import category_keep
from qa_generation.blind.fold_models import fit_fold_models
from qa_generation.blind.folds import fold_of
from qa_generation.blind.one_thread import one_thread
from qa_generation.blind.option_table import OptionTable
from qa_generation.blind.plan import BlindPlan, Stage, TypePlan, coins
from qa_generation.blind.rules import Rule, answer_rules, choice_rules, keep_probability
from qa_generation.prompts import ALL_TYPES, is_choice
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int

# bins of answers and cells per side of the canvas, fewer than an audit's for speed
PLAN_BINS, PLAN_SIDE = 8, 3
# stages after the first give at most this share of the records to keep names from dominating
LATER_LOSS = 0.1


def fit_plan(sample: Sequence[QARecord], config: BlindConfig | None = None, seed: int = 0) -> BlindPlan:
    """The plan for a pool of candidate records from a sample of it; deterministic, the order does not matter.

    Args:
        sample: all candidates of some scenes; of each type at most ``config.most_records`` are used.
        config: how far to go.
        seed: of the folds, models and coins.

    Raises:
        InputError: a number or point question without a readable answer.
    """
    by_type: dict[str, list[QARecord]] = defaultdict(list)
    for record in sample:
        by_type[record.question_type].append(record)
    return fit_groups(sorted(by_type.items()), config, seed)


def fit_groups(
    groups: Iterable[tuple[str, Sequence[QARecord]]], config: BlindConfig | None = None, seed: int = 0
) -> BlindPlan:
    """`fit_plan` for a sample that comes one question type after the other, so that only one need be in memory."""
    config = config or BlindConfig()
    types: dict[str, TypePlan] = {}
    with one_thread():
        for question_type, group in groups:
            if question_type in ALL_TYPES:
                mine = bounded(group, config.most_records, seed)
                types[question_type] = _TypeFit(mine, config, seed).plan()
    return BlindPlan(types, seed, config.folds)


def bounded(records: Sequence[QARecord], most: int, seed: int) -> list[QARecord]:
    """At most ``most`` records, sorted by id: by hash, so that many scenes give a few each, since habits are those of
    scenes and not of questions."""
    ranked = sorted(records, key=lambda record: (stable_int(seed, "blind sample", record.id), record.id))
    return sorted(ranked[:most], key=lambda record: record.id)


class _TypeFit:
    """The rounds of one question type."""

    def __init__(self, records: list[QARecord], config: BlindConfig, seed: int) -> None:
        self._records, self._config, self._seed = records, config, seed
        self._alive = np.ones(len(records), dtype=bool)
        self._is_choice = is_choice(records[0].question_type)
        self._rounds: list[dict[str, Any]] = []
        self._bins: Bins | None = None
        self._prior: Float[np.ndarray, " bins"] | None = None
        self._answers: Answers | None = None
        self._window: tuple[int, int] | None = None

    def plan(self) -> TypePlan:
        records, config = self._records, self._config
        scenes = len({record.scene_name for record in records})
        if len(records) < config.least_records or scenes < config.folds:
            why = f"not pruned: {len(records)} records of {scenes} scenes, expected at least {config.least_records}"
            return TypePlan((), {"records": len(records), "note": why})
        if not self._is_choice:
            self._answers = Answers.of(records)
            self._bins = Bins.of(self._answers, PLAN_BINS, PLAN_SIDE)
        stages = []
        for number in range(config.stages + 1):
            stages.append(self._stage(number, last=number == config.stages))
            if stages[-1].rule is None:
                break
        guesser = None
        if self._answers is not None and self._bins is not None:
            left = self._answers.only(self._alive)
            guesser = Guesser.of(left, self._bins.index(left), self._bins.number)
        return TypePlan(tuple(stages), self._summary(), self._bins, self._prior, guesser)

    def _stage(self, number: int, last: bool) -> Stage:
        config = self._config
        rows = np.flatnonzero(self._alive)
        names = [self._records[i].target_category for i in rows]
        most_lost = LATER_LOSS if number else 1.0
        keep = category_keep(names, config.category_share, config.category_excess, most_lost)
        self._leave_out(
            rows,
            coins(self._seed, [self._records[i] for i in rows], f"category {number}")
            < np.array([keep.get(name, 1.0) for name in names]),
        )
        too_frequent = len(rows) - int(self._alive.sum())
        rows = np.flatnonzero(self._alive)
        left = [self._records[i] for i in rows]
        table = self._table(left)
        fold = np.array([fold_of(record.scene_name, self._seed, config.folds, number) for record in left])
        models = fit_fold_models(table, fold, config.folds, self._seed)
        read = choices.reading(table, models.ratings(table, fold))
        score, baseline = self._scores(table, read.decided(table), rows)
        tolerance = config.tolerance if self._is_choice else config.numeric_tolerance
        # a type that had to be pruned once is pruned at least twice: what little is left adds up over a larger set
        done = last or read.scale == 0.0 or (number != 1 and score - baseline <= tolerance)
        found = None if done else self._first_that_leaves_enough(table, read.honest(table), number, left)
        if found is not None:
            self._leave_out(rows, found[1])
            self._window = found[0].window
        self._rounds.append(
            {
                "records": len(left),
                "score": round(score, 4),
                "baseline": round(baseline, 4),
                "too_frequent": too_frequent,
                "told_by_text": len(left) - int(self._alive.sum()),
                "strength": found[0].strength if found else 0.0,
            }
        )
        return Stage(keep, models, read.scale, found[0] if found else None)

    def _first_that_leaves_enough(
        self, table: OptionTable, probability: Float[np.ndarray, " rows"], number: int, left: Sequence[QARecord]
    ) -> tuple[Rule, Bool[np.ndarray, " alive"]] | None:
        """The rule, and which questions stay by it; None where even the mildest leaves too few."""
        strength = self._config.strength
        rules = choice_rules(strength)
        if self._bins is not None:
            may_narrow = len(self._bins.edges) == 1
            rules = answer_rules(strength, self._bins.number, self._window, may_narrow)
        coin = coins(self._seed, left, f"stage {number}")
        for rule in rules:
            stays = coin < keep_probability(table, probability, rule)
            if not self._too_few(int(stays.sum())):
                return rule, stays
        return None

    def _too_few(self, number: int) -> bool:
        return number < max(self._config.least_kept * len(self._records), self._config.least_records / 5)

    def _leave_out(self, rows: Int[np.ndarray, " alive"], stays: Bool[np.ndarray, " alive"]) -> None:
        self._alive[rows[~stays]] = False

    def _table(self, records: Sequence[QARecord]) -> OptionTable:
        if self._bins is None or self._answers is None:
            return TypePlan((), {}).table(records)
        if self._prior is None:
            index = self._bins.index(self._answers)
            self._prior = (np.bincount(index, minlength=self._bins.number) + 1.0) / (len(index) + self._bins.number)
        return TypePlan((), {}, bins=self._bins, prior=self._prior).table(records)

    def _scores(
        self, table: OptionTable, probability: Float[np.ndarray, " rows"], rows: Int[np.ndarray, " alive"]
    ) -> tuple[float, float]:
        """Blind score and the guesser's."""
        if self._answers is None or self._bins is None:
            return float(choices.right(table, probability).mean()), float(
                table.grid(table.prior, fill=0.0).max(axis=1).mean()
            )
        answers = self._answers.only(rows)
        guesser = Guesser.of(answers, self._bins.index(answers), self._bins.number)
        guess = guesser.guess(table.grid(probability))
        constant = np.tile(answers.constant(), (len(rows), 1))
        return float(answers.score(guess).mean()), float(answers.score(constant).mean())

    def _summary(self) -> dict[str, Any]:
        first, last = self._rounds[0], self._rounds[-1]
        return {
            "metric": "accuracy" if self._answers is None else "MPA" if self._answers.are_points else "MRA",
            "records": len(self._records),
            "kept": int(self._alive.sum()),
            "before": first["score"],
            "after": last["score"],
            "baseline": last["baseline"],
            "stages": self._rounds,
        }
