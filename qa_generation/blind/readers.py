"""The blind readers of an audit: each rates every option, learned from scenes of other folds only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_matrix

from qa_generation.blind.choices import Reading, reading
from qa_generation.blind.habits import HabitSums
from qa_generation.blind.option_features import option_features
from qa_generation.blind.option_table import OptionTable
from qa_generation.blind.row_models import boosting, forest, linear, log_odds
from qa_generation.seeding import stable_int

READERS = ("forest", "boosting", "text")
TOGETHER = "together"


def read_blindly(
    table: OptionTable, texts: csr_matrix, fold: Int[np.ndarray, " records"], folds: int, seed: int
) -> Mapping[str, Reading]:
    """Out-of-fold ratings of every option by each of `READERS`, and by all of them ``together``.

    Args:
        table: options with hand-made features.
        texts: the same rows as hashed words.
        fold: of every record, by scene.
        folds: their number.
        seed: of the forests.
    """
    row_fold = fold[table.record]
    ratings = {name: np.zeros(len(table.slot)) for name in READERS}
    sums = HabitSums(table.keys, row_fold, table.truth.astype(np.float64), table.prior, folds)
    habits = sums.habits()
    for number in range(folds):
        train, test = np.flatnonzero(row_fold != number), np.flatnonzero(row_fold == number)
        if not len(test) or len(np.unique(table.truth[train])) < 2:
            continue
        known = option_features(table, sums.inside(number), with_position=True)[train]
        asked = option_features(table, habits.look_up(table.keys, number), with_position=True)[test]
        random_state = stable_int(seed, "blind audit", str(number)) % 2**31
        for name, model in (("forest", forest(random_state)), ("boosting", boosting(random_state))):
            ratings[name][test] = log_odds(model.fit(known, table.truth[train]), asked)
        ratings["text"][test] = log_odds(linear(0.3).fit(texts[train], table.truth[train]), texts[test])
    prior = np.log(table.prior) - np.log1p(-np.minimum(table.prior, 1.0 - 1e-9))
    ratings = {name: values - prior for name, values in ratings.items()}
    read = {name: reading(table, values) for name, values in ratings.items()}
    total = sum((found.scale * found.ratings for found in read.values()), np.zeros(len(table.slot)))
    return {**read, TOGETHER: reading(table, total)}
