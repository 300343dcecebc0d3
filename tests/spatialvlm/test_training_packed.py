"""Training reads a packed set like the set it was packed from: same questions, same labels, same pictures."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geometry_encoders.errors import InputError as TrainingInputError
from qa_generation.errors import InputError
from qa_generation.pack import PackConfig, pack_dataset
from qa_generation.unpack import unpack_pictures
from spatialvlm.training.data import QuestionTable, Source, TrainingViewSets
from tests.qa_generation.question_set import many_scenes, record, write_set


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Folders ``made`` and ``packed`` of the same questions, warm-up among them."""
    scenes = dict(many_scenes())
    warmup = {"question_type": "warmup_presence", "options": (), "mc_answer": "", "ground_truth": "yes"}
    scenes["warmup/room_0"] = [record(n, "room_0", **warmup) for n in range(3)]
    write_set(tmp_path / "made", scenes)
    pack_dataset(tmp_path / "made", tmp_path / "packed", config=PackConfig(shard_size=40_000, mix=2))
    return tmp_path


def content(root: Path, split: str) -> list[tuple]:
    """Everything training sees of a source, in an order of its own."""
    table = QuestionTable(Source(split=split), root=root)
    views = TrainingViewSets([table], 100, {"letter": 1.0}, seed=0, shuffle_choices=False)
    items = [views[index] for index in range(len(views))]
    seen = [
        (v.view_set_id, v.labels, sorted(map(str, v.exchanges)), [p.read_bytes() for p in v.image_paths]) for v in items
    ]
    return sorted(seen, key=lambda item: (item[0], item[1]))


@pytest.mark.parametrize("split", ["train", "test", "train+warmup"])
def test_a_packed_source_is_the_same_source(sets: Path, split: str):
    assert content(sets / "packed", split) == content(sets / "made", split)


def test_pictures_are_written_once_and_again_when_they_are_gone(sets: Path):
    table = QuestionTable(Source(), root=sets / "packed")
    files = sorted((sets / "packed" / "data").glob("train-*.parquet"))
    assert unpack_pictures(files, sets / "packed") == 0
    picture = sets / "packed" / table.table["images"][0].as_py()[0]
    original = picture.read_bytes()
    picture.unlink()
    assert unpack_pictures(files, sets / "packed") == 1 and picture.read_bytes() == original
    assert not list((sets / "packed").rglob("*.partial"))


def test_a_split_that_is_not_there_is_told_with_those_that_are(sets: Path):
    with pytest.raises(TrainingInputError, match="expected the split to be one of: test, train, warmup"):
        QuestionTable(Source(split="validation"), root=sets / "packed")


def test_a_picture_may_not_leave_the_folder(sets: Path, tmp_path: Path):
    path = sorted((sets / "packed" / "data").glob("test-*.parquet"))[0]
    table = pq.read_table(path)
    evil = pa.array([["../../evil.jpg"] * len(names) for names in table["image_paths"].to_pylist()])
    pq.write_table(table.set_column(table.schema.names.index("image_paths"), "image_paths", evil), path)
    with pytest.raises(InputError, match="leaves the dataset folder"):
        unpack_pictures([path], tmp_path / "packed")
    assert not (tmp_path.parent / "evil.jpg").exists()


def test_a_file_that_is_not_packed_is_told(sets: Path):
    path = next((sets / "made" / "data" / "train").glob("*.parquet"))
    with pytest.raises(InputError, match="not readable as a file of spatialvlm pack"):
        unpack_pictures([path], sets)
