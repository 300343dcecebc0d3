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

from benchmarks.spatialmosaic.baselines import chance, constant, question_only
from benchmarks.spatialmosaic.baselines.learning import cross_folds
from qa_generation.errors import InputError

COLOURS = ("red", "green", "blue", "white", "black", "brown", "grey", "pink")


def choice(index: int, texts: list[str], true: int, question: str = "Which one?") -> dict[str, Any]:
    return {
        "id": str(index),
        "scene_name": f"room_{index % 20}",
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
    assert 17 <= accuracy(random_choices(400, 0), random_choices(400, 1)) <= 33


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


def size(index: int, category: str, truth: str) -> dict[str, Any]:
    question = f"How long, in centimetres, is the longest side of the {category}?"
    about = {"id": str(index), "scene_name": f"room_{index % 10}", "question_type": "obj_size_occ_na"}
    return {**about, "question": question, "ground_truth": truth, "frames": ["a", "b"]}


def point(index: int, x: int) -> dict[str, Any]:
    about = {"id": str(index), "scene_name": f"room_{index % 10}", "question_type": "obj_localization_occ_na"}
    truth = {"ground_truth": f"({x},100)", "bbox_2d_diag": 40.0, "coord_size": [512, 512]}
    return {**about, **truth, "question": "In Frame 1, give the centre of the lamp.", "frames": ["a", "b"]}


def test_a_number_that_hangs_on_the_kind_of_thing_is_found() -> None:
    rng = np.random.default_rng(0)
    rows = [size(i, *(("chair", "45") if rng.integers(2) else ("bed", "200"))) for i in range(300)]
    run = question_only(rows[:200], rows[200:])
    assert run.aggregate()["overall"] > 95
    # the best constant knows no kinds
    assert constant(rows[:200], rows[200:]).aggregate()["overall"] < 70


def test_points_get_the_place_where_most_are() -> None:
    rows = [point(i, 100 if i % 4 else 400) for i in range(60)]
    for run in (question_only(rows[:40], rows[40:]), constant(rows[:40], rows[40:])):
        assert run.aggregate()["overall"] == pytest.approx(75, abs=5)


def test_types_that_train_lacks_are_cross_fitted() -> None:
    sizes = [size(i, "chair", "45") for i in range(40)]
    run = constant(random_choices(20, 0), sizes)
    assert {answer.prediction for answer in run.answers} == {"45"}


def test_without_a_train_split_nothing_is_learnt_from_the_asked_scene() -> None:
    # every scene has a letter of its own: within a scene it would be known, from others it is not
    rows = []
    for index, row in enumerate(random_choices(200, 0)):
        texts = [option[3:] for option in row["options"]]
        scene = index % 20
        rows.append({**choice(index, texts, scene % 4), "scene_name": f"room_{scene}"})
    run = constant([], rows)
    assert run.name == "constant (cross-fitted)"
    assert run.aggregate()["overall"] <= 25
    fold = cross_folds(rows, 0)
    assert all(len({int(fold[i]) for i in range(scene, 200, 20)}) == 1 for scene in range(20))


def test_the_constant_may_be_a_letter_or_a_wording() -> None:
    yes_no = [choice(i, ["Yes", "No"] if i % 2 else ["No", "Yes"], i % 2) for i in range(40)]
    assert constant(yes_no[:20], yes_no[20:]).aggregate()["overall"] == 100.0  # always "No", wherever it stands
    letters = [choice(i, list(np.roll(COLOURS, i)[:4]), 2) for i in range(40)]
    run = constant(letters[:20], letters[20:])
    assert {answer.prediction for answer in run.answers} == {"C"} and run.name == "constant (learnt on train)"


def test_nothing_to_learn_from_is_an_error_or_an_empty_answer() -> None:
    with pytest.raises(InputError, match="needs questions to learn from"):
        question_only([], random_choices(1, 0))
    assert question_only(random_choices(30, 0), [size(0, "chair", "40")]).answers[0].prediction == ""


@pytest.mark.slow
def test_the_same_questions_give_the_same_table_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([random_choices(60, 0), random_choices(40, 1)]), encoding="utf-8")
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
    assert len(answers) == 1 and len(answers.pop().strip()) == 40
