"""The audit of whole datasets: generated ones agree, spoilt ones are found out, the verb tells and exits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from qa_generation.audit import AuditConfig, AuditReport, audit_dataset, same_reader, write_report
from qa_generation.errors import InputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.oracle.sources import list_scenes
from qa_generation.readers.base import SceneReader, open_reader
from qa_generation.records import QARecord, to_table
from spatialvlm.cli import build_app
from tests.qa_generation.rooms import RoomReader
from tests.qa_generation.scannet_factories import rendered_room, write_dataset

FAST = AuditConfig(samples=2, labels=False)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> RoomReader:
    return RoomReader(tmp_path_factory.mktemp("rooms"), count=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, rooms: RoomReader) -> Path:
    out = tmp_path_factory.mktemp("dataset")
    generate_dataset(rooms, out, GenerationConfig(per_type=6), workers=0, splits={"test": 0.5})
    return out


@pytest.fixture
def copy(tmp_path: Path, dataset: Path) -> Path:
    shutil.copytree(dataset, tmp_path / "copy")
    return tmp_path / "copy"


def audit(source: Path, reader: SceneReader, **options: object) -> AuditReport:
    options.setdefault("config", FAST)
    return audit_dataset(source, same_reader(reader), workers=0, **options)  # type: ignore[arg-type]


def spoil(source: Path, change: Callable[[QARecord], QARecord]) -> int:
    """Rewrites every record; returns how many are different now."""
    changed = 0
    for path in sorted((source / "data").glob("*/*.parquet")):
        before = [QARecord.from_row(row) for row in pq.read_table(path).to_pylist()]
        after = [change(record) for record in before]
        changed += sum(a != b for a, b in zip(before, after, strict=True))
        pq.write_table(to_table(after), path)
    return changed


def test_what_was_generated_agrees(dataset: Path, rooms: RoomReader) -> None:
    report = audit(dataset, rooms, config=AuditConfig())
    verdicts = report.verdicts()
    assert verdicts.total() > 60 and not verdicts["disagree"], report.disagreements
    assert verdicts["borderline"] <= 0.1 * verdicts.total()
    assert report.shortcomings(0.999, 0.1) == [] and report.scenes == 2


def test_every_moved_letter_is_found_out(copy: Path, rooms: RoomReader) -> None:
    def move(record: QARecord) -> QARecord:
        if not record.options:
            return record
        other = record.options["ABCD".index(record.mc_answer) - 1]
        return replace(record, mc_answer=other[0], ground_truth=other[3:])

    changed = spoil(copy, move)
    verdicts = audit(copy, rooms).verdicts("choice")
    assert changed > 40 and verdicts["disagree"] == changed == verdicts.total()


@pytest.mark.slow
def test_longer_lengths_are_found_out(copy: Path, rooms: RoomReader) -> None:
    def stretch(record: QARecord) -> QARecord:
        if record.answer_value is None:
            return record
        step = 0.2 if record.unit == "m" else 3
        return replace(
            record,
            ground_truth=f"{float(record.ground_truth) + step:.1f}"
            if record.unit == "m"
            else str(int(record.ground_truth) + 3),
            answer_value=record.answer_value + step,
        )

    changed = spoil(copy, stretch)
    assert changed > 10 and audit(copy, rooms).verdicts("metric")["disagree"] == changed


@pytest.mark.slow
def test_workers_and_order_change_nothing(dataset: Path, rooms: RoomReader) -> None:
    reports = [audit_dataset(dataset, same_reader(rooms), FAST, workers=n).to_json() for n in (0, 2)]
    assert reports[0] == reports[1]


@pytest.mark.slow
def test_published_json_is_audited(dataset: Path, rooms: RoomReader) -> None:
    of_shards = audit(dataset, rooms).verdicts()
    of_json = sum(
        (audit(path, rooms).verdicts() for path in sorted((dataset / "official").glob("*.json"))),
        start=type(of_shards)(),
    )
    assert of_json == of_shards


def test_types_it_does_not_know_are_told(copy: Path, rooms: RoomReader) -> None:
    spoil(copy, lambda record: replace(record, question_type=record.question_type.replace("obj_size", "obj_weight")))
    report = audit(copy, rooms)
    assert report.not_audited["obj_weight_occ_na"] > 0 and "obj_size_occ_na" not in report.types


def test_scenes_that_fail_are_told(dataset: Path, rooms: RoomReader) -> None:
    report = audit(dataset, replace(rooms, broken=frozenset({"room_0000"})))
    assert list(report.failures) == ["room_0000"] and "truncated" in report.failures["room_0000"]
    assert report.verdicts().total() > 0
    assert any("1 of 2 scenes" in text for text in report.shortcomings(0.999, 0.1))


def test_an_id_that_stands_twice(copy: Path, rooms: RoomReader) -> None:
    spoil(copy, lambda record: replace(record, id="same"))
    report = audit(copy, rooms, limit=1)
    assert report.duplicates == ["same"] and any(
        "'same'" in text or "same" in text for text in report.shortcomings(0, 1)
    )


def test_the_report_is_a_file(tmp_path: Path, dataset: Path, rooms: RoomReader) -> None:
    report = audit(dataset, rooms, limit=1)
    write_report(tmp_path / "deep" / "report.json", report)
    content = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert content == json.loads(json.dumps(report.to_json()))
    assert sum(content["types"]["obj_count_occ"]["answers"].values()) > 0


@pytest.mark.parametrize(("name", "content"), [("set.json", b"[1]"), ("set.json", b"{"), ("set.parquet", b"PAR1")])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        list_scenes(tmp_path / name)


def test_nothing_to_audit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no records"):
        list_scenes(tmp_path)


@pytest.mark.parametrize("change", [{"samples": 1}, {"samples": 9}, {"max_side": 1}])
def test_settings_out_of_range(change: dict[str, int]) -> None:
    with pytest.raises(InputError):
        AuditConfig(**change)  # type: ignore[arg-type]


def test_the_verb_on_a_scan(tmp_path: Path) -> None:
    write_dataset(tmp_path / "scans", rendered_room(views=12))
    reader, out = open_reader("scannet", tmp_path / "scans"), tmp_path / "set"
    generate_dataset(reader, out, GenerationConfig(per_type=3), workers=0, splits={})
    arguments = ["audit", str(out), "--scenes", str(tmp_path / "scans"), "--workers", "0", "--max-borderline", "0.2"]
    good = CliRunner().invoke(build_app(), arguments)
    assert good.exit_code == 0, good.output
    assert "100.000% of the decided answers agree" in good.output
    spoil(out, lambda record: replace(record, mc_answer=record.options[-1][0]) if record.options else record)
    bad = CliRunner().invoke(build_app(), [*arguments, "--out", str(tmp_path / "report.json")])
    assert bad.exit_code == 1 and "of the choice answers agree, expected 99.90%" in bad.output
    listed = json.loads((tmp_path / "report.json").read_text())["disagreements"]
    assert listed and all(finding["why"] or finding["broken_rules"] for finding in listed)
