"""Chance is exact; the question-only baseline finds planted shortcuts and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.spatialmosaic.baselines import chance, question_only
from qa_generation.errors import InputError

COLOURS = ("red", "green", "blue", "white", "black", "brown", "grey", "pink")


def choice(index: int, texts: list[str], true: int, question: str = "Which one?") -> dict[str, Any]:
    return {
        "id": str(index),
        "scene_name": f"scene {index % 20}",
        "question_type": "obj_attribute_occ_ab",
        "question": question,
        "options": [f"{letter}. {text}" for letter, text in zip("ABCD", texts, strict=False)],
        "mc_answer": "ABCD"[true],
        "ground_truth": texts[true],
        "frames": ["a", "b"],
    }


def random_choices(count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [choice(i, list(rng.permutation(COLOURS)[:4]), int(rng.integers(4))) for i in range(count)]


def accuracy(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    return question_only(train, test).aggregate()["overall"]


def test_chance_is_one_over_the_number_of_options() -> None:
    run = chance([choice(0, ["Yes", "No"], 0), choice(1, list(COLOURS[:4]), 1)])
    assert [answer.score for answer in run.answers] == [0.5, 0.25]


def test_chance_leaves_out_what_cannot_be_guessed() -> None:
    number = {"id": "n", "question_type": "obj_size_occ_na", "ground_truth": "40"}
    assert chance([number]).answers == ()


def test_without_a_shortcut_the_baseline_stays_at_chance() -> None:
    assert 17 <= accuracy(random_choices(600, 0), random_choices(600, 1)) <= 33


def test_a_favoured_word_is_found() -> None:
    def biased(count: int, seed: int) -> list[dict[str, Any]]:
        rows = []
        for i, row in enumerate(random_choices(count, seed)):
            texts = [option[3:] for option in row["options"]]
            rows.append(choice(i, texts, texts.index("red") if "red" in texts else 0))
        return rows

    assert accuracy(biased(400, 0), biased(400, 1)) > 95


def test_the_middle_rank_of_numbers_is_found() -> None:
    def second_smallest(count: int, seed: int) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(count):
            numbers = [int(n) for n in rng.choice(90, size=4, replace=False)]
            rows.append(choice(i, [str(n) for n in numbers], numbers.index(sorted(numbers)[1])))
        return rows

    assert accuracy(second_smallest(500, 0), second_smallest(300, 1)) > 80


def test_an_answer_that_hangs_on_a_word_of_the_question_is_found() -> None:
    def keyed(count: int, seed: int) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(count):
            thing, colour = (("sofa", "red"), ("lamp", "blue"))[int(rng.integers(2))]
            texts = [str(text) for text in rng.permutation(["red", "blue", "white", "grey"])]
            rows.append(choice(i, texts, texts.index(colour), f"What colour is the {thing}?"))
        return rows

    assert accuracy(keyed(300, 0), keyed(300, 1)) > 95


def test_the_same_records_give_the_same_answers_in_any_order() -> None:
    train, test = random_choices(300, 0), random_choices(50, 1)
    assert question_only(train, test) == question_only(train[::-1], test)


def test_numbers_get_the_median_of_their_category() -> None:
    def size(index: int, category: str, truth: str) -> dict[str, Any]:
        kind = "obj_size_occ_na"
        return {"id": str(index), "question_type": kind, "target_category": category, "ground_truth": truth}

    train = [size(i, "chair", str(40 + i)) for i in range(5)] + [size(9, "bed", "200")]
    run = question_only(train, [size(0, "chair", "42"), size(1, "bed", "200"), size(2, "lamp", "42")])
    assert [answer.prediction for answer in run.answers] == ["42", "200", "42"]


def test_points_get_the_median_point() -> None:
    def point(truth: str) -> dict[str, Any]:
        return {"id": truth, "question_type": "obj_localization_occ_na", "ground_truth": truth, "bbox_2d_diag": 40.0}

    run = question_only([point("(10,200)"), point("(20,100)"), point("(90,110)")], [point("(21,111)")])
    assert run.answers[0].prediction == "(20,110)" and run.answers[0].score == 1.0


def test_types_without_train_questions_get_an_empty_answer() -> None:
    number = {"id": "n", "question_type": "obj_size_occ_na", "ground_truth": "40"}
    assert question_only(random_choices(8, 0), [number]).answers[0].prediction == ""


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="needs train questions"):
        question_only([], random_choices(1, 0))


def test_the_same_questions_give_the_same_table_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([random_choices(80, 0), random_choices(80, 1)]), encoding="utf-8")
    code = (
        "import hashlib, json, sys; from benchmarks.spatialmosaic.baselines import question_only; "
        "train, test = json.load(open(sys.argv[1])); "
        "print(''.join(answer.prediction for answer in question_only(train[::int(sys.argv[2])], test).answers))"
    )
    root = Path(__file__).parents[2]
    answers = set()
    for threads, hash_seed, order in (("1", "0", "1"), ("4", "1", "-1")):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code, str(path), order]
        answers.add(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=env).stdout)
    assert len(answers) == 1 and len(answers.pop().strip()) == 80
