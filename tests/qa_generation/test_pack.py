"""Packed sets load with the datasets library, hold the same questions and pictures, and are made in bounded steps."""

from __future__ import annotations

import hashlib
import json
import tarfile
from itertools import groupby
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from qa_generation import pack as packing
from qa_generation.errors import InputError
from qa_generation.pack import PackConfig, pack_dataset, parse_bytes
from qa_generation.pack_formats import ROWS_PER_GROUP
from tests.qa_generation.question_set import many_scenes, record, write_set

SMALL = PackConfig(shard_size=40_000, mix=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes = dict(many_scenes())
    # a large view set must not become one large row group
    scenes["train/room_9"] = [record(n, "room_9", frames=("v0", "v1", "v2")) for n in range(250)]
    return write_set(tmp_path_factory.mktemp("set"), scenes)


@pytest.fixture(scope="module")
def packed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "out"
    pack_dataset(made, target, config=SMALL)
    return target


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(out: Path, split: str) -> dict[str, dict]:
    paths = sorted((out / "data" / split).glob("*.parquet"))
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def test_all_questions_with_their_very_pictures(made: Path, packed: Path, tmp_path: Path):
    loaded = datasets.load_dataset(str(packed), cache_dir=str(tmp_path))
    for split in ("train", "test"):
        wanted = rows_of(made, split)
        raw = loaded[split].cast_column("images", datasets.List(datasets.Image(decode=False)))
        assert sorted(raw["id"]) == sorted(wanted)
        for row in raw:
            source = wanted[row["id"]]
            assert row["image_paths"] == source["images"] == [image["path"] for image in row["images"]]
            assert [image["bytes"] for image in row["images"]] == [(made / n).read_bytes() for n in source["images"]]
            assert all(row[name] == value for name, value in source.items() if name != "images")
    assert loaded["train"][0]["images"][0].size == (64, 48)


def test_a_picture_is_stored_once_per_row_group(made: Path, packed: Path):
    # 250 questions about 3 pictures: embedded 750 times, stored about as often as there are row groups
    pictures = sum(path.stat().st_size for path in made.rglob("*.jpg"))
    embedded = sum(
        (made / name).stat().st_size
        for split in ("train", "test")
        for r in rows_of(made, split).values()
        for name in r["images"]
    )
    stored = sum(path.stat().st_size for path in (packed / "data").iterdir())
    assert embedded > 15 * pictures and stored < 8 * pictures
    for path in (packed / "data").iterdir():
        groups = pq.ParquetFile(path)
        assert max(groups.metadata.row_group(i).num_rows for i in range(groups.num_row_groups)) <= ROWS_PER_GROUP


def picture_bytes(path: Path) -> int:
    """Bytes that the pictures take in a packed file."""
    found = pq.ParquetFile(path).metadata
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(c.total_compressed_size for c in columns if c.path_in_schema == "images.list.element.bytes")


def test_files_are_closed_at_the_wanted_size(packed: Path):
    sizes = [picture_bytes(path) for path in sorted((packed / "data").glob("train-*.parquet"))]
    assert len(sizes) > 2
    for size in sizes[:-1]:  # no more than one view set too much, and shared pictures make it less
        assert 0.5 * SMALL.shard_size < size < 1.5 * SMALL.shard_size


def test_neighbouring_view_sets_come_from_different_scenes(made: Path, tmp_path: Path):
    pack_dataset(made, tmp_path / "out")
    (path,) = (tmp_path / "out" / "data").glob("train-*.parquet")
    table = pq.read_table(path, columns=["scene_name", "view_set_id"])
    visits = [name for name, _ in groupby(table["view_set_id"].to_pylist())]
    assert len(visits) == len(set(visits))  # questions about the same views stay together
    scenes = [name for name, _ in groupby(table["scene_name"].to_pylist())]
    assert len(scenes) > 2 * len(set(scenes))


@pytest.mark.parametrize("container", ["parquet", "webdataset"])
def test_same_bytes_every_time_and_after_an_interruption(
    made: Path, tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
):
    config = PackConfig(shard_size=40_000, container=container, mix=2)
    pack_dataset(made, tmp_path / "whole", config=config)
    calls = 0

    def stop_at_third(container: str, path: Path):
        nonlocal calls
        calls += 1
        writer = original(container, path)
        if calls == 3:
            monkeypatch.setattr(writer, "close", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        return writer

    original = packing.open_writer
    monkeypatch.setattr(packing, "open_writer", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        pack_dataset(made, tmp_path / "again", config=config)
    monkeypatch.setattr(packing, "open_writer", original)
    finished = [path for path in (tmp_path / "again" / "data").iterdir() if path.suffix != ".partial"]
    assert len(finished) == 2
    report = pack_dataset(made, tmp_path / "again", config=config)
    assert report.kept == 2
    assert digests(tmp_path / "again") == digests(tmp_path / "whole")


def test_webdataset_holds_one_sample_per_view_set(made: Path, tmp_path: Path):
    pack_dataset(made, tmp_path / "out", config=PackConfig(shard_size=40_000, container="webdataset"))
    questions = 0
    for path in sorted((tmp_path / "out" / "data").glob("*.tar")):
        with tarfile.open(path) as archive:
            names = archive.getnames()
            for name in names:
                if name.endswith(".json"):
                    sample = json.load(archive.extractfile(name))
                    questions += len(sample["questions"])
                    shown = [
                        archive.extractfile(f"{name[:-5]}.{n + 1}.jpg").read() for n in range(len(sample["images"]))
                    ]
                    assert shown == [(made / image).read_bytes() for image in sample["images"]]
    assert questions == len(rows_of(made, "train")) + len(rows_of(made, "test"))
    row = datasets.load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "c"))[0]
    assert row["1.jpg"].size == (64, 48) and row["json"]["questions"][0]["answer_value"] is None


def test_what_cannot_be_packed_is_told(made: Path, packed: Path, tmp_path: Path):
    with pytest.raises(InputError, match="is packed already"):
        pack_dataset(packed, tmp_path / "a")
    with pytest.raises(InputError, match="is the set itself"):
        pack_dataset(made, made)
    with pytest.raises(InputError, match="no questions found"):
        pack_dataset(tmp_path, tmp_path / "b")
    with pytest.raises(InputError, match="another set or other settings"):
        pack_dataset(made, packed, config=PackConfig(shard_size=50_000))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and not a packed set"):
        pack_dataset(made, tmp_path / "full", overwrite=True)
    assert (tmp_path / "full" / "letter.txt").read_text() == "mine"
    with pytest.raises(InputError, match="cannot be written"):
        pack_dataset(made, tmp_path / "full" / "letter.txt" / "out")
    one = write_set(tmp_path / "one", {"train/room_0": [record(0)]})
    next(one.rglob("*.jpg")).unlink()
    with pytest.raises(InputError, match="no such file, expected every picture"):
        pack_dataset(one, tmp_path / "c")
    out = write_set(tmp_path / "two", {"train/room_0": [record(0)]})
    bad = record(0, images=("../../secret.jpg", "images/synthetic/room_0/images/v1.jpg"))
    packing_set = {"train/room_0": [bad]}
    from qa_generation.shards import shard_path, write_shard

    write_shard(shard_path(out, "train", "room_0"), packing_set["train/room_0"], "x")
    with pytest.raises(InputError, match="leaves the dataset folder"):
        pack_dataset(out, tmp_path / "d")


def test_other_settings_with_overwrite_replace_the_packed_set(made: Path, tmp_path: Path):
    pack_dataset(made, tmp_path / "out", config=SMALL)
    pack_dataset(made, tmp_path / "out", config=PackConfig(container="webdataset"), overwrite=True)
    assert {path.suffix for path in (tmp_path / "out" / "data").iterdir()} == {".tar"}


def test_a_full_disk_is_a_sentence(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "open_writer", lambda container, path: type("W", (), {"exists": False, "add": full})())
    with pytest.raises(InputError, match=r"No space left on device.*run again to go on"):
        pack_dataset(made, tmp_path / "out", config=SMALL)


@pytest.mark.parametrize(("text", "size"), [("500MB", 500_000_000), ("2 gb", 2_000_000_000), ("7", 7), ("1KB", 1000)])
def test_sizes(text: str, size: int):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-3MB", "1.5GB", "3TB", "0", "1MKB"])
def test_bad_sizes(text: str):
    with pytest.raises(InputError, match="--shard-size is"):
        parse_bytes(text)
