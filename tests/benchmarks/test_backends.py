"""Models behind a chat API: what they are shown, and that failures, silence and interruptions do no harm."""

from __future__ import annotations

import base64
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.spatialmosaic.backends import Backend
from benchmarks.spatialmosaic.dataset import load
from benchmarks.spatialmosaic.results import Run
from benchmarks.spatialmosaic.session import Session, Settings
from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks
from qa_generation.errors import InputError
from qa_generation.prompts import QUESTION_TYPES
from qa_generation.records import QARecord
from spatialvlm.cli import build_app
from tests.benchmarks.chat_server import chat_server

pytest.importorskip("tenacity", reason="lm-eval asks servers with it: pip install 'lm-eval[api]'")

CHAT = "local-chat-completions"


def question_of(body: dict[str, Any]) -> str:
    return "".join(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")


@pytest.fixture(scope="module")
def gold(records: list[QARecord]) -> Callable[[dict[str, Any]], str]:
    """The true answer, found by the text of the question."""
    truth = {record.question: record.mc_answer or record.ground_truth for record in records}
    return lambda body: next(truth[line] for line in question_of(body).split("\n") if line in truth)


def session(folder: Path, url: str, **settings: Any) -> Session:
    chosen = Settings(backend=CHAT, model_args=f"base_url={url},num_concurrent=4,max_retries=1", **settings)
    return Session("any-model", folder, chosen, max_views=5)


def test_gold_answers_score_one_hundred_on_every_type(
    dataset: Path, gold: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    with chat_server(gold) as server:
        run = session(tmp_path, server.url).ask(load(dataset), "gold")
    assert run is not None
    for means in (run.aggregate(), run.aggregate_repaired()):
        assert means["overall"] == 100.0 and len(means["per_type"]) == len(QUESTION_TYPES)
    assert run.facts["backend"] == CHAT and run.facts["questions"] == 68 == len(server.requests)


def test_every_view_stands_under_its_name_as_the_unchanged_file(dataset: Path, tmp_path: Path) -> None:
    with chat_server(lambda body: "A") as server:
        session(tmp_path, server.url, max_new_tokens=7).ask(load(dataset).limited(1), "model")
    shown = {row["question"]: row["images"] for row in load(dataset).table.to_pylist()}
    for body in server.requests:
        parts = body["messages"][-1]["content"]
        (images,) = [images for question, images in shown.items() if question in question_of(body).split("\n")]
        assert [part["type"] for part in parts] == ["text", "image_url"] * len(images) + ["text"]
        for index, name in enumerate(images):
            assert parts[2 * index]["text"].strip() == f"frame_{10 * index:06d}:"
            url = parts[2 * index + 1]["image_url"]["url"]
            assert url.startswith("data:image/jpeg;base64,")
            assert base64.b64decode(url.split(",", 1)[1]) == (dataset / name).read_bytes()
        assert "<image>" not in question_of(body)
        assert body["model"] == "any-model" and body["max_tokens"] == 7 and body["temperature"] == 0


def test_a_turned_photo_is_sent_upright(dataset: Path, tmp_path: Path) -> None:
    data = load(dataset).limited(1)
    data = replace(data, table=data.of_type("obj_count_occ"))
    row = data.table.to_pylist()[0]
    for name in row["images"]:
        exif = Image.Exif()
        exif[0x0112] = 6
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 4)).save(tmp_path / name, exif=exif)
    with chat_server(lambda body: "A") as server:
        session(tmp_path, server.url).ask(replace(data, image_root=tmp_path), "model")
    (body,) = server.requests
    urls = [part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
    for url in urls:
        assert Image.open(BytesIO(base64.b64decode(url.split(",", 1)[1]))).size == (4, 8)


@pytest.mark.parametrize("content", [None, "", "\x00", "\ud800", "word " * 10_000, ["not", "text"], b"{}"])
def test_silence_and_nonsense_are_scored(dataset: Path, tmp_path: Path, content: Any) -> None:
    with chat_server(lambda body: content) as server:
        run = session(tmp_path, server.url).ask(load(dataset).limited(1), "model")
    assert run is not None and len(run.answers) == 17
    run.write(tmp_path / "predictions.jsonl")
    assert [answer.score for answer in Run.read(tmp_path).answers] == [answer.score for answer in run.answers]


def test_a_server_that_fails_stops_the_run_which_then_goes_on(
    dataset: Path, gold: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    count = 0

    def failing(body: dict[str, Any]) -> Any:
        nonlocal count
        count += 1
        return gold(body) if count <= 40 else 500

    with chat_server(failing) as server, pytest.raises(InputError, match=r"no answer after all tries .*500.* are kept"):
        session(tmp_path, server.url).ask(load(dataset), "model")
    gc.collect()  # requests that were under way complain when they go; let it be now
    with chat_server(gold) as second:
        # the same endpoint as far as the run can tell: the journal belongs to model and arguments
        resumed = session(tmp_path, server.url)
        resumed.lm.inner.base_url = second.url  # type: ignore[union-attr]
        run = resumed.ask(load(dataset), "model")
    assert run is not None and run.aggregate()["overall"] == 100.0
    assert len(second.requests) == 68 - 32 and run.facts["answers_of_an_earlier_call"] == 32


def test_the_command_reports_as_for_any_model(
    dataset: Path, gold: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    with chat_server(gold) as server:
        arguments = ["bench", "gpt-x", dataset, "--backend", CHAT, "--model-args", f"base_url={server.url}"]
        command = [*map(str, arguments), "--limit", "1", "--out", str(tmp_path)]
        result = CliRunner().invoke(build_app(), command)
    assert result.exit_code == 0, result.output
    assert Run.read(tmp_path).aggregate()["overall"] == 100.0
    facts = Run.read(tmp_path).facts
    assert facts["model"] == "gpt-x" and facts["model_digest"] is None
    assert sorted(path.name for path in tmp_path.glob(".answers*")) == []


@pytest.mark.parametrize(
    ("backend", "arguments", "message"),
    [
        ("no-such-class", "", "--backend no-such-class with m: .*no-such-class"),
        ("dummy", "", "takes no pictures"),
        (CHAT, "max_images=many", "--backend local-chat-completions with m: ValueError"),
    ],
)
def test_backends_that_cannot_be_used_are_explained(backend: str, arguments: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Backend(backend, "m", arguments, max_views=5, batch_size=1)


def test_a_launcher_around_a_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="runs in one process"):
        Backend(CHAT, "m", "base_url=http://localhost", max_views=5, batch_size=1)


@pytest.mark.slow
def test_the_stock_command_of_lm_eval_with_a_chat_api(
    dataset: Path, gold: Callable[[dict[str, Any]], str], tmp_path: Path
) -> None:
    write_tasks(tmp_path / "tasks", load(dataset))
    with chat_server(gold) as server:
        command = [sys.executable, "-m", "lm_eval", "run", "--model", CHAT, "--tasks", GROUP, "--apply_chat_template"]
        command += ["--model_args", f"model=gpt-x,base_url={server.url},num_concurrent=4,max_images=5"]
        command += ["--include_path", str(tmp_path / "tasks"), "--output_path", str(tmp_path / "out"), "--log_samples"]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, timeout=400, capture_output=True)
    (results,) = (tmp_path / "out").rglob("results_*.json")
    groups = json.loads(results.read_text())["groups"]
    assert groups[GROUP]["score,answer"] == groups[GROUP]["score_repaired,answer"] == 1.0
    most = max(sum(part["type"] == "image_url" for part in b["messages"][-1]["content"]) for b in server.requests)
    assert most == 5
