"""The report's page: self-contained, bounded, with charts and examples that say what the answers say."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.spatialmosaic.baselines import chance, constant
from benchmarks.spatialmosaic.dataset import BenchData, load
from benchmarks.spatialmosaic.pages.examples import SIDE_PX, Example, worst_examples
from benchmarks.spatialmosaic.pages.radar import RADIUS, radar
from benchmarks.spatialmosaic.pages.report_page import to_html
from benchmarks.spatialmosaic.publish import write_report
from benchmarks.spatialmosaic.report import Row, Table, compare
from benchmarks.spatialmosaic.results import Run, run_from_predictions
from benchmarks.spatialmosaic.statistics import Cell
from qa_generation.records import QARecord
from tests.benchmarks.samples import make_record, write_images, write_split


@pytest.fixture(scope="module")
def data(dataset: Path) -> BenchData:
    return load(dataset)


@pytest.fixture(scope="module")
def run(data: BenchData) -> Run:
    """Right about everything but existence and points."""
    pairs = []
    for row in data.table.to_pylist():
        wrong = "existence" in row["question_type"] or row["question_type"] == "obj_localization_occ_na"
        pairs.append((row, "certainly not " * 2000 if wrong else row["mc_answer"] or row["ground_truth"]))
    return run_from_predictions("model", pairs)


@pytest.fixture(scope="module")
def examples(run: Run, data: BenchData) -> list[Example]:
    rows = data.table.to_pylist()
    return worst_examples(compare([run, constant([], rows), chance(rows)]), data)


def test_examples_are_wrong_answers_of_the_families_that_have_some(examples: list[Example]) -> None:
    assert {example.family for example in examples} == {"Object existence", "Object localisation (point)"}
    assert examples[0].family != examples[1].family  # in turn
    assert all(example.score < 0.5 for example in examples) and len(examples) == 12
    assert all(len(example.response) < 300 for example in examples)
    assert {name for example in examples for name, _, _ in example.others} == {"constant (cross-fitted)"}


def test_views_are_small_pictures_inside_the_page(examples: list[Example]) -> None:
    for view in examples[0].views:
        kind, _, content = view.source.partition(",")
        assert kind == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(content)))
        assert max(picture.size) <= SIDE_PX


def test_the_asked_object_is_framed(tmp_path: Path) -> None:
    record = make_record("obj_count_occ", 0)
    entry = {"frame": record.frames[1], "instance_id": 3, "role": "target", "box": [128, 128, 384, 384]}
    record = replace(record, evidence=json.dumps([entry]))
    write_split(tmp_path, "test", [record])
    write_images(tmp_path, [record])
    for name in record.images:
        Image.new("RGB", (200, 100), "white").save(tmp_path / name)
    data = load(tmp_path)
    model = run_from_predictions("model", [(data.table.to_pylist()[0], "C")])
    (example,) = worst_examples(compare([model]), data)
    first, second = (
        Image.open(io.BytesIO(base64.b64decode(view.source.partition(",")[2]))).convert("RGB") for view in example.views
    )
    edge, middle = second.getpixel((42, 42)), second.getpixel((84, 42))
    assert isinstance(edge, tuple) and isinstance(middle, tuple)
    assert edge[1] > edge[0] + 60 and min(middle) > 230  # green at the quarter, white within
    assert first.getextrema()[0][0] > 230


def test_the_page_needs_nothing_from_outside_and_is_small(run: Run, data: BenchData, tmp_path: Path) -> None:
    rows = data.table.to_pylist()
    _, paths = write_report(tmp_path, [run, chance(rows)], data, {"command": "spatialvlm bench <model>"})
    assert [path.name for path in paths] == ["results.json", "report.md", "report.html"]
    page = (tmp_path / "report.html").read_text()
    assert "<pre>spatialvlm bench &lt;model&gt;</pre>" in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page) and "@import" not in page and "url(" not in page
    assert page.count("data:image/jpeg") >= 12 and len(page) < 400_000
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["runs"]["model"]["overall"] == run.aggregate()["overall"]


def test_the_same_runs_give_the_same_bytes(run: Run, data: BenchData, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(tmp_path / name, [run], data)
    for name in ("results.json", "report.md", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_models_write_is_escaped(data: BenchData) -> None:
    pairs = [(row, "<script>alert(1)</script>") for row in data.table.to_pylist()[:4]]
    report = compare([run_from_predictions("<i>", pairs)])
    page = to_html(report, {"note": "<b>"}, worst_examples(report, data))
    assert "<script" not in page and "<i>" not in page
    assert "&lt;script&gt;alert(1)" in page and "<dd>&lt;b&gt;</dd>" in page


def line(label: str, *means: float | None) -> Row:
    return Row(label, 1, tuple(None if mean is None else Cell(mean, None, 1) for mean in means))


def test_a_radar_draws_every_value_at_its_share_of_the_axis() -> None:
    rows = (line("up", 1.0), line("right", 0.5), line("down", 0.25), line("left", 0.0))
    chart = radar("title", Table("t", ("run",), rows), ["up", "right", "down", "left"], ["run"])
    assert chart is not None
    (outline,) = chart.outlines
    assert [(x, y) for x, y, _ in outline.dots] == [(0, -RADIUS), (RADIUS / 2, 0), (0, RADIUS / 4), (0, 0)]
    assert outline.dots[1][2] == "run: right 50.0"
    assert outline.path.count("M") == 4


def test_a_radar_leaves_a_gap_where_a_run_has_no_value() -> None:
    rows = (line("a", 1.0, 0.1), line("b", None, 0.1), line("c", 0.25, 0.1))
    chart = radar("title", Table("t", ("one", "two"), rows), ["a", "b", "c"], ["one", "two"])
    assert chart is not None
    assert [len(outline.dots) for outline in chart.outlines] == [2, 3]
    assert [outline.path.count("M") for outline in chart.outlines] == [1, 3]


def test_two_groups_make_no_radar() -> None:
    assert radar("title", Table("t", ("one",), (line("a", 1.0), line("b", 0.0))), ["a", "b"], ["one"]) is None


def test_records_whose_evidence_cannot_be_read_still_have_views(tmp_path: Path) -> None:
    records: list[QARecord] = [replace(make_record("obj_count_occ", 1), evidence="{not json")]
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records)
    data = load(tmp_path)
    model = run_from_predictions("model", [(data.table.to_pylist()[0], "")])
    (example,) = worst_examples(compare([model]), data)
    assert len(example.views) == 3 and example.response == ""
