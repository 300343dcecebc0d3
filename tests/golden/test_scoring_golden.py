"""The scorer against answers scored by the published one: the shared golden set and the copy in ``tests/data``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.spatialmosaic import aggregate, score_prediction
from tests.golden.conftest import ROOT, golden_root

EMBEDDED = ROOT / "tests" / "data" / "golden_scoring"


@pytest.fixture(scope="module", params=["shared", "embedded"])
def scoring_dir(request: pytest.FixtureRequest) -> Path:
    folder = EMBEDDED if request.param == "embedded" else golden_root() / "scoring"
    if not folder.is_dir():
        message = f"no golden files at {folder}; set SPATIALVLM_GOLDEN"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="module")
def rows(scoring_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (scoring_dir / "scored.jsonl").read_text().splitlines()]


def test_every_answer_gets_the_published_metric_and_score(rows: list[dict[str, Any]]) -> None:
    wrong = []
    for row in rows:
        metric, score = score_prediction(row["record"], row["prediction"])
        if metric != row["metric"] or abs(score - row["score"]) > 1e-12:
            wrong.append((row["record"]["question_type"], row["prediction"], row["score"], metric, score))
    assert rows and not wrong


def test_the_means_equal_the_published_summary(rows: list[dict[str, Any]], scoring_dir: Path) -> None:
    expected = json.loads((scoring_dir / "scored_summary.json").read_text())
    found = aggregate(rows)
    assert found["overall"] == pytest.approx(expected["overall"], abs=1e-12)
    assert found["per_type"] == pytest.approx(expected["per_type"], abs=1e-12)


def test_means_computed_from_predictions_equal_means_of_scores(rows: list[dict[str, Any]]) -> None:
    unscored = [{"record": row["record"], "prediction": row["prediction"]} for row in rows]
    assert aggregate(unscored) == aggregate(rows)
