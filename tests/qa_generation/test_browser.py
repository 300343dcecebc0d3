"""The site over a set: bounded, stable and spread choice, places and labels as drawn, nothing of others as code."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qa_generation.browser.entries import entry, points_of
from qa_generation.browser.pick import Shown, choose_files, pick_records
from qa_generation.browser.site import BrowseConfig, write_browser, write_preview
from qa_generation.commands.browse import browse
from qa_generation.errors import InputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.pack import pack_dataset
from qa_generation.question_files import question_files
from tests.qa_generation.question_set import many_scenes, record, write_set
from tests.qa_generation.rooms import RoomReader

EVIL = "</script><script>alert(1)</script>"


def stored(path: Path) -> list[Any]:
    """The arguments that a data script hands to the page."""
    text = path.read_text(encoding="ascii")
    assert text.startswith("browser.") and text.endswith(");\n")
    return json.loads("[" + text.split("(", 1)[1][:-3] + "]")


def records_of(site: Path) -> list[dict[str, Any]]:
    return [each for path in sorted((site / "data").glob("records-*.js")) for each in stored(path)[1]]


def digest(site: Path) -> str:
    content = [path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()]
    return hashlib.sha256(b"".join(content)).hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), dict(many_scenes(scenes=8)))


def test_the_index_agrees_with_the_records(made: Path, tmp_path: Path):
    report = write_browser(made, tmp_path / "site", config=BrowseConfig(records=None, max_scenes=None))
    (index,) = stored(tmp_path / "site" / "data" / "index.js")
    shown = records_of(tmp_path / "site")
    assert report.shown == report.records == len(shown) == 8 * 24 == index["total"]
    assert [each["id"] for each in shown] == index["ids"]
    assert stored(tmp_path / "site" / "data" / "questions.js") == [[each["question"] for each in shown]]
    facets = {name: [f["values"][code] for code in f["codes"]] for name, f in index["facets"].items()}
    assert facets["scene"] == [each["scene"] for each in shown]
    assert facets["views"] == [str(len(each["frames"])) for each in shown]
    assert facets["split"] == [each["split"] for each in shown]
    assert index["perFile"] == len(stored(tmp_path / "site" / "data" / "records-00000.js")[1])
    assert not report.missing and not report.failures


def test_pictures_are_small_and_made_once(made: Path, tmp_path: Path):
    report = write_browser(made, tmp_path / "site", config=BrowseConfig(width=32))
    pictures = sorted((tmp_path / "site" / "pictures").iterdir())
    assert report.pictures == len(pictures) == len({p for r in records_of(tmp_path / "site") for p in names_of(r)})
    assert {Image.open(path).size for path in pictures} == {(32, 24)}
    before = {path: path.stat().st_mtime_ns for path in pictures}
    write_browser(made, tmp_path / "site", config=BrowseConfig(width=32))
    assert {path: path.stat().st_mtime_ns for path in pictures} == before


def names_of(shown: dict[str, Any]) -> list[str]:
    return [frame["picture"] for frame in shown["frames"]]


def test_the_same_site_every_time(made: Path, tmp_path: Path):
    for name in ("a", "b"):
        write_browser(made, tmp_path / name, config=BrowseConfig(records=7))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_the_choice_is_spread_over_types_and_levels(tmp_path: Path):
    levels = ["low"] * 60 + ["medium"] * 6 + ["high"] * 3 + ["extreme"]
    records = [record(n, occ_level=level) for n, level in enumerate(levels)]
    records += [record(n, question_type="obj_count_occ") for n in range(50)]
    files = question_files(write_set(tmp_path, {"train/room_0": records}))
    picked = pick_records(files, 12, seed=0)
    count = Counter((each.record.question_type, each.record.occ_level) for each in picked)
    assert [each.record.question_type for each in picked] == ["obj_count_occ"] * 12 + ["obj_existence_occ_lr"] * 12
    kind = "obj_existence_occ_lr"
    assert count[(kind, "extreme")] == 1 and count[(kind, "high")] == 3
    assert {count[(kind, "low")], count[(kind, "medium")]} == {4}
    ids = [each.record.id for each in picked]
    assert ids == [each.record.id for each in pick_records(files, 12, seed=0)]
    assert ids != [each.record.id for each in pick_records(files, 12, seed=1)]


def test_few_scenes_of_every_split_are_read_and_stay_the_same_when_a_set_grows(made: Path, tmp_path: Path):
    few = dict(many_scenes(scenes=40, sets=1, questions=1))
    files = question_files(write_set(tmp_path, few))
    chosen = choose_files(files, 10, seed=0)
    assert {file.split for file in chosen} == {"train", "test"} and 10 <= len(chosen) <= 12
    grown = choose_files([file for file in files if file.path.stem != chosen[0].path.stem], 10, seed=0)
    assert len({f.path for f in grown} & {f.path for f in chosen}) >= len(chosen) - 2


def test_marks_are_numbered_alike_in_all_frames_and_in_percent():
    evidence = [
        {"frame": "v0", "instance_id": 9, "role": "target", "box": [128, 0, 256, 512]},
        {"frame": "v1", "instance_id": 9, "role": "target", "box": [0, 256, 512, 512]},
        {"frame": "v1", "instance_id": 4, "role": "target", "box": [0, 0, 1, 1]},
        {"frame": "v1", "instance_id": 5, "role": "distractor", "box": [0, 0, 1, 1]},
    ]
    content = entry(Shown("train", record(target_ids=(4, 9), evidence=json.dumps(evidence))), {})
    first, second = content["frames"]
    assert [(b["label"], b["box"]) for b in first["boxes"]] == [("chair 2", [25.0, 0.0, 25.0, 100.0])]
    assert [b["label"] for b in second["boxes"]] == ["chair 2", "chair 1", ""]
    assert (first["title"], first["asked"], second["asked"]) == ("Frame 1", False, True)
    assert content["instances"]["7"] == {"role": "reference", "label": "table"}


@pytest.mark.parametrize("evidence", ["", "null", "[3]", '[{"box": [1, 2]}]', '[{"box": ["a", 1, 2, 3]}]', "{"])
def test_evidence_of_another_form_is_left_out(evidence: str):
    content = entry(Shown("train", record(evidence=evidence)), {})
    assert all(frame["boxes"] == [] for frame in content["frames"])


def test_points_of_options_and_answers():
    options = ("A. No", "B. Yes; (255, 127)", "C. Yes; (0, 511)", "D. Yes; (1, 1)")
    choice = points_of(record(question_type="obj_localization_occ", options=options, mc_answer="B"))
    assert [(p["letter"], p["right"]) for p in choice] == [("B", True), ("C", False), ("D", False)]
    assert (choice[0]["x"], choice[0]["y"]) == (round(25550 / 512, 2), round(12750 / 512, 2))
    kind = {"question_type": "obj_localization_occ_na", "options": (), "mc_answer": ""}
    point = points_of(record(ground_truth="(255,127)", **kind))
    assert point == [{"letter": "+", "x": round(25550 / 512, 2), "y": round(12750 / 512, 2), "right": True}]


def test_names_of_others_are_text_and_never_markup(tmp_path: Path):
    evil = record(0, question=EVIL, target_category=EVIL, ground_truth=EVIL, options=(f"A. {EVIL}",), dataset=EVIL)
    site = tmp_path / "site"
    write_browser(write_set(tmp_path / "set", {f"train/{evil.scene_name}": [evil]}), site)
    assert EVIL not in (site / "index.html").read_text() and EVIL not in (site / "overview.html").read_text()
    (shown,) = records_of(site)
    assert shown["question"] == EVIL  # kept as it is, and set as text by the page
    for script in ("browser.js", "drawing.js"):
        code = (site / script).read_text()
        assert not any(
            word in code for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )


def test_nothing_is_fetched_from_elsewhere(made: Path, tmp_path: Path):
    write_browser(made, tmp_path / "site")
    for path in (tmp_path / "site").glob("*.*"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "fetch(" not in text


def test_a_missing_or_damaged_picture_leaves_an_empty_frame(tmp_path: Path):
    out = write_set(tmp_path / "set", {"train/room_0": [record(0, images=("images/a.jpg", "images/b.jpg"))]})
    (out / "images" / "a.jpg").write_bytes(b"no picture")
    (out / "images" / "b.jpg").unlink()
    report = write_browser(out, tmp_path / "site")
    assert sorted(report.missing) == ["images/a.jpg", "images/b.jpg"]
    assert names_of(records_of(tmp_path / "site")[0]) == ["", ""]


def test_a_picture_outside_the_set_is_not_read(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.jpg")
    out = write_set(tmp_path / "set", {"train/room_0": [record(0)]})
    from qa_generation.shards import shard_path, write_shard

    names = ("../secret.jpg", str(tmp_path / "secret.jpg"))
    write_shard(shard_path(out, "train", "room_0"), [record(0, images=names)], "x")
    report = write_browser(out, tmp_path / "site")
    assert set(report.missing) == set(names) and all("leaves the dataset folder" in r for r in report.missing.values())
    assert not (tmp_path / "site" / "pictures").exists()


def test_bad_folders_are_refused(made: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no questions found"):
        write_browser(tmp_path / "nowhere", tmp_path / "site")
    assert not (tmp_path / "site").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    with pytest.raises(InputError, match="no site of spatialvlm browse"):
        write_browser(made, tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "my page"
    with pytest.raises(InputError, match="cannot be written"):
        write_browser(made, tmp_path / "mine" / "index.html" / "site")
    pack_dataset(made, tmp_path / "packed")
    with pytest.raises(InputError, match="is packed, expected the set it was packed from"):
        write_browser(tmp_path / "packed", tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"records": "many"}, "--records is 'many', expected a whole number"),
        ({"max_scenes": "0"}, "--max-scenes is '0'"),
        ({"reader": "synthetic"}, "--scenes and --reader belong together"),
    ],
)
def test_bad_options_of_the_command(made: Path, tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        browse(made, tmp_path / "site", **options)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[RoomReader, Path]:
    root = tmp_path_factory.mktemp("rooms")
    reader = RoomReader(root / "rooms", count=3)
    generate_dataset(reader, root / "out", GenerationConfig(per_type=6), workers=0)
    return reader, root / "out"


def test_masks_agree_with_the_boxes_of_the_evidence(rooms: tuple[RoomReader, Path], tmp_path: Path):
    reader, out = rooms
    report = write_browser(out, tmp_path / "site", reader=reader)
    assert not report.failures
    (index,) = stored(tmp_path / "site" / "data" / "index.js")
    scenes = dict(stored(p) for p in sorted((tmp_path / "site" / "data").glob("scene-*.js")))
    assert set(scenes) == set(index["scenes"]) and len(scenes) == 3
    differences: list[float] = []
    for shown in records_of(tmp_path / "site"):
        masks = scenes[shown["scene"]]["masks"]
        for frame in shown["frames"]:
            for mark in frame["boxes"]:
                if min(mark["box"][2:]) < 1.5:
                    continue  # one or two pixels have no outline; the page shows their box
                # box: counted on a grid of 160 x 120 pixels; mask: on 400 x 300
                found = masks[frame["view"]][str(mark["id"])]["box"]
                edges = [(b[0], b[1], b[0] + b[2], b[1] + b[3]) for b in (found, mark["box"])]
                differences += [abs(x - y) for x, y in zip(*edges, strict=True)]
    # a sliver that one grid catches and the other does not may move an edge further
    assert len(differences) > 400 and np.quantile(differences, 0.97) < 100 / 120


def test_lines_are_drawn_where_a_distance_was_measured(rooms: tuple[RoomReader, Path], tmp_path: Path):
    reader, out = rooms
    write_browser(out, tmp_path / "site", reader=reader)
    scenes = dict(stored(p) for p in sorted((tmp_path / "site" / "data").glob("scene-*.js")))
    by_id = {shown["id"]: shown for shown in records_of(tmp_path / "site")}
    names = {(i, m["name"]) for scene in scenes.values() for view in scene["masks"].values() for i, m in view.items()}
    assert ("1", "table") in names and len(names) == len({i for i, _ in names})
    lines = {name: line for scene in scenes.values() for name, line in scene["lines"].items()}
    assert {by_id[name]["type"] for name in lines} <= {
        "obj_distance_occ_na",
        "obj_obj_distance_occ_na",
        "obj_size_occ_na",
    }
    assert lines and all(line["label"] == f"{by_id[n]['answer']} {by_id[n]['unit']}" for n, line in lines.items())


def test_a_scene_that_cannot_be_read_is_told_and_the_others_have_masks(rooms: tuple[RoomReader, Path], tmp_path: Path):
    reader, out = rooms
    broken = RoomReader(reader.root, count=3, broken=frozenset({"room_0001"}))
    report = write_browser(out, tmp_path / "site", reader=broken, config=BrowseConfig(workers=1))
    assert list(report.failures) == ["room_0001"] and "truncated" in report.failures["room_0001"]
    assert len(list((tmp_path / "site" / "data").glob("scene-*.js"))) == 2


def test_the_preview_leads_to_the_site(rooms: tuple[RoomReader, Path]):
    page = write_preview(rooms[1], seed=0)
    assert page == rooms[1] / "preview.html" and "browser/index.html" in page.read_text()
    assert (rooms[1] / "browser" / "index.html").is_file()
