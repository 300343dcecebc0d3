"""Our lm-eval model class with a small model of random weights: same answers however the work is cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.registry import get_model

from benchmarks.spatialmosaic.dataset import load
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.journal import Journal, journal_path
from benchmarks.spatialmosaic.model import SpatialVLM
from benchmarks.spatialmosaic.results import Run
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from tests.benchmarks.samples import write_images, write_split


def answers(model: SpatialVLM, dataset: Path, limit: int | None = 1) -> Run:
    found = evaluate(model, load(dataset), limit=limit, max_new_tokens=4, apply_chat_template=True)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def reference(model_dir: Path, dataset: Path) -> Run:
    return answers(SpatialVLM(str(model_dir), batch_size=1), dataset)


def test_the_answers_depend_on_the_question(reference: Run) -> None:
    assert len({answer.response for answer in reference.answers}) > 3


def test_the_answers_depend_on_the_pictures(
    model_dir: Path, dataset: Path, reference: Run, records: list[QARecord], tmp_path: Path
) -> None:
    write_split(tmp_path, "test", records)
    write_images(tmp_path, records, seed=1)
    others = {
        answer.id: answer.response for answer in answers(SpatialVLM(str(model_dir), batch_size=8), tmp_path).answers
    }
    assert any(others[answer.id] != answer.response for answer in reference.answers)


def test_batches_change_nothing(model_dir: Path, dataset: Path, reference: Run) -> None:
    assert answers(SpatialVLM(str(model_dir), batch_size=5), dataset) == reference


def test_views_of_a_batch_are_encoded_once(model_dir: Path, dataset: Path, reference: Run) -> None:
    model = SpatialVLM(str(model_dir), batch_size=32)
    encoded: list[int] = []
    original = model.model.encode_views
    model.model.encode_views = lambda pixels, counts: (encoded.append(len(counts)), original(pixels, counts))[1]
    found = answers(model, dataset)
    distinct = len({(answer.scene_name, answer.views) for answer in found.answers})
    assert encoded == [distinct] and len(found.answers) == 17 > distinct
    assert found == reference


def test_pictures_are_not_kept_decoded(model_dir: Path, dataset: Path) -> None:
    model = SpatialVLM(str(model_dir), batch_size=32)
    seen: list[Any] = []
    original = model.generate_until
    model.generate_until = lambda requests, **kw: (seen.extend(requests), original(requests, **kw))[1]
    answers(model, dataset)
    assert seen and all(image._im is None for request in seen for image in request.args[2]["visual"])


def test_fewer_images_than_views_is_refused_before_any_answer(model_dir: Path, dataset: Path) -> None:
    model = SpatialVLM(str(model_dir), max_images=3)
    with pytest.raises(InputError, match="max_images is 3, expected at least 5"):
        answers(model, dataset, limit=None)


def test_a_prompt_that_does_not_fit_is_an_error_not_a_cut(model_dir: Path, dataset: Path) -> None:
    with pytest.raises(InputError, match=r"a prompt of \d views has \d+ tokens, expected at most 60"):
        answers(SpatialVLM(str(model_dir), max_length=64), dataset)


def test_an_interrupted_run_goes_on(model_dir: Path, dataset: Path, reference: Run, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    model = SpatialVLM(str(model_dir), batch_size=4, journal=str(journal))
    generate, calls = model._model_multimodal_generate, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(*args, **kwargs)

    model._model_multimodal_generate = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        answers(model, dataset)
    assert len(journal.read_text().splitlines()) == 8
    with journal.open("a") as stream:
        stream.write('{"key": "cut off by a cra')
    second = SpatialVLM(str(model_dir), batch_size=4, journal=str(journal))
    asked: list[int] = []
    original = second.tok_batch_multimodal_encode
    second.tok_batch_multimodal_encode = lambda strings, *a, **k: (
        asked.append(len(strings)),
        original(strings, *a, **k),
    )[1]  # type: ignore[method-assign]
    assert answers(second, dataset) == reference
    assert sum(asked) == 17 - 8


def test_a_journal_survives_a_torn_last_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.jsonl")
    journal.append({"one": "A"})
    with journal.path.open("a") as stream:
        stream.write('{"key": "tw')
    journal.append({"three": "C\nD"})
    assert journal.read() == {"one": "A", "three": "C\nD"}


def test_the_journal_belongs_to_the_weights(model_dir: Path, tmp_path: Path) -> None:
    first = journal_path(tmp_path, str(model_dir))
    assert first == journal_path(tmp_path, str(model_dir))
    weights = model_dir / "model.safetensors"
    times = weights.stat()
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert first != journal_path(tmp_path, str(model_dir))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named_but_not_asked_for_by_lm_evals_default(model_dir: Path) -> None:
    with pytest.raises(InputError, match="device is cuda:0, but PyTorch finds no GPU here, expected cpu"):
        SpatialVLM(str(model_dir), device="cuda:0")
    made = SpatialVLM.create_from_arg_obj({"pretrained": str(model_dir)}, {"device": "cuda:0", "batch_size": 2})
    assert made.device.type == "cpu" and made.batch_size == 2


def test_the_model_is_known_to_lm_eval_by_name() -> None:
    assert get_model("spatialvlm") is SpatialVLM


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "a.jsonl", 0), Journal(tmp_path / "a.jsonl", 1)
    first.append({"one": "A"})
    second.append({"two": "B"})
    assert Journal(tmp_path / "a.jsonl").read() == {"one": "A", "two": "B"}
    second.remove()
    assert not list(tmp_path.iterdir())


def test_three_processes_get_the_batches_of_one(
    model_dir: Path, dataset: Path, reference: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process answers its share of the same batches; a fourth one finds all their answers."""
    monkeypatch.setattr("benchmarks.spatialmosaic.model.gather_object", lambda items: items)
    asked: list[tuple[str, ...]] = []
    for process in range(3):
        journal = Journal(tmp_path / "answers.jsonl", process)
        model = SpatialVLM(str(model_dir), batch_size=4)
        model.process, model.processes, model.journal = process, 3, journal
        original = model.tok_batch_multimodal_encode
        model.tok_batch_multimodal_encode = lambda strings, *a, inner=original, **k: (  # type: ignore[method-assign]
            asked.append(tuple(strings)),
            inner(strings, *a, **k),
        )[1]
        # without the others nothing is gathered: the questions of their batches stay open
        with pytest.raises(KeyError):
            answers(model, dataset)
    alone = SpatialVLM(str(model_dir), batch_size=4, journal=str(tmp_path / "answers.jsonl"))
    alone.tok_batch_multimodal_encode = lambda *a, **k: pytest.fail("nothing is left to ask")  # type: ignore
    assert answers(alone, dataset) == reference
    assert sorted(map(len, asked)) == [1, 4, 4, 4, 4]
