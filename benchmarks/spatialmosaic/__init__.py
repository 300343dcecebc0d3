"""SpatialMosaic-Bench: scoring, lm-eval tasks, baselines and reports."""

from benchmarks.spatialmosaic.repair import score_repaired
from benchmarks.spatialmosaic.scoring import (
    ACCURACY,
    MEAN_POINT_ACCURACY,
    MEAN_RELATIVE_ACCURACY,
    aggregate,
    metric_of,
    score_prediction,
)

__all__ = [
    "ACCURACY",
    "MEAN_POINT_ACCURACY",
    "MEAN_RELATIVE_ACCURACY",
    "aggregate",
    "metric_of",
    "score_prediction",
    "score_repaired",
]
