"""Models of other makers, unmodified: through lm-eval's own class and through ours, in batches, with every view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from benchmarks.spatialmosaic.dataset import load
from benchmarks.spatialmosaic.harness import evaluate
from benchmarks.spatialmosaic.model import SpatialVLM
from benchmarks.spatialmosaic.results import Run
from benchmarks.spatialmosaic.taskfiles import GROUP, write_tasks
from tests.benchmarks.vlms import MAKERS, save, without_video

NEW_TOKENS = 4


@pytest.fixture(scope="module", params=sorted(MAKERS))
def vlm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        without_video(patch)
        yield save(request.param, tmp_path_factory.mktemp("vlm") / request.param)


def ask(model: SpatialVLM, dataset: Path) -> Run:
    found = evaluate(model, load(dataset), limit=1, max_new_tokens=NEW_TOKENS, apply_chat_template=True)
    assert found is not None
    return found[0]


@pytest.fixture(scope="module")
def single(vlm: Path, dataset: Path) -> Run:
    return ask(SpatialVLM(str(vlm), batch_size=1), dataset)


def test_answers_differ_and_are_the_same_in_batches(vlm: Path, dataset: Path, single: Run) -> None:
    assert len(single.answers) == 17
    assert len({answer.response for answer in single.answers}) > 3
    batched = ask(SpatialVLM(str(vlm), batch_size=5), dataset)
    assert [answer.response for answer in batched.answers] == [answer.response for answer in single.answers]


def test_the_stock_class_of_lm_eval_answers_the_same(vlm: Path, dataset: Path, single: Run, tmp_path: Path) -> None:
    data = load(dataset)
    write_tasks(tmp_path, data)
    results = simple_evaluate(
        model="hf-multimodal",
        model_args=f"pretrained={vlm},max_images=5,dtype=float32",
        tasks=[GROUP],
        task_manager=TaskManager(include_path=tmp_path, include_defaults=False),
        device="cpu",
        batch_size=1,
        limit=1,
        gen_kwargs={"max_gen_toks": NEW_TOKENS},
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    assert results is not None
    responses = {sample["doc"]["id"]: sample["resps"][0][0] for task in results["samples"].values() for sample in task}
    assert responses == {answer.id: answer.response for answer in single.answers}
    assert results["results"][GROUP]["score,answer"] == pytest.approx(single.aggregate()["overall"] / 100)
