"""Counts of a set are those one gets by hand, whatever its files and however old they are; the card tells them."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from qa_generation.dataset_card import blind_rows, size_category, table_cell, type_rows, write_card
from qa_generation.errors import InputError
from qa_generation.generate import Report
from qa_generation.generation_config import GenerationConfig
from qa_generation.prompts import CHOICE_TYPES
from qa_generation.records import SCHEMA
from qa_generation.statistics import gather
from tests.qa_generation.question_set import many_scenes, record, write_set

HOSTILE = "<script>alert(1)</script>|`x`[y](http://z)"


def mixed_set(out: Path) -> Path:
    numeric = {"options": (), "mc_answer": "", "unit": "m", "question_type": "obj_distance_occ_na"}
    train = [
        record(0),
        record(1, mc_answer="B", ground_truth="No", occ_level="high", bias_score=0.97),
        record(2, question_type="bestview_count_occ", ground_truth="3 chair(s); Frame 2", frames=("v0", "v1", "v2")),
        record(3, question_type="bestview_count_occ", ground_truth="3 chair(s); Frame 1", bias_score=1.0),
        record(4, ground_truth="2.3", answer_value=2.34, **numeric),
    ]
    test = [record(0, "room_1", ground_truth="0.4", answer_value=0.4499, target_category=HOSTILE, **numeric)]
    return write_set(out, {"train/room_0": train, "test/room_1": test})


def test_counts_are_those_by_hand(tmp_path: Path):
    found = gather(mixed_set(tmp_path))
    kind, best, distance = "obj_existence_occ_lr", "bestview_count_occ", "obj_distance_occ_na"
    assert found.records == 6 and found.splits == ["train", "test"] and found.types == [best, kind, distance]
    assert found.questions == {("train", kind): 2, ("train", best): 2, ("train", distance): 1, ("test", distance): 1}
    assert found.scenes == {"train": {"room_0"}, "test": {"room_1"}} and found.sources == {"synthetic": 6}
    assert found.levels[(kind, "occ_level", "high")] == 1 and found.levels[(kind, "trunc_level", "cut")] == 2
    assert found.views == {(kind, 2): 2, (best, 3): 1, (best, 2): 1, (distance, 2): 2}
    assert found.letters == {(kind, "A"): 1, (kind, "B"): 1, (best, "A"): 2}
    assert found.answers == {(kind, "Yes"): 1, (kind, "No"): 1, (best, "3"): 2}
    assert found.values == {(distance, 2.3): 1, (distance, 0.4): 1}
    assert found.bias == {(kind, 19): 1, (best, 19): 1}
    assert found.categories[(distance, HOSTILE)] == 1


def test_files_of_an_older_version_lack_columns_and_are_counted_all_the_same(tmp_path: Path):
    out = mixed_set(tmp_path)
    for path in (out / "data").glob("*/*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["answer_value", "trunc_level", "bias_score"]), path)
    found = gather(out)
    assert found.records == 6 and not found.values and not found.bias
    assert not [key for key in found.levels if key[1] == "trunc_level"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not readable as Parquet"), (b"PAR1nonsense", "not readable as Parquet")]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, message: str):
    path = mixed_set(tmp_path) / "data" / "train" / "room_0.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        gather(tmp_path)
    assert str(path) in str(error.value)


def test_a_column_of_another_kind_is_named(tmp_path: Path):
    path = mixed_set(tmp_path) / "data" / "train" / "room_0.parquet"
    table = pq.read_table(path)
    place = table.schema.names.index("frames")
    pq.write_table(table.set_column(place, "frames", table["overlap_avg"]), path)
    with pytest.raises(InputError, match="column 'frames' holds double, expected list"):
        gather(tmp_path)


def test_no_questions_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no questions found"):
        gather(tmp_path)


def card_of(out: Path, report: Report) -> tuple[dict, str]:
    write_card(out, report, GenerationConfig())
    text = (out / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_tells_numbers_failures_terms_and_no_markup_of_others(tmp_path: Path):
    out = mixed_set(tmp_path)
    failures = {"room_7": "room_7/mesh.ply is <b>truncated</b>", "room_8": "room_8/mesh.ply is <b>truncated</b>"}
    questions = {"train": {"obj_existence_occ_lr": 2}, "test": {"obj_distance_occ_na": 1}}
    front, body = card_of(out, Report({"train": ["room_0"], "test": ["room_1"]}, failures, questions))
    assert front["configs"][0]["data_files"][0] == {"split": "train", "path": "data/train/*.parquet"}
    assert front["size_categories"] == ["n<1K"]
    assert "| Object existence | `obj_existence_occ_lr` | 2 | 0 |" in body
    assert "| `obj_existence_occ_lr` | 0.0 | 50.0 | 50.0 | 0.0 |" in body  # occlusion levels
    assert "| 2 | &#60;scene&#62;/mesh.ply is &#60;b&#62;truncated" in body
    assert "<script>" not in body and "<b>" not in body and "yours to license" in body
    shown = re.findall(r"^!\[.*\]\((.*)\)$", body, re.MULTILINE)
    assert len(shown) == 6 and all((out / name).is_file() for name in shown)


def test_captures_that_may_not_be_shared_are_named(tmp_path: Path):
    out = write_set(tmp_path, {"train/room_0": [record(0, dataset="scannet")]})
    _, body = card_of(out, Report({"train": ["room_0"]}, {}, {"train": {"obj_existence_occ_lr": 1}}))
    assert "holds pictures of ScanNet v2. Do not pass them on." in body
    assert '--include "data/**"' in body and "yours to license" not in body


def test_the_card_is_the_same_every_time(tmp_path: Path):
    out = write_set(tmp_path, dict(many_scenes()))
    report = Report({"train": ["room_0"]}, {}, {"train": {"obj_existence_occ_lr": 96}})
    first = card_of(out, report), {p.name: p.read_bytes() for p in (out / "plots").iterdir()}
    assert first == (card_of(out, report), {p.name: p.read_bytes() for p in (out / "plots").iterdir()})


def test_blind_numbers_before_and_after():
    told = {"metric": "accuracy", "records": 400, "kept": 300, "before": 0.41, "after": 0.262, "baseline": 0.25}
    blind = {"types": {"obj_size_occ_na": {"records": 3, "note": "not pruned"}, "obj_count_occ": told}}
    assert blind_rows(blind) == [("obj_count_occ", "accuracy", ["25.0", "41.0", "26.2", "75.0"])]
    assert blind_rows({}) == blind_rows(None) == []


@pytest.mark.parametrize(
    ("records", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (593_240, "100K<n<1M"), (3_000_000, "1M<n<10M")],
)
def test_size_categories_are_the_hubs(records: int, name: str):
    assert size_category(records) == name


def test_a_cell_stays_in_its_cell():
    assert "|" not in table_cell("a|b\nc") and "\n" not in table_cell("a\nb")
    assert table_cell("<i>*x*</i>") == "&#60;i&#62;\\*x\\*&#60;/i&#62;"


def test_the_documentation_names_every_column():
    text = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text(encoding="utf-8")
    rows = text.split("## 2. Columns")[1].split("## 3.")[0].splitlines()
    named = [name for row in rows if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(SCHEMA.names)


def test_rows_of_the_card_fit_the_kind_of_set():
    published = type_rows({"train": {"obj_size_occ_na": 3}, "test": {}, "warmup": {"warmup_where": 9}})
    assert [row[1] for row in published] == [*CHOICE_TYPES, "obj_size_occ_na"]
    assert published[-1] == ("Object size", "obj_size_occ_na", [3, 0])
    orbit = type_rows({"train": {"orbit_order": 2}})
    assert len(orbit) == 1 and orbit[0][1:] == ("orbit_order", [2]) and orbit[0][0].startswith("Orbit")
