"""Runs of the reconstruction benchmark: lines, resuming, tables and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks.reconstruction.baselines import GroundTruth
from benchmarks.reconstruction.command import bench_reconstruction
from benchmarks.reconstruction.evaluate import Prediction, SequenceResult
from benchmarks.reconstruction.frames import Capture, FrameChoice, PosedFrame
from benchmarks.reconstruction.journal import LINES, Journal, Line
from benchmarks.reconstruction.methods import ablations
from benchmarks.reconstruction.metrics import CloudMetrics
from benchmarks.reconstruction.protocols import PROTOCOLS
from benchmarks.reconstruction.report import summarise, to_markdown, versions
from benchmarks.reconstruction.run import Reading, run
from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from qa_generation.errors import InputError
from tests.benchmarks import reconstruction_layouts as layouts
from tests.geometry_encoders.spann3r_models import small_spann3r

RULES = PROTOCOLS["synthetic"]
READING = Reading(FrameChoice(1), 32)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rooms")
    for number in range(3):
        frames = layouts.room_frames(3, (64, 48), 50.0 + 5 * number)
        layouts.write_room(root, frames, f"room_0_{number:05d}")
    return root


@dataclass(frozen=True)
class Counting:
    """The ground truth, until the given call is interrupted; remembers how often it was asked."""

    stop_at: int | None = None
    calls: list[str] = field(default_factory=list)
    name: str = "counting"
    image_px: int = 32

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        self.calls.append(frames[0].name)
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        return GroundTruth(32).reconstruct(frames)


def measured(lines: list[Line]) -> list[SequenceResult]:
    return [replace(line.result, seconds=0.0) for line in lines if line.result]


def test_an_interrupted_run_goes_on_where_it_was(rooms: Path, tmp_path: Path) -> None:
    captures = RULES.captures(rooms)
    with pytest.raises(KeyboardInterrupt):
        run([Counting(stop_at=2)], captures, RULES, READING, Journal(tmp_path, {"a": 1}))
    again = Counting()
    lines = run([again], captures, RULES, READING, Journal(tmp_path, {"a": 1}))
    assert len(again.calls) == 2 and len(lines) == 3
    stored = (tmp_path / LINES).read_text()
    assert [json.loads(text)["sequence"] for text in stored.splitlines()] == [each.capture_id for each in captures]
    third = Counting()
    assert measured(run([third], captures, RULES, READING, Journal(tmp_path, {"a": 1}))) == measured(lines)
    assert third.calls == [] and (tmp_path / LINES).read_text() == stored
    with pytest.raises(InputError, match="a was 1 and is 2 now"):
        Journal(tmp_path, {"a": 2})


def test_a_line_cut_off_in_writing_is_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {})
    journal.add(Line("m", "room", example_result()))
    with journal.path.open("a") as stream:
        stream.write('{"method": "m", "sequ')
    again = Journal(tmp_path, {})
    assert list(again.lines) == [("m", "room")] and again.lines["m", "room"].result == example_result()
    again.add(Line("m", "other", example_result()))
    assert len(Journal(tmp_path, {}).lines) == 2
    (tmp_path / LINES).write_text("[]\n")
    with pytest.raises(InputError, match="line 1: not a result"):
        Journal(tmp_path, {})


def test_a_failing_sequence_is_recorded_and_tried_again(rooms: Path, tmp_path: Path) -> None:
    def read(name: str) -> PosedFrame:
        raise InputError("depth.png: no such file, expected a depth map")

    good = RULES.captures(rooms)[0]
    broken = Capture("broken", ("0", "1"), read)
    lines = run([Counting()], [broken, good], RULES, READING, Journal(tmp_path, {}))
    assert [line.error for line in lines] == ["depth.png: no such file, expected a depth map", None]
    assert ("counting", "broken") not in Journal(tmp_path, {})
    summary = summarise(lines, ["counting"])["counting"]
    assert summary["sequences"] == 1 and list(summary["failed"]) == ["broken"]


def example_result(capture_id: str = "room", value: float = 0.0) -> SequenceResult:
    metrics = CloudMetrics(*(value + number / 10 for number in range(12)))
    return SequenceResult(capture_id, 4, 100, metrics, 2.0, 0.5, 6.0)


def test_tables_average_over_sequences() -> None:
    lines = [Line("m", f"{scene}/seq-{n}", example_result(f"{scene}/seq-{n}", n)) for n, scene in enumerate("aab")]
    lines.append(Line("m", "b/seq-9", error="no frames"))
    found = summarise(lines, ["m"])
    assert found["m"]["mean"]["accuracy"] == pytest.approx(1.0)
    assert found["m"]["scenes"]["a"]["completion"] == pytest.approx(0.7)
    assert found["m"]["seconds_per_frame"] == pytest.approx(1.5)
    settings = {"protocol": "synthetic", "views": "full", "step": 1, "image_px": 32}
    summary = {"settings": settings, "unit": "m", "methods": found, "versions": versions(), "command": "x"}
    text = to_markdown(summary)
    assert "| m | 3 | 1.0000 | 1.1000 | 1.2000 | 1.3000 | 1.800 | 1.900 | 2.1000 | 2.000 |" in text
    assert "Without result: m, b/seq-9: no frames" in text and "open3d" in text


def invoke(*arguments: str | Path) -> str:
    app = typer.Typer()
    app.command()(bench_reconstruction)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_command_with_the_ground_truth(rooms: Path, tmp_path: Path) -> None:
    arguments = ("ground-truth", rooms, "--protocol", "synthetic", "--size", 32, "--limit", 2, "--out", tmp_path)
    output = invoke(*arguments)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["methods"]["ground-truth"]["sequences"] == 2
    assert summary["methods"]["ground-truth"]["mean"]["chamfer"] < 1e-4
    assert (tmp_path / "report.md").read_text() in output
    assert invoke(*arguments).splitlines()[4:8] == output.splitlines()[4:8]
    with pytest.raises(InputError, match="image_px was 32 and is 48 now"):
        invoke(*arguments, "--size", 48)


@pytest.fixture(scope="module")
def dust3r(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    widths = {"enc_embed_dim": 32, "dec_embed_dim": 24, "enc_depth": 1, "dec_depth": 2}
    model = Dust3rModel(Dust3rConfig(image_size=(32, 32), enc_num_heads=2, dec_num_heads=2, **widths))
    model.save_pretrained(folder := tmp_path_factory.mktemp("models") / "dust3r")
    return folder


@pytest.fixture(scope="module")
def spann3r(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small_spann3r(image_size=(32, 32)).save_pretrained(folder := tmp_path_factory.mktemp("models") / "spann3r")
    return folder


def test_command_with_dust3r(rooms: Path, dust3r: Path, tmp_path: Path) -> None:
    invoke(
        dust3r, rooms, "--protocol", "synthetic", "--views", "few", "--limit", 1, "--out", tmp_path, "--device", "cpu"
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["methods"]) == ["dust3r, anchored pairs", "constant-depth"]
    assert summary["settings"]["image_px"] == 32
    assert all(np.isfinite(list(found["mean"].values())).all() for found in summary["methods"].values())


def test_command_with_spann3r_and_ablations(spann3r: Path, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    layouts.write_room(rooms, layouts.room_frames(7, (64, 48), 50.0))
    options = ("--memory-tokens", 16, "--work-frames", 1, "--ablations", "--no-baseline", "--limit", 1)
    invoke(spann3r, rooms, "--protocol", "synthetic", *options, "--out", tmp_path / "out", "--device", "cpu")
    found = json.loads((tmp_path / "out/summary.json").read_text())["methods"]
    assert set(found) == {"spann3r", *ablations({"long_mem_tokens": 16})}
    assert {each["sequences"] for each in found.values()} == {1}
    assert len({each["mean"]["accuracy"] for each in found.values()}) > 2, "settings reach the memory"


def test_offline_order(rooms: Path, spann3r: Path, tmp_path: Path) -> None:
    options = ("--order", "offline", "--no-baseline", "--limit", 1, "--device", "cpu")
    invoke(spann3r, rooms, "--protocol", "synthetic", *options, "--out", tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["methods"]["spann3r"]["sequences"] == 1


@pytest.mark.slow
def test_global_alignment(rooms: Path, dust3r: Path, tmp_path: Path) -> None:
    options = ("--global-alignment", "--no-baseline", "--limit", 1, "--device", "cpu")
    invoke(dust3r, rooms, "--protocol", "synthetic", *options, "--out", tmp_path)
    found = json.loads((tmp_path / "summary.json").read_text())["methods"]
    assert found["dust3r, global alignment (complete)"]["sequences"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ablations",), "--ablations with .*DUSt3R"),
        (("--order", "offline"), "--order offline with .*DUSt3R"),
        (("--no-clipping",), "memory options with .*DUSt3R"),
        (("--no-long-memory", "--memory-tokens", "5"), "expected one of them"),
        (("--size", "40"), "expected a multiple of 16"),
    ],
)
def test_contradictory_options(
    rooms: Path, dust3r: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        invoke(dust3r, rooms, "--protocol", "synthetic", *options, "--out", tmp_path / "out", "--device", "cpu")
    assert not (tmp_path / "out").exists()


def test_ablations_change_one_setting_each() -> None:
    found = ablations({"work_mem_frames": 3})
    assert found["no long-term memory"] == {"work_mem_frames": 3, "long_mem_tokens": 0}
    assert found["no clipping"] == {"work_mem_frames": 3, "attention_threshold": 0.0}
    assert found["1000 memory tokens"] == {"work_mem_frames": 3, "long_mem_tokens": 1000}
