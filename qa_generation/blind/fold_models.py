"""Question-only models, one per fold of scenes: what is said of a question never comes from its own scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from sklearn.ensemble import HistGradientBoostingClassifier

from qa_generation.blind.habits import Habits, HabitSums
from qa_generation.blind.option_features import option_features
from qa_generation.blind.option_table import OptionTable
from qa_generation.blind.row_models import boosting, crossed, linear, log_odds
from qa_generation.seeding import stable_int


@dataclass(frozen=True, eq=False)
class FoldModels:
    """For each fold: habits, boosted trees on features and a linear model on keys, all learned from the other folds.

    A fold has neither where there was nothing to learn from: it rates all options 0.
    """

    habits: Habits
    trees: tuple[HistGradientBoostingClassifier | None, ...]
    weights: Float32[np.ndarray, "folds columns"]
    offsets: Float32[np.ndarray, " folds"]

    def ratings(self, table: OptionTable, fold: Int[np.ndarray, " records"]) -> Float[np.ndarray, " rows"]:
        """Log odds of every option beside its prior by the models that did not see its scene."""
        result = np.zeros(len(table.slot))
        row_fold = fold[table.record]
        for number in np.unique(row_fold):
            rows = row_fold == number
            evidence = np.zeros(table.keys.shape)
            evidence[rows] = self.habits.look_up(table.keys[rows], int(number))
            result[rows] = self._rate(table, evidence, int(number))[rows]
        return result

    def _rate(
        self, table: OptionTable, evidence: Float[np.ndarray, "rows keys"], fold: int
    ) -> Float[np.ndarray, " rows"]:
        model = self.trees[fold]
        if model is None:
            return np.zeros(len(table.slot))
        by_trees = log_odds(model, option_features(table, evidence, with_position=False))
        by_keys = crossed(table.keys) @ self.weights[fold].astype(np.float64) + self.offsets[fold]
        return (by_trees + by_keys) / 2 - _logit(table.prior)


def fit_fold_models(table: OptionTable, fold: Int[np.ndarray, " records"], folds: int, seed: int) -> FoldModels:
    """Models for ``folds`` folds, fitted on this table; run under one thread for the same bytes everywhere."""
    row_fold = fold[table.record]
    sums = HabitSums(table.keys, row_fold, table.truth.astype(np.float64), table.prior, folds)
    one_hot = crossed(table.keys)
    trees: list[HistGradientBoostingClassifier | None] = []
    weights, offsets = np.zeros((folds, one_hot.shape[1]), dtype=np.float32), np.zeros(folds, dtype=np.float32)
    for number in range(folds):
        rows = np.flatnonzero(row_fold != number)
        if len(np.unique(table.truth[rows])) < 2:
            trees.append(None)
            continue
        features = option_features(table, sums.inside(number), with_position=False)
        model = boosting(stable_int(seed, "blind trees", str(number)) % 2**31)
        trees.append(model.fit(features[rows], table.truth[rows]))
        keys = linear().fit(one_hot[rows], table.truth[rows])
        weights[number], offsets[number] = keys.coef_[0], keys.intercept_[0]
    return FoldModels(sums.habits(), tuple(trees), weights, offsets)


def _logit(p: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    return np.log(p) - np.log1p(-np.minimum(p, 1.0 - 1e-9))
