"""The task group as lm-eval runs it, with models that answer from the document."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from benchmarks.spatialmosaic.dataset import load
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.results import PREDICTIONS, Run
from benchmarks.spatialmosaic.taskfiles import BASE, GROUP, PACKAGED, task_name, write_tasks
from benchmarks.spatialmosaic.tasks.utils import DATA_VARIABLE, doc_to_target
from qa_generation.errors import InputError
from qa_generation.prompts import QUESTION_TYPES, frame_name, question_prompt
from qa_generation.records import QARecord
from spatialvlm.conversation import build_messages
from tests.benchmarks.samples import AnsweringModel, make_record, write_images, write_split
from tests.spatialvlm.small_models import small_processor


def run(model: AnsweringModel, dataset: Path, **kwargs: Any) -> tuple[Run, dict[str, Any]]:
    found = evaluate(model, load(dataset), **kwargs)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def gold(dataset: Path) -> tuple[Run, dict[str, Any], AnsweringModel]:
    model = AnsweringModel(lambda doc: f"<think>let me look</think> {doc_to_target(doc)}\n")
    return *run(model, dataset), model


def test_gold_answers_score_one_hundred_on_every_type(gold: tuple[Run, dict[str, Any], AnsweringModel]) -> None:
    for means in (gold[0].aggregate(), gold[0].aggregate_repaired()):
        assert means["overall"] == 100.0
        assert len(means["per_type"]) == 17 and set(means["per_type"].values()) == {1.0}


def test_the_group_of_the_harness_says_the_same(gold: tuple[Run, dict[str, Any], AnsweringModel]) -> None:
    results = gold[1]["results"]
    assert results[GROUP]["score,answer"] == 1.0
    assert {results[task_name(kind)]["score,answer"] for kind in QUESTION_TYPES} == {1.0}
    assert results["spatialmosaic_object_relation"]["score_repaired,answer"] == 1.0


def test_empty_answers_score_zero_on_every_type(dataset: Path) -> None:
    found, _ = run(AnsweringModel(lambda doc: ""), dataset)
    for means in (found.aggregate(), found.aggregate_repaired()):
        assert means["overall"] == 0.0 and len(means["per_type"]) == 17
        assert set(means["per_type"].values()) == {0.0}
    assert not any(answer.parsed or answer.parsed_repaired for answer in found.answers)


NONSENSE: list[Any] = [
    *("\x00\ud7ff", "<think>" * 500, "9" * 5000, "(((", "🦜 " * 300, "\n", "A\nB", "nan", "</think>", "inf", "-1e999"),
    *(
        "\ud800",
        "\udfff\ud83d",
        "a\u2028b\u2029c\x85d\x0be\x1cf",
        '"}\n{"',
        "word " * 10_000,
        None,
        7,
        ["A"],
        "\ufeffA",
    ),
]


def test_nonsense_is_scored_written_and_read_again(dataset: Path, tmp_path: Path) -> None:
    replies = iter(NONSENSE * 4)
    found, _ = run(AnsweringModel(lambda doc: next(replies)), dataset)
    assert len(found.answers) == 68 and found.aggregate()["overall"] <= 100.0
    found.write(tmp_path / PREDICTIONS)
    lines = (tmp_path / PREDICTIONS).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    assert [json.loads(line)["id"] for line in lines] == [answer.id for answer in found.answers]
    again = Run.read(tmp_path)
    assert [(a.score, a.score_repaired, a.parsed) for a in again.answers] == [
        (a.score, a.score_repaired, a.parsed) for a in found.answers
    ]


def test_every_question_is_answered_once_and_in_file_order(
    gold: tuple[Run, dict[str, Any], AnsweringModel], dataset: Path
) -> None:
    assert [answer.id for answer in gold[0].answers] == load(dataset).table["id"].to_pylist()


def test_the_raw_response_is_kept_beside_the_scored_part(gold: tuple[Run, dict[str, Any], AnsweringModel]) -> None:
    answer = next(answer for answer in gold[0].answers if answer.question_type == "obj_count_occ")
    assert answer.response == f"<think>let me look</think> {answer.target}\n"
    assert answer.prediction == answer.target


def test_every_view_is_named_before_its_picture(gold: tuple[Run, dict[str, Any], AnsweringModel]) -> None:
    for text, pictures in gold[2].seen:
        assert text.count("<image>") == len(pictures)
        lines = text.split("\n")
        assert lines[: len(pictures)] == [f"frame_{10 * view:06d}: <image>" for view in range(len(pictures))]
        assert lines[len(pictures)] == "These are frames of a video."


def test_the_prompt_is_the_one_of_training_after_the_chat_template(dataset: Path, tmp_path: Path) -> None:
    """lm-eval rebuilds the chat from the text; the result must be what training and `ask` feed the model."""
    from lm_eval.models.hf_vlms import HFMultimodalLM

    record = make_record("bestview_count_occ", 1)
    record = replace(record, frame_naming="index")
    write_split(tmp_path, "test", [record])
    write_images(tmp_path, [record])
    model = AnsweringModel(lambda doc: "A")
    run(model, tmp_path)
    processor = small_processor()
    shell: Any = object.__new__(HFMultimodalLM)
    shell.interleave, shell.max_images, shell.processor = True, 999, processor
    ours = shell.apply_chat_template([{"role": "user", "content": model.seen[0][0]}])
    labels = [frame_name("index", index, view) for index, view in enumerate(record.frames)]
    question = question_prompt(record.question_type, record.question, record.options)
    messages = build_messages([""] * len(labels), question, labels)
    assert ours == processor.apply_chat_template(messages, add_generation_prompt=True)
    assert "Frame 1: <image>\nFrame 2: <image>\n" in ours


def test_image_marks_in_a_question_are_not_taken_for_views(tmp_path: Path) -> None:
    record = make_record("obj_count_occ", 0)
    record = replace(record, question="Is <image> a trick?")
    write_split(tmp_path, "test", [record])
    write_images(tmp_path, [record])
    model = AnsweringModel(lambda doc: "A")
    run(model, tmp_path)
    assert model.seen[0][0].count("<image>") == 2


def test_limit_counts_per_question_type(dataset: Path) -> None:
    found, _ = run(AnsweringModel(doc_to_target), dataset, limit=1)
    assert sorted(answer.question_type for answer in found.answers) == sorted(QUESTION_TYPES)


def test_the_packaged_files_are_what_the_writer_writes(tmp_path: Path) -> None:
    written = write_tasks(tmp_path)
    assert {path.name for path in written} == {path.name for path in PACKAGED.glob("*.yaml")}
    for path in [*written, tmp_path / BASE]:
        assert path.read_text() == (PACKAGED / path.name).read_text()


def test_packaged_tasks_find_the_dataset_through_the_environment(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(dataset))
    manager = TaskManager(include_path=PACKAGED, include_defaults=False)
    results = simple_evaluate(
        model=AnsweringModel(doc_to_target), tasks=["spatialmosaic_object_relation"], task_manager=manager
    )
    assert results is not None
    assert results["results"]["spatialmosaic_object_relation"]["score,answer"] == 1.0
    assert results["n-samples"][task_name("obj_spatial_occ_fb")]["effective"] == 4


def test_packaged_tasks_without_a_dataset_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(InputError, match=DATA_VARIABLE):
        TaskManager(include_path=PACKAGED, include_defaults=False).load([task_name("obj_count_occ")])


def test_a_type_the_dataset_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record: QARecord = make_record("obj_count_occ", 0)
    write_split(tmp_path, "test", [record])
    write_images(tmp_path, [record])
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="no question of type bestview_count_occ"):
        TaskManager(include_path=PACKAGED, include_defaults=False).load([task_name("bestview_count_occ")])


def test_written_tasks_carry_absolute_paths_and_only_present_types(tmp_path: Path) -> None:
    records = [make_record(kind, 0) for kind in ("obj_count_occ", "obj_spatial_occ_lr")]
    write_split(tmp_path / "data_set", "test", records)
    write_images(tmp_path / "data_set", records)
    data = load(tmp_path / "data_set")
    files = write_tasks(tmp_path / "tasks", data)
    config = yaml.safe_load((tmp_path / "tasks" / f"{task_name('obj_count_occ')}.yaml").read_text())
    assert config["dataset_kwargs"]["data"] == str((tmp_path / "data_set").resolve())
    assert {file.stem for file in files} == {path.stem for path in (tmp_path / "tasks").glob("*.yaml")}
    assert {file.stem for file in files} == {
        GROUP,
        "spatialmosaic_indoor",
        "spatialmosaic_indoor_object_relation",
        "spatialmosaic_object_relation",
        *(task_name(kind, place) for kind in data.question_types for place in (None, "indoor")),
    }
