"""Options of a reader from the command line: converted, checked, and part of what a dataset was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from qa_generation.errors import InputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.readers.base import READERS, open_reader, options_of, parse_options
from qa_generation.scene import Scene
from tests.qa_generation.rooms import RoomReader


class PartReader:
    """Furnished rooms of which every so many views are read."""

    dataset = "synthetic"

    def __init__(self, root: Path, *, frame_stride: int | None = None, label_column: str = "raw") -> None:
        self.root, self.frame_stride, self.label_column = root, frame_stride, label_column

    def scene_ids(self) -> list[str]:
        return list(RoomReader(self.root, count=2).scene_ids())

    def read(self, scene_id: str) -> Scene:
        return RoomReader(self.root, count=2).read(scene_id)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "part", f"{__name__}:PartReader")


def test_options_reach_the_reader_as_numbers_and_texts(tmp_path: Path) -> None:
    reader = open_reader("part", tmp_path, parse_options(["frame_stride=5", "label_column=a=b"]))
    assert isinstance(reader, PartReader) and (reader.frame_stride, reader.label_column) == (5, "a=b")
    assert options_of(reader) == {"frame_stride": 5, "label_column": "a=b"}
    assert options_of(open_reader("part", tmp_path)) == {}


def test_scannet_takes_its_options(tmp_path: Path) -> None:
    reader = open_reader("scannet", tmp_path, {"frame_stride": "20", "label_column": "nyu40class"})
    assert options_of(reader) == {"frame_stride": 20, "label_column": "nyu40class"}
    with pytest.raises(InputError, match="frame_stride is 0"):
        open_reader("scannet", tmp_path, {"frame_stride": "0"})


@pytest.mark.parametrize(
    "reader, options, message",
    [
        ("part", {"stride": "5"}, "'stride' is unknown to the reader part; expected one of frame_stride, label_column"),
        ("part", {"root": "x"}, "'root' is unknown"),
        ("synthetic", {"frame_stride": "5"}, "'frame_stride' is unknown to the reader synthetic; it has none"),
        ("part", {"frame_stride": "often"}, "frame_stride is 'often', expected a whole number"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, reader: str, options: Mapping[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reader(reader, tmp_path, options)


@pytest.mark.parametrize(
    "texts, message", [(["stride"], "KEY=VALUE"), (["=5"], "KEY=VALUE"), (["a=1", "a=2"], "a is given twice")]
)
def test_a_malformed_option_is_named(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_options(texts)


def test_questions_made_with_other_options_are_not_mixed(tmp_path: Path) -> None:
    config = GenerationConfig(per_type=1)
    for name in ("rooms", "out"):
        (tmp_path / name).mkdir()
    generate_dataset(open_reader("part", tmp_path / "rooms"), tmp_path / "out", config, workers=0)
    other = open_reader("part", tmp_path / "rooms", {"frame_stride": "2"})
    with pytest.raises(InputError, match="other settings"):
        generate_dataset(other, tmp_path / "out", config, workers=0)
