"""Questions as training reads them: answer styles, epochs, mixtures, and files that are wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geometry_encoders.errors import InputError
from qa_generation.prompts import POST_CHOICE, POST_NUMERIC, PREAMBLE
from spatialvlm.training.answer_format import option_text, shuffle_options, write_exchange
from spatialvlm.training.data import QuestionTable, Source, TrainingViewSets
from tests.spatialvlm.small_questions import make_record, small_records, write_question_set

RECORD = replace(
    make_record(0),
    question="Which is closer?",
    options=("A. floor lamp", "B. sofa"),
    mc_answer="B",
    ground_truth="sofa",
)


def test_letter_is_the_published_form() -> None:
    exchange = write_exchange(RECORD, "letter")
    assert exchange.question == f"{PREAMBLE}\nWhich is closer?\nOptions:\nA. floor lamp\nB. sofa\n{POST_CHOICE}"
    assert (exchange.answer, exchange.candidates) == ("B", ("A", "B"))


def test_words_show_no_options() -> None:
    exchange = write_exchange(RECORD, "words")
    assert exchange.question == f"{PREAMBLE}\nWhich is closer?\n{POST_NUMERIC}"
    assert (exchange.answer, exchange.candidates) == (" sofa", (" floor lamp", " sofa"))


def test_words_then_letter_ends_with_the_letter() -> None:
    exchange = write_exchange(RECORD, "words_then_letter")
    assert exchange.question.endswith(f"Options:\nA. floor lamp\nB. sofa\n{POST_CHOICE}")
    assert exchange.answer == "<think> sofa</think>B"
    assert exchange.candidates[0] == "<think> floor lamp</think>A"


@pytest.mark.parametrize("style", ["letter", "words", "words_then_letter"])
def test_numbers_are_numbers_in_every_style(style: str) -> None:
    exchange = write_exchange(make_record(7, "obj_count_occ_na"), style)  # type: ignore[arg-type]
    assert exchange.answer == "7" and exchange.candidates == ()
    assert exchange.question.endswith(POST_NUMERIC)


def test_shuffled_options_keep_the_truth() -> None:
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(200):
        shuffled = shuffle_options(make_record(2), rng)
        assert [option[:3] for option in shuffled.options] == ["A. ", "B. ", "C. ", "D. "]
        assert sorted(map(option_text, shuffled.options)) == sorted(map(option_text, make_record(2).options))
        assert option_text(shuffled.options["ABCD".index(shuffled.mc_answer)]) == make_record(2).ground_truth
        seen[shuffled.mc_answer] += 1
    assert min(seen[letter] for letter in "ABCD") > 30


def test_questions_are_grouped_by_their_views(tmp_path: Path) -> None:
    table = QuestionTable(Source(str(write_question_set(tmp_path / "questions"))))
    assert (len(table), table.num_questions) == (4, 17)
    sets = TrainingViewSets([table], 24, {"letter": 1.0}, seed=0)
    by_id = {item.view_set_id: item for item in (sets[i] for i in range(4))}
    assert {name: (len(i.image_paths), len(i.exchanges)) for name, i in by_id.items()} == {
        "room.000": (2, 5),
        "room.001": (3, 4),
        "room.002": (5, 6),
        "room.003": (4, 2),
    }
    assert by_id["room.001"].labels == ("Frame 1", "Frame 2", "Frame 3")
    assert by_id["room.001"].image_paths[2] == tmp_path / "questions" / "images" / "room" / "frame_000002.png"


def test_stem_naming_labels_the_views_by_their_stems(tmp_path: Path) -> None:
    records = [replace(make_record(0), frame_naming="stem")]
    table = QuestionTable(Source(str(write_question_set(tmp_path / "q", records))))
    item = TrainingViewSets([table], 4, {"letter": 1.0}, seed=0)[0]
    assert item.labels == ("frame_000000", "frame_000001")


def test_epochs_are_reproducible_and_differ(tmp_path: Path) -> None:
    table = QuestionTable(Source(str(write_question_set(tmp_path / "q"))))

    def epoch(number: int, seed: int = 1) -> list[object]:
        sets = TrainingViewSets([table], 3, {"letter": 0.5, "words": 0.5}, seed)
        sets.set_epoch(number)
        return [sets[i] for i in reversed(range(len(sets)))]  # the order of reading must not matter

    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1) and epoch(0) != epoch(0, seed=2)
    assert all(len(item.exchanges) <= 3 for item in epoch(3))  # type: ignore[attr-defined]


def test_weights_say_how_often_a_source_comes(tmp_path: Path) -> None:
    root = str(write_question_set(tmp_path / "q"))
    twice, half = QuestionTable(Source(root, weight=2.0)), QuestionTable(Source(root, "test", weight=0.5))
    sets = TrainingViewSets([twice, half], 24, {"letter": 1.0}, seed=0)
    assert len(sets) == 10
    counts = Counter(sets[i].view_set_id for i in range(8))
    assert set(counts.values()) == {2} and len(counts) == 4
    assert len({sets[i].view_set_id for i in (8, 9)}) == 2


def test_a_source_may_have_its_own_style_and_types(tmp_path: Path) -> None:
    root = str(write_question_set(tmp_path / "q"))
    only = QuestionTable(Source(root, question_types=("obj_count_occ_na",)))
    words = QuestionTable(Source(root, answer_style={"words": 1.0}, max_view_sets=2))
    assert (only.num_questions, len(words)) == (1, 2)
    sets = TrainingViewSets([words], 24, {"letter": 1.0}, seed=0)
    assert all(e.answer.startswith(" ") or e.answer.isdigit() for i in range(2) for e in sets[i].exchanges)


def test_missing_pictures_are_named_before_training(tmp_path: Path) -> None:
    root = write_question_set(tmp_path / "q")
    (root / "images" / "room" / "frame_000004.png").unlink()
    with pytest.raises(InputError, match=r"frame_000004\.png: no such file \(1 of 5 pictures"):
        QuestionTable(Source(str(root)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.png"])
def test_pictures_outside_the_dataset_are_refused(tmp_path: Path, name: str) -> None:
    root = write_question_set(tmp_path / "q", [replace(small_records()[0], images=(name, name))])
    with pytest.raises(InputError, match="leaves the dataset folder"):
        QuestionTable(Source(str(root)))


def test_wrong_folders_and_files_are_named(tmp_path: Path) -> None:
    root = write_question_set(tmp_path / "q")
    with pytest.raises(InputError, match=r"data/val: no \.parquet file there, expected .* test, train"):
        QuestionTable(Source(str(root), "val"))
    with pytest.raises(InputError, match="no question of the types obj_size_occ_na"):
        QuestionTable(Source(str(root), question_types=("obj_size_occ_na",)))
    (root / "data" / "train" / "room.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="data/train: not readable as question files"):
        QuestionTable(Source(str(root)))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"question_types": ("obj_cuont",)}, "obj_cuont"),
        ({"answer_style": {"letters": 1.0}}, "letters"),
        ({"answer_style": {"letter": 0.0}}, "not all 0"),
        ({"weight": 0.0}, "weight is 0"),
    ],
)
def test_wrong_sources_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Source("anywhere", **wrong)  # type: ignore[arg-type]


def test_splits_joined_by_plus_share_their_views(tmp_path: Path) -> None:
    root = str(write_question_set(tmp_path / "q"))
    both = QuestionTable(Source(root, "train+test"))
    assert (len(both), both.num_questions) == (4, 34)
    with pytest.raises(InputError, match=r"data/warmup: no \.parquet file there"):
        QuestionTable(Source(root, "train+warmup"))


def test_every_letter_repeats_a_question_with_each_option_as_the_thought(tmp_path: Path) -> None:
    table = QuestionTable(Source(str(write_question_set(tmp_path / "q"))))
    items = TrainingViewSets([table], 8, {"every_letter": 1.0}, seed=0, shuffle_choices=False)
    for item in (items[index] for index in range(len(items))):
        questions = {exchange.question_id for exchange in item.exchanges}
        assert len(questions) <= 2  # a quarter of eight
        for name in questions:
            repeated = [exchange for exchange in item.exchanges if exchange.question_id == name]
            record = next(record for record in small_records() if record.id == name)
            if not record.options:
                assert [exchange.letter_only for exchange in repeated] == [False]
                continue
            answers = {f"<think> {option_text(o)}</think>{o[0]}": o[0] != record.mc_answer for o in record.options}
            assert {exchange.answer: exchange.letter_only for exchange in repeated} == answers
