"""Finished sets with the datasets library: all at once, streamed, in another order, and resumed where one stopped."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import datasets
import pytest

from qa_generation.dataset_card import write_card
from qa_generation.generate import Report
from qa_generation.generation_config import GenerationConfig
from qa_generation.pack import PackConfig, pack_dataset
from tests.qa_generation.question_set import many_scenes, write_set


@pytest.fixture(scope="module", params=["generated", "parquet", "webdataset"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same questions as generated, and packed both ways."""
    root = tmp_path_factory.mktemp("loading")
    made = write_set(root / "made", dict(many_scenes(scenes=6)))
    if request.param == "generated":
        questions = {"train": {"obj_existence_occ_lr": 120}, "test": {"obj_existence_occ_lr": 24}}
        write_card(made, Report({}, {}, questions), GenerationConfig())
        return made
    pack_dataset(made, root / "packed", config=PackConfig(shard_size=30_000, container=request.param, mix=2))
    return root / "packed"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def names(rows: object) -> list[str]:
    """Ids of questions, or of the first question of a sample."""
    return [row["id"] if "id" in row else row["json"]["questions"][0]["id"] for row in rows]


def stream(folder: Path) -> datasets.IterableDataset:
    loaded = datasets.load_dataset(str(folder), split="train", streaming=True)
    return loaded.select_columns(["id"] if "id" in loaded.features else ["json"])


def test_streaming_gives_what_loading_gives(folder: Path, tmp_path: Path):
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "test"}
    assert names(stream(folder)) == names(loaded["train"])
    assert len(set(names(loaded["train"]))) == len(loaded["train"])


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_stream_goes_on_where_it_stopped(folder: Path, shuffled: bool):
    def fresh() -> datasets.IterableDataset:
        return stream(folder).shuffle(seed=3, buffer_size=1) if shuffled else stream(folder)

    whole = names(fresh())
    first = fresh()
    head = names(islice(iter(first), 7))
    resumed = fresh()
    resumed.load_state_dict(first.state_dict())
    assert head + names(resumed) == whole


def test_a_shuffled_stream_has_everything_once_in_another_order(folder: Path):
    plain, mixed = names(stream(folder)), names(stream(folder).shuffle(seed=3, buffer_size=16))
    assert mixed != plain and sorted(mixed) == sorted(plain)
    assert mixed == names(stream(folder).shuffle(seed=3, buffer_size=16))
