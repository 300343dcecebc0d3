"""Annotators' words, the label table, and what the reader makes of the odd ones."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_generation.errors import InputError
from qa_generation.readers.annotated_mesh import triangle_instances
from qa_generation.readers.scannet import ScanNetReader
from qa_generation.readers.scannet_annotation import read_groups
from tests.qa_generation.scannet_factories import NAME, copy_dataset, rendered_room, write_dataset

TABLE = "scannetv2-labels.combined.tsv"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labels") / "data"
    write_dataset(root, rendered_room(views=2))
    return root


def change_labels(folder: Path, labels: dict[int, str]) -> None:
    path = folder / f"{NAME}.aggregation.json"
    content = json.loads(path.read_text())
    for number, label in labels.items():
        content["segGroups"][number]["label"] = label
    path.write_text(json.dumps(content))


def test_table_has_the_official_columns_and_known_ids(dataset: Path) -> None:
    with (dataset / TABLE).open(newline="") as stream:
        rows = {row["raw_category"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert (rows["chair"]["nyu40id"], rows["chair"]["nyu40class"], rows["chair"]["count"]) == ("5", "chair", "3")
    assert (rows["monitor"]["nyu40id"], rows["lamp"]["nyu40id"], rows["bookshelf"]["nyu40id"]) == ("25", "35", "10")


def test_stray_spaces_are_taken_off(dataset: Path, tmp_path: Path) -> None:
    change_labels(copy_dataset(dataset, tmp_path / "data"), {1: " chair  ", 2: "trash   can"})
    scene, report = ScanNetReader(tmp_path / "data").read_with_report(NAME)
    assert (scene.instances[2].category, scene.instances[3].category) == ("chair", "trash can")
    assert [note for note in report.notes if "trash can" in note], "not in the table, so a remark is made"
    assert not [note for note in report.notes if "'chair'" in note]


def test_label_missing_from_the_table_is_kept_and_logged(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_labels(copy_dataset(dataset, tmp_path / "data"), {0: "oubliette", 4: ""})
    with caplog.at_level(logging.WARNING):
        scene = ScanNetReader(tmp_path / "data").read(NAME)
    assert (scene.instances[1].category, scene.instances[5].category) == ("oubliette", "object")
    assert "label 'oubliette' is not in scannetv2-labels.combined.tsv" in caplog.text


def test_another_column_gives_other_categories(dataset: Path) -> None:
    scene = ScanNetReader(dataset, label_column="nyu40class").read(NAME)
    assert scene.instances[9].category == "television"
    assert ScanNetReader(dataset).read(NAME).instances[9].category == "monitor"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no scannetv2-labels.combined.tsv"),
        ("", "has no column 'raw_category', found none"),
        ("id\traw_category\n1\tchair\n", "has no column 'nyu40class', found id, raw_category"),
    ],
)
def test_table_that_cannot_serve_is_named(dataset: Path, tmp_path: Path, content: str | None, message: str) -> None:
    copy_dataset(dataset, tmp_path / "data")
    if content is None:
        (tmp_path / "data" / TABLE).unlink()
    else:
        (tmp_path / "data" / TABLE).write_text(content)
    with pytest.raises(InputError, match=message):
        ScanNetReader(tmp_path / "data", label_column="nyu40class").read(NAME)


def test_raw_labels_need_no_table(dataset: Path, tmp_path: Path) -> None:
    copy_dataset(dataset, tmp_path / "data")
    (tmp_path / "data" / TABLE).unlink()
    assert ScanNetReader(tmp_path / "data").read(NAME).instances[2].category == "chair"


def test_mended_list_of_the_doubled_scan_stays_whole(tmp_path: Path) -> None:
    groups = [{"id": i, "objectId": i, "segments": [i], "label": "chair"} for i in range(4)]
    path = tmp_path / "scene0217_00.aggregation.json"
    path.write_text(json.dumps({"segGroups": groups}))
    assert len(read_groups(path, "scene0217_00")) == 4


def test_broken_table_is_told_before_any_scan_is_read(dataset: Path, tmp_path: Path) -> None:
    copy_dataset(dataset, tmp_path / "data")
    (tmp_path / "data" / TABLE).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as a table"):
        ScanNetReader(tmp_path / "data").scene_ids()


@pytest.mark.parametrize("scene_id", ["scene0217_00", "scene0003_01"])
def test_doubled_list_of_groups_counts_once(tmp_path: Path, scene_id: str) -> None:
    groups: list[dict[str, Any]] = [
        {"id": i, "objectId": i, "segments": [i % 2, 5 + i % 2], "label": "chair"} for i in range(4)
    ]
    path = tmp_path / f"{scene_id}.aggregation.json"
    path.write_text(json.dumps({"segGroups": groups}))
    assert [group.object_id for group in read_groups(path, scene_id)] == [0, 1]


def test_object_on_no_triangle_is_left_out_with_a_remark(dataset: Path, tmp_path: Path) -> None:
    folder = copy_dataset(dataset, tmp_path / "data")
    path = folder / f"{NAME}_vh_clean_2.0.010000.segs.json"
    content = json.loads(path.read_text())
    # one corner of the first box gets a segment of its own, the rest of it goes without
    content["segIndices"][:8] = [70_000] + [70_001] * 7
    path.write_text(json.dumps(content))
    groups = folder / f"{NAME}.aggregation.json"
    annotation = json.loads(groups.read_text())
    annotation["segGroups"][0]["segments"] = [70_000]
    groups.write_text(json.dumps(annotation))
    scene, report = ScanNetReader(tmp_path / "data").read_with_report(NAME)
    assert sorted(scene.instances) == list(range(2, 11))
    assert not (scene.mesh.triangle_instances == 1).any()
    assert any("object 0 ('table') covers no triangle" in note for note in report.notes)


def test_triangle_takes_the_instance_of_two_corners() -> None:
    corners = np.array([0, 0, 7, 7, 9], dtype=np.int32)
    triangles = np.array([[2, 3, 4], [4, 2, 3], [2, 4, 3], [0, 2, 4], [0, 1, 2]], dtype=np.int32)
    np.testing.assert_array_equal(triangle_instances(corners, triangles), [7, 7, 7, 0, 0])
