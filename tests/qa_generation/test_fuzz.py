"""Spoiled folders of every reader give questions or a clear sentence; and the harness would notice anything else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import fuzz_scenes
from benchmarks.robustness.fuzz_scenes import Case, Limits, fuzz, summary
from benchmarks.robustness.mutations import BY_ENDING, ON_FILES, ON_FOLDERS, spoil
from benchmarks.robustness.seeds import SEEDS, Seed
from qa_generation.readers import base
from qa_generation.readers.base import READERS
from qa_generation.scene import Scene
from qa_generation.seeding import generator


def findings(cases: Iterator[Case]) -> str:
    done = list(cases)
    return summary(done) if any(case.is_finding for case in done) else ""


def test_every_reader_is_fuzzed() -> None:
    assert {seed.reader for seed in SEEDS.values()} == set(READERS)


def test_some_spoiled_folders_of_every_reader() -> None:
    assert not findings(fuzz(len(SEEDS), seed=11))


@pytest.mark.slow
def test_a_thousand_spoiled_folders() -> None:
    assert not findings(fuzz(1000, seed=12))


class FaultyReader:
    """Misbehaves as ``mode`` says."""

    dataset = "faulty"
    mode = ""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scene_ids(self) -> list[str]:
        return ["scene"]

    def read(self, scene_id: str) -> Scene:
        outside = self.root.parent / "outside"
        match self.mode:
            case "traceback":
                raise KeyError("a key that nobody looked for")
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(60)
            case "memory":
                np.ones(400_000_000, dtype=np.uint8)
            case "wrote outside":
                (outside / "file.txt").write_text("changed")
        raise base.InputError("a clear sentence")


def _any_folder(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "a.txt").write_text("1 2 3")


@pytest.mark.parametrize("mode", ["traceback", "crash", "hang", "memory", "wrote outside", "skipped"])
def test_the_harness_notices(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEEDS, "faulty", Seed("faulty", _any_folder))
    monkeypatch.setattr(fuzz_scenes, "open_reader", lambda name, root, options: FaultyReader(root))
    monkeypatch.setattr(FaultyReader, "mode", mode)
    generate = fuzz_scenes._generate

    def well_behaved_while_whole(reader: str, root: Path, out: Path) -> tuple[str, list[str]]:
        return ("made", []) if root.parent.name == "whole" else generate(reader, root, out)

    monkeypatch.setattr(fuzz_scenes, "_generate", well_behaved_while_whole)
    limits = Limits(seconds=3.0 if mode == "hang" else 60.0, memory_mb=300.0)
    (case,) = fuzz(1, readers=["faulty"], limits=limits)
    assert case.outcome == mode and case.is_finding == (mode != "skipped")
    assert case.reasons


def test_same_number_same_folder(tmp_path: Path) -> None:
    trees = []
    for name in ("one", "two"):
        SEEDS["waymo"].write(tmp_path / name / "root")
        (tmp_path / name / "outside").mkdir()
        told = spoil(tmp_path / name / "root", generator(3, "fuzz", "waymo", "5"), tmp_path / name / "outside")
        trees.append((told, sorted(str(p.relative_to(tmp_path / name)) for p in (tmp_path / name).rglob("*"))))
    assert trees[0] == trees[1]


def test_all_kinds_of_files_have_their_mutations() -> None:
    every = {*ON_FILES, *ON_FOLDERS, *(mutation for own in BY_ENDING.values() for mutation in own)}
    assert len(every) >= 20
    assert all(mutation.__doc__ for mutation in every)
