"""Generation that is cut short, shared among jobs or cannot write ends with the bytes of an undisturbed run."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from qa_generation.blind.config import BlindConfig
from qa_generation.errors import InputError, OutputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.name_priors import MIN_SCENES
from tests.qa_generation.rooms import RoomReader

# so many scenes that names are learned, and so few records asked of a plan that it is fitted to one of the types
COUNT = MIN_SCENES
ASKED = {"obj_count_occ": 4, "obj_existence_occ_lr": 7, "obj_distance_occ_na": 4, "obj_localization_occ_na": 3}
CONFIG = GenerationConfig(
    per_type=0, quotas=ASKED, warmup=2, oversample=2.0, blind=BlindConfig(least_records=100, stages=1)
)


def tree(root: Path) -> dict[str, str]:
    """Digest of every file but what is kept between rounds."""
    files = [p for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RoomReader, Path, dict[str, str]]:
    """A reader, a folder of visibility tables to share, and the tree of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    reader = RoomReader(root / "rooms", count=COUNT)
    generate_dataset(reader, root / "out", CONFIG, workers=0, cache_dir=root / "tables")
    return reader, root / "tables", tree(root / "out")


def _killed_at(renames: int, reader: RoomReader, out: Path, tables: Path) -> None:
    """Runs in a process of its own, which is killed in the middle: every finished file ends with a rename."""
    rename = Path.replace

    def counted(self: Path, target: Path) -> Path:
        nonlocal renames
        renames -= 1
        if renames == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.replace = counted  # type: ignore[method-assign,assignment]
    generate_dataset(reader, out, CONFIG, workers=0, cache_dir=tables)


def _run_apart(function, *arguments) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


# while surveying; among the first pictures; in a pool; while settling; before the report
@pytest.mark.parametrize("renames", [3, COUNT + 2, COUNT + 60, -3, -1])
def test_killed_and_started_again_it_ends_the_same(undisturbed, tmp_path: Path, renames: int):
    reader, tables, expected = undisturbed
    if renames < 0:
        # the last files: shards with their warm-up, JSON, card, report; counted from the end
        renames += COUNT + len([name for name in expected if name.startswith("images")]) + 3 * COUNT
    assert _run_apart(_killed_at, renames, reader, tmp_path / "out", tables) == -signal.SIGKILL
    assert tree(tmp_path / "out") != expected
    generate_dataset(reader, tmp_path / "out", CONFIG, workers=0, cache_dir=tables)
    assert tree(tmp_path / "out") == expected


def test_jobs_that_share_a_folder_make_what_one_makes(undisturbed, tmp_path: Path):
    reader, tables, expected = undisturbed
    waited = []
    for _ in range(3):
        for number in (1, 2, 3):
            report = generate_dataset(reader, tmp_path / "out", CONFIG, workers=0, cache_dir=tables, shard=(number, 3))
            waited.append(report.waiting)
    assert "annotation of" in waited[0] and "by other shards" in waited[0]
    assert waited[-1] == "" and report.records > 0
    assert tree(tmp_path / "out") == expected


def test_a_scene_that_fails_in_one_job_does_not_hold_up_the_others(undisturbed, tmp_path: Path):
    reader, tables, _ = undisturbed
    holed = replace(reader, broken=frozenset({"room_0001"}))
    for _ in range(3):
        reports = [
            generate_dataset(holed, tmp_path / "out", CONFIG, workers=0, cache_dir=tables, shard=(number, 2))
            for number in (1, 2)
        ]
    whole = generate_dataset(holed, tmp_path / "whole", CONFIG, workers=0, cache_dir=tables)
    assert reports[-1].failures == whole.failures and list(whole.failures) == ["room_0001"]
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("shard", [(0, 2), (3, 2)])
def test_a_part_that_does_not_exist_is_refused(undisturbed, tmp_path: Path, shard: tuple[int, int]):
    reader, tables, _ = undisturbed
    with pytest.raises(InputError, match="--shard"):
        generate_dataset(reader, tmp_path / "out", CONFIG, workers=0, cache_dir=tables, shard=shard)


def _on_a_full_disk(reader: RoomReader, out: Path, tables: Path, said: Path) -> None:
    """No file can grow beyond 40 kB, which is what a full disk looks like to who writes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        generate_dataset(reader, out, CONFIG, workers=0, cache_dir=tables)
    except OutputError as error:
        said.write_text(str(error))


def test_a_full_disk_is_told_and_loses_nothing(undisturbed, tmp_path: Path):
    reader, tables, expected = undisturbed
    said = tmp_path / "said.txt"
    assert _run_apart(_on_a_full_disk, reader, tmp_path / "out", tables, said) == 0
    assert "cannot be written" in said.read_text() and str(tmp_path / "out") in said.read_text()
    assert not list((tmp_path / "out").rglob("*.partial"))
    generate_dataset(reader, tmp_path / "out", CONFIG, workers=0, cache_dir=tables)
    assert tree(tmp_path / "out") == expected


def test_an_output_that_cannot_be_written_ends_the_run_at_once(undisturbed, tmp_path: Path):
    reader, tables, _ = undisturbed
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"out.*cannot be written"):
        generate_dataset(reader, tmp_path / "out", CONFIG, workers=0, cache_dir=tables)


@pytest.mark.slow
def test_ray_gives_the_same_bytes(undisturbed, tmp_path: Path):
    pytest.importorskip("ray")
    from functools import partial

    from qa_generation import ray_backend

    reader, tables, expected = undisturbed
    backend = partial(ray_backend.run_all, workers=2)
    generate_dataset(reader, tmp_path / "out", CONFIG, cache_dir=tables, backend=backend)
    assert tree(tmp_path / "out") == expected
