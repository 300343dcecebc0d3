"""Fits the plan: find what texts tell, leave out what tells most, look again, until little is left to find."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from qa_generation.blind import choices
from qa_generation.blind.answer_table import Answers, Bins, best_guesses
from qa_generation.blind.config import BlindConfig
from qa_generation.blind.dominance import category_keep
from qa_generation.blind.fold_models import fit_fold_models
from qa_generation.blind.folds import fold_of
from qa_generation.blind.option_table import OptionTable
from qa_generation.blind.plan import BlindPlan, Stage, TypePlan, coins, stays_by_coin
from qa_generation.prompts import ALL_TYPES, is_choice
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int

# how far up in the ratios of bins the keep chance reaches: bins of numbers need not be evened out to the rarest
ANSWER_LEVEL = 0.25
# options are evened out to the rarest that their form does not rule out
CHOICE_LEVEL = 0.01
# a stage that would leave too few is made milder by these factors of its strength
MILDER = (1.0, 0.7, 0.5, 0.35, 0.25)
# bins of answers and cells per side of the canvas, fewer than an audit's for speed
PLAN_BINS, PLAN_SIDE = 8, 3


def fit_plan(sample: Sequence[QARecord], config: BlindConfig | None = None, seed: int = 0) -> BlindPlan:
    """The plan for a pool of candidate records from a sample of it; deterministic, the order does not matter.

    Args:
        sample: all candidates of some scenes; of each type at most ``config.most_records`` are used.
        config: how far to go.
        seed: of the folds, models and coins.

    Raises:
        InputError: a number or point question without a readable answer.
    """
    config = config or BlindConfig()
    by_type: dict[str, list[QARecord]] = defaultdict(list)
    for record in sample:
        if record.question_type in ALL_TYPES:
            by_type[record.question_type].append(record)
    types: dict[str, TypePlan] = {}
    # one thread: how a sum is split among threads changes its last digits
    with threadpool_limits(limits=1):
        for question_type in sorted(by_type):
            group = bounded(by_type[question_type], config.most_records, seed)
            types[question_type] = _TypeFit(group, config, seed).plan()
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
            if not stages[-1].prunes:
                break
        return TypePlan(
            tuple(stages),
            self._summary(),
            CHOICE_LEVEL if self._is_choice else ANSWER_LEVEL,
            self._bins,
            self._prior,
            self._answers,
        )

    def _stage(self, number: int, last: bool) -> Stage:
        config = self._config
        rows = np.flatnonzero(self._alive)
        keep = category_keep(
            [self._records[i].target_category for i in rows], config.category_share, config.category_excess
        )
        self._leave_out(
            rows,
            coins(self._seed, [self._records[i] for i in rows], f"category {number}")
            < np.array([keep.get(self._records[i].target_category, 1.0) for i in rows]),
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
        strength = config.strength
        done = last or read.scale == 0.0 or score - baseline <= tolerance
        if not done:
            level = CHOICE_LEVEL if self._is_choice else ANSWER_LEVEL
            for strength in (config.strength * factor for factor in MILDER):
                chance = choices.keep_probability(table, read.honest(table), level, strength)
                stays = stays_by_coin(self._seed, left, number, chance)
                if not self._too_few(int(stays.sum())):
                    break
            done = self._too_few(int(stays.sum()))
        if not done:
            self._leave_out(rows, stays)
        self._rounds.append(
            {
                "records": len(left),
                "score": round(score, 4),
                "baseline": round(baseline, 4),
                "too_frequent": too_frequent,
                "told_by_text": len(left) - int(self._alive.sum()),
            }
        )
        return Stage(keep, models, read.scale, strength, prunes=not done)

    def _too_few(self, number: int) -> bool:
        return number < max(self._config.least_kept * len(self._records), self._config.least_records / 3)

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
        guess = best_guesses(table.grid(probability), answers, self._bins.index(answers))
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
