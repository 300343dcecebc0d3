"""The engine from a reader to a dataset folder: same bytes for any workers, nothing lost in silence, resumable."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from qa_generation.blind.config import BlindConfig
from qa_generation.commands.generate import generate
from qa_generation.errors import InputError, SceneError
from qa_generation.generate import Report, generate_dataset
from qa_generation.generation_config import GenerationConfig, load_config
from qa_generation.image_store import store_image
from qa_generation.name_priors import MIN_SCENES
from qa_generation.prompts import WARMUP_TYPES, question_prompt
from qa_generation.scene import Blob, View
from qa_generation.shards import read_shard
from qa_generation.splits import assign_splits, parse_splits, place_of
from qa_generation.workers import run_all
from tests.qa_generation.factories import furnished_room
from tests.qa_generation.rooms import RoomReader

WARMUP_WORDS = {*"0123456", "Yes", "No", "left", "middle", "right", "lower", "higher", "closer", "farther"}
SMALL = GenerationConfig(per_type=4, warmup=3)


def _tree(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RoomReader, Path, Report]:
    """A dataset of four rooms, made in this process."""
    root = tmp_path_factory.mktemp("made")
    reader = RoomReader(root / "rooms", count=4)
    report = generate_dataset(reader, root / "out", SMALL, seed=3, workers=0, splits={"test": 0.25})
    return reader, root / "out", report


def test_the_folder_holds_what_the_report_says(made: tuple[RoomReader, Path, Report]):
    _, out, report = made
    assert {split: len(ids) for split, ids in report.scenes.items()} == {"train": 3, "test": 1}
    for split, scene_ids in report.scenes.items():
        records = [record for s in scene_ids for record in read_shard(out / "data" / split / f"{s}.parquet")]
        assert Counter(record.question_type for record in records) == report.questions[split]
        assert {record.scene_name for record in records} == set(scene_ids)
        assert all((out / image).is_file() for record in records for image in record.images)
    stored = json.loads((out / "report.json").read_text())
    assert stored["scenes"] == {"train": 3, "test": 1} and stored["failures"] == []


def test_bytes_do_not_depend_on_the_number_of_workers(made: tuple[RoomReader, Path, Report], tmp_path: Path):
    reader, out, _ = made
    expected = _tree(out)
    again = tmp_path / "again"
    generate_dataset(reader, again, SMALL, seed=3, workers=2, splits={"test": 0.25})
    assert _tree(again) == expected
    other = tmp_path / "other"
    generate_dataset(reader, other, SMALL, seed=4, workers=0, splits={"test": 0.25}, cache_dir=out / ".cache")
    assert _tree(other) != expected


def test_load_dataset_reads_the_folder(made: tuple[RoomReader, Path, Report], tmp_path: Path):
    import datasets

    _, out, report = made
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path))
    assert {split: loaded[split].num_rows for split in loaded} == {
        split: sum(by_type.values()) for split, by_type in report.questions.items() if split != "warmup"
    }
    row = next(row for row in loaded["test"] if row["options"])
    assert row["options"][0].startswith("A. ") and row["coord_size"] == [512, 512]
    warmup = datasets.load_dataset(str(out), "warmup", split="train", cache_dir=str(tmp_path))
    assert set(warmup["question_type"]) <= set(WARMUP_TYPES) and warmup.num_rows > 0


def test_warmup_is_open_and_of_training_scenes_only(made: tuple[RoomReader, Path, Report]):
    _, out, report = made
    shards = sorted((out / "data" / "warmup").glob("*.parquet"))
    assert [shard.stem for shard in shards] == sorted(report.scenes["train"])
    for record in (record for shard in shards for record in read_shard(shard)):
        assert record.options == () and record.mc_answer == "" and record.query_frame in record.frames
        assert record.ground_truth in WARMUP_WORDS
        assert question_prompt(record.question_type, record.question, ()).count("\n") == 2
    assert "warmup" not in (out / "official" / "train.json").read_text()


def test_a_second_run_keeps_what_is_complete_and_makes_what_is_missing(tmp_path: Path):
    reader = RoomReader(tmp_path / "rooms", count=3)
    out = tmp_path / "out"
    generate_dataset(reader, out, SMALL, workers=0, splits={"test": 0.3})
    expected = _tree(out)
    kept, lost = sorted((out / "data" / "train").glob("*.parquet"))
    lost.unlink()
    before = kept.stat().st_mtime_ns
    generate_dataset(reader, out, SMALL, workers=0, splits={"test": 0.3})
    assert _tree(out) == expected and kept.stat().st_mtime_ns == before


def test_other_settings_or_scenes_are_refused_unless_overwritten(tmp_path: Path):
    reader = RoomReader(tmp_path / "rooms", count=3)
    out = tmp_path / "out"
    generate_dataset(reader, out, SMALL, workers=0)
    with pytest.raises(InputError, match="other settings"):
        generate_dataset(reader, out, replace(SMALL, per_type=5), workers=0)
    with pytest.raises(InputError, match="not in this run"):
        generate_dataset(replace(reader, count=2), out, SMALL, workers=0)
    report = generate_dataset(replace(reader, count=2), out, SMALL, workers=0, overwrite=True)
    assert sum(len(ids) for ids in report.scenes.values()) == len(list((out / "data").glob("t*/*.parquet"))) == 2


def test_more_scenes_may_move_a_scene_to_another_split_but_never_into_both(tmp_path: Path):
    out = tmp_path / "out"
    for count in (2, 4):
        reader = RoomReader(tmp_path / "rooms", count=count)
        generate_dataset(reader, out, SMALL, workers=0, splits={"test": 0.4})
        places = [path.stem for path in (out / "data").glob("t*/*.parquet")]
        assert sorted(places) == list(reader.scene_ids())
        warmup = {path.stem for path in (out / "data" / "warmup").glob("*.parquet")}
        assert warmup == {path.stem for path in (out / "data" / "train").glob("*.parquet")}


def test_scenes_that_join_later_give_the_same_bytes_as_a_fresh_run(tmp_path: Path):
    """From eight scenes on, what names give away is learned over all of them."""
    config = GenerationConfig(per_type=3)
    small = RoomReader(tmp_path / "rooms", count=MIN_SCENES)
    large = replace(small, count=MIN_SCENES + 1, broken=frozenset({"room_0002"}))
    cache = tmp_path / "cache"
    generate_dataset(small, tmp_path / "grown", config, workers=0, cache_dir=cache)
    before = _tree(tmp_path / "grown")
    generate_dataset(small, tmp_path / "grown", config, workers=0, cache_dir=cache)
    assert _tree(tmp_path / "grown") == before
    generate_dataset(replace(large, broken=frozenset()), tmp_path / "grown", config, workers=0, cache_dir=cache)
    generate_dataset(replace(large, broken=frozenset()), tmp_path / "fresh", config, workers=0, cache_dir=cache)
    assert _tree(tmp_path / "grown" / "data") == _tree(tmp_path / "fresh" / "data")
    report = generate_dataset(large, tmp_path / "holed", config, workers=0, cache_dir=cache)
    assert list(report.failures) == ["room_0002"] and report.records > 0


def test_a_bad_scene_is_named_and_the_others_go_on(tmp_path: Path):
    reader = RoomReader(tmp_path / "rooms", count=3, broken=frozenset({"room_0001"}))
    report = generate_dataset(reader, tmp_path / "out", SMALL, workers=0)
    assert list(report.failures) == ["room_0001"] and "mesh.ply is truncated" in report.failures["room_0001"]
    assert report.failed_share == pytest.approx(1 / 3) and report.records > 0
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored["failures"] == [{"scene": "room_0001", "reason": report.failures["room_0001"]}]
    assert "1 scene could not be used" in (tmp_path / "out" / "README.md").read_text()


def test_a_killed_worker_costs_only_its_scene(tmp_path: Path):
    reader = RoomReader(tmp_path / "rooms", count=2, deadly=frozenset({"room_0001"}))
    (tmp_path / "rooms").mkdir()
    report = generate_dataset(reader, tmp_path / "out", SMALL, workers=1)
    assert list(report.failures) == ["room_0001"] and report.records > 0
    assert "died 2 times" in report.failures["room_0001"] and "-9" in report.failures["room_0001"]


def test_no_scenes_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no scenes"):
        generate_dataset(RoomReader(tmp_path, count=0), tmp_path / "out", SMALL, workers=0)


def test_a_scene_with_one_view_is_recorded(tmp_path: Path):
    reader = _OneView(tmp_path / "rooms", count=2)
    report = generate_dataset(reader, tmp_path / "out", SMALL, workers=0)
    assert "1 view" in report.failures["room_0000"]


class _OneView(RoomReader):
    def read(self, scene_id: str):
        scene = super().read(scene_id)
        return replace(scene, views=scene.views[:1]) if scene_id == "room_0000" else scene


def test_cli_prints_a_table_and_fails_with_one_sentence(tmp_path: Path):
    command = [sys.executable, "-m", "spatialvlm.cli", "generate", str(tmp_path / "none"), "--reader", "synthetic"]
    run = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert run.returncode == 2 and "no such folder" in run.stderr and "Traceback" not in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_cli_makes_a_dataset_with_its_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("qa_generation.readers.base.open_reader", lambda name, root, options: RoomReader(root, count=2))
    out = tmp_path / "out"
    generate(tmp_path / "rooms", "synthetic", out, workers=0, per_type=2, split=["test=0.5"], preview=True)
    printed = capsys.readouterr().out
    assert "questions in" in printed and "obj_count_occ" in printed
    assert (out / "preview.html").is_file() and len(list((out / "data").glob("*/*.parquet"))) == 2


@pytest.mark.parametrize("broken, message", [(2, "no question was made"), (1, "50% of the scenes failed")])
def test_cli_fails_when_too_little_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, message: str):
    bad = frozenset(f"room_{i:04d}" for i in range(broken))
    reader = RoomReader(tmp_path / "rooms", count=2, broken=bad)
    monkeypatch.setattr("qa_generation.readers.base.open_reader", lambda name, root, options: reader)
    with pytest.raises(SystemExit, match=message):
        generate(tmp_path, "synthetic", tmp_path / "out", workers=0, per_type=1, max_failed=0.4)


# --- pieces --------------------------------------------------------------------------------------------------------


def test_splits_are_exact_disjoint_and_independent_of_order():
    ids = [f"room_{i}" for i in range(50)]
    assigned = assign_splits(ids, {"test": 0.2, "validation": 0.1}, seed=0)
    assert Counter(assigned.values()) == {"train": 35, "test": 10, "validation": 5}
    assert assign_splits(ids[::-1], {"test": 0.2, "validation": 0.1}, seed=0) == assigned
    assert assign_splits(ids, {"test": 0.2, "validation": 0.1}, seed=1) != assigned


def test_scans_of_one_room_share_a_split():
    ids = [f"scene{room:04d}_{scan:02d}" for room in range(20) for scan in range(1 + room % 3)]
    assigned = assign_splits(ids, {"test": 0.3}, seed=0)
    for scene_id in ids:
        assert assigned[scene_id] == assigned[f"{place_of(scene_id)}_00"]
    assert place_of("scene0012_03") == "scene0012" and place_of("room_03") == "room_03"


@pytest.mark.parametrize("count, expected", [(1, {"train": 1}), (2, {"train": 1, "test": 1}), (0, {})])
def test_few_scenes(count: int, expected: dict):
    assert Counter(assign_splits([f"r{i}" for i in range(count)], {"test": 0.2}, seed=0).values()) == expected


@pytest.mark.parametrize("text", ["test", "test=x", "test=1.0", "train=0.5", "../x=0.1", "test=-0.1", "warmup=0.1"])
def test_senseless_splits_are_refused(text: str):
    with pytest.raises(InputError, match="--split"):
        parse_splits([text])


def test_config_round_trip_and_unknown_keys(tmp_path: Path):
    path = tmp_path / "quotas.yaml"
    path.write_text(
        "per_type: 7\nquotas: {obj_count_occ: 3}\nsampling: {view_sets: 5, sizes: [2, 3]}\n"
        "occlusion_window: [0, 1]\nblind: {stages: 2}\n"
    )
    config = load_config(path)
    assert config.quota("obj_count_occ") == 3 and config.quota("bestview_count_occ") == 7
    assert config.sampling.sizes == (2, 3) and config.occlusion_window == (0, 1)
    assert config.blind == BlindConfig(stages=2)
    path.write_text("blind: null\n")
    assert load_config(path).blind is None
    assert config.fingerprint(0) != config.fingerprint(1) != GenerationConfig().fingerprint(1)


@pytest.mark.parametrize(
    "text, named",
    [
        ("per_tpye: 7", "per_tpye"),
        ("sampling: {sets: 3}", "sets"),
        ("quotas: {count: 3}", "count"),
        ("per_type: many", "per_type"),
        ("frame_naming: number", "frame_naming"),
        ("- 1", "list"),
        ("a: [", "YAML"),
    ],
)
def test_bad_config_is_named(tmp_path: Path, text: str, named: str):
    path = tmp_path / "quotas.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=named) as error:
        load_config(path)
    assert str(path) in str(error.value)


def test_the_recipe_states_the_defaults():
    assert load_config(Path(__file__).parents[2] / "recipes" / "generation.yaml") == GenerationConfig()


def _double(number: int) -> int:
    if number == 3:
        raise SceneError("three is not wanted")
    return 2 * number


@pytest.mark.parametrize("workers", [0, 2])
def test_run_all_gives_one_outcome_per_item(workers: int):
    outcomes = {outcome.item: outcome for outcome in run_all(_double, range(5), workers)}
    assert {item: o.result for item, o in outcomes.items()} == {0: 0, 1: 2, 2: 4, 3: None, 4: 8}
    assert outcomes[3].reason == "three is not wanted"


def _die_once(marker: Path) -> str:
    if marker.suffix == ".always" or not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def test_an_item_whose_worker_was_killed_is_tried_once_more(tmp_path: Path):
    items = [tmp_path / "a.once", tmp_path / "b.always", tmp_path / "c.once"]
    outcomes = {outcome.item: outcome for outcome in run_all(_die_once, items, workers=2)}
    assert outcomes[items[0]].result == outcomes[items[2]].result == "survived"
    assert outcomes[items[1]].result is None and "died 2 times" in outcomes[items[1]].reason


def test_jpeg_bytes_are_kept_and_png_becomes_jpeg(tmp_path: Path):
    from PIL import Image

    scene = furnished_room(tmp_path, views=2)
    target = tmp_path / "out.jpg"
    store_image(scene.views[0], target)
    with Image.open(target) as image:
        assert image.format == "JPEG" and image.size == scene.views[0].size
    content = target.read_bytes()
    jpeg = replace(scene.views[0], image=Blob(target))
    store_image(jpeg, tmp_path / "copy.jpg")
    assert (tmp_path / "copy.jpg").read_bytes() == content


def _jpeg_of(view: View) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise(view.size, 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("kept", [0, 12, 400, 0.5, 0.97, "junk"])
def test_a_picture_that_is_not_whole_is_named(tmp_path: Path, kept: int | float | str):
    scene = furnished_room(tmp_path, views=2)
    path = tmp_path / "bad.jpg"
    content = _jpeg_of(scene.views[0])
    end = int(kept * len(content)) if isinstance(kept, float) else kept
    path.write_bytes(b"\xff\xd8\xff junk" if isinstance(end, str) else content[:end])
    view: View = replace(scene.views[0], image=Blob(path))
    with pytest.raises(SceneError, match="cannot be decoded") as error:
        store_image(view, tmp_path / "out.jpg")
    assert "bad.jpg" in str(error.value) and not (tmp_path / "out.jpg").exists()


def test_a_scene_whose_id_cannot_be_a_file_name_is_left_out_alone(tmp_path: Path):
    class OddReader(RoomReader):
        def scene_ids(self) -> list[str]:
            return [*super().scene_ids(), "room/../0003", "Zimmer ü"]

    report = generate_dataset(OddReader(tmp_path / "rooms", count=2), tmp_path / "out", SMALL, workers=0)
    assert set(report.failures) == {"room/../0003", "Zimmer ü"} and report.records > 0
    assert all("cannot be a file name" in reason for reason in report.failures.values())
