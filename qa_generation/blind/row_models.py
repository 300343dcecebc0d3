"""Classifiers over rows: all deterministic, on one thread, with settings fit for a few thousand rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt64
from scipy.sparse import csr_matrix
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

LEAST_PROBABILITY = 1e-4
CROSS_BITS = 14


def forest(random_state: int, trees: int = 60) -> RandomForestClassifier:
    """Random forest (Breiman, 2001) as the Test-set Stress-Test uses it, leaves large enough to give probabilities."""
    return RandomForestClassifier(
        n_estimators=trees, min_samples_leaf=5, max_features=0.25, max_samples=0.6, n_jobs=1, random_state=random_state
    )


def boosting(random_state: int, rounds: int = 80) -> HistGradientBoostingClassifier:
    """Small gradient-boosted trees on binned features."""
    return HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.08,
        max_leaf_nodes=10,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_bins=64,
        early_stopping=False,
        random_state=random_state,
    )


def linear(strength: float = 0.1) -> LogisticRegression:
    """Logistic regression for sparse one-hot features."""
    return LogisticRegression(C=strength, max_iter=200, tol=1e-3)


def log_odds(model: Any, features: Any) -> Float[np.ndarray, " rows"]:
    """Log odds of the class ``True``; 0 where the model has met only one class."""
    probability = model.predict_proba(features)
    if probability.shape[1] < 2:
        return np.zeros(len(probability))
    p = np.clip(probability[:, 1], LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    return np.log(p) - np.log1p(-p)


def crossed(keys: UInt64[np.ndarray, "rows keys"]) -> csr_matrix:
    """The keys as sparse one-hot features, hashed into 2^14 columns."""
    rows, number = keys.shape
    columns: Int[np.ndarray, " entries"] = (keys >> np.uint64(64 - CROSS_BITS)).astype(np.int32).ravel()
    starts = np.arange(0, rows * number + 1, number)
    matrix = csr_matrix((np.ones(rows * number), columns, starts), shape=(rows, 1 << CROSS_BITS))
    matrix.sum_duplicates()
    return matrix
