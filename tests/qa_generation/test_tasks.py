"""Every family on scenes small enough to know the answers from reading the letters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.generation_config import GenerationConfig
from qa_generation.tasks import TASKS, attribute, best_view, count, existence, localization, relation
from qa_generation.tasks.base import Candidate, Draft
from qa_generation.tasks.categories import same_kind, with_article
from qa_generation.tasks.context import SceneContext
from tests.qa_generation.hand_made import context_of, part


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _counts(context: SceneContext) -> dict[str, int]:
    found = count.candidates(context)
    return {context.categories[found[i].category]: found[i].answer for i in range(len(found))}


def _write(question_type: str, context: SceneContext, index: int = 0, **changes: int) -> Draft:
    task = TASKS[question_type]
    candidates = task.candidates(context)
    wanted = {int(a): 1 for a in candidates.answer}
    context.answer_counts[question_type] = Counter(wanted)
    draft = task.write(candidates[index]._replace(**changes), context, _rng())
    assert draft is not None
    return draft


# --- count ---------------------------------------------------------------------------------------------------------


def test_count_is_the_union_over_frames():
    # no frame shows more than two chairs, together they show three; the table is seen twice but is one
    parts = [part("chair"), part("chair"), part("chair"), part("table")]
    context = context_of(parts, ["VV.V", ".VV."], config=GenerationConfig())
    assert _counts(context) == {"chair": 3, "table": 1}
    draft = _write("obj_count_occ", context)
    assert draft.question == "Counting each physical object once, how many chair(s) can be seen in these frames?"
    assert draft.answer == "3" and len({draft.answer, *draft.wrong}) == 4
    assert draft.targets == (0, 1, 2)


@pytest.mark.parametrize(
    "states, expected",
    [
        (["V?", "VV"], {"chair": 2}),  # ambiguous here but visible there: counted all the same
        (["V?", "V."], {}),  # nobody can say whether the second one counts
        (["V.", "V."], {"chair": 1}),  # shown nowhere: does not count
    ],
)
def test_an_instance_that_is_ambiguous_everywhere_spoils_its_category(states: list[str], expected: dict):
    assert _counts(context_of([part("chair"), part("chair")], states)) == expected


def test_kindred_names_spoil_the_count():
    parts = [part("chair"), part("office chair"), part("lamp")]
    assert _counts(context_of(parts, ["V.V", "VVV"])) == {"lamp": 1}
    assert _counts(context_of(parts, ["V.V", "V.V"])) == {"chair": 1, "lamp": 1}


def test_heaps_are_not_counted():
    assert _counts(context_of([part("books"), part("books"), part("glass")], ["VVV", "V.V"])) == {"glass": 1}


def test_structure_and_crowds_are_not_counted():
    parts = [part("wall"), part("Floor"), *[part("book")] * 11]
    assert _counts(context_of(parts, ["V" * 13] * 2)) == {}
    config = GenerationConfig(max_count=11)
    assert _counts(context_of(parts, ["V" * 13] * 2, config=config)) == {"book": 11}


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("chair", "office chair", True),
        ("books", "book", True),
        ("Office Chair", "office chairs", True),
        ("table", "tablet", False),
        ("table lamp", "table", False),
        ("glass", "glas", False),
        ("shelves", "shelf", True),
    ],
)
def test_same_kind(first: str, second: str, same: bool):
    assert same_kind(first, second) is same and same_kind(second, first) is same


@pytest.mark.parametrize("noun, text", [("chair", "a chair"), ("office chair", "an office chair"), ("books", "books")])
def test_article(noun: str, text: str):
    assert with_article(noun) == text


# --- best view -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "visible, pixels, best",
    [
        ([[1, 1, 0], [1, 1, 1]], [[900, 900, 0], [10, 10, 10]], 1),  # more instances beat more pixels
        ([[1, 1], [1, 1]], [[500, 500], [550, 550]], 1),  # equal number: a tenth more pixels wins
        ([[1, 1], [1, 1]], [[500, 500], [540, 550]], -1),  # not quite a tenth: undecided
        ([[1, 1], [1, 1], [1, 0]], [[500, 500], [500, 500], [9000, 0]], -1),
    ],
)
def test_best_frame(visible: list, pixels: list, best: int):
    assert best_view.best_frame(np.array(visible, dtype=bool), np.array(pixels)) == best


def test_best_view_options_show_every_number_and_frame_twice():
    context = context_of([part("chair"), part("chair"), part("chair")], ["V..", "VV.", "..V"])
    draft = _write("bestview_count_occ", context)
    assert draft.answer == "3 chair(s); Frame 2"
    options = [option.split("; ") for option in (draft.answer, *draft.wrong)]
    for position in (0, 1):
        values = [option[position] for option in options]
        assert sorted(values.count(value) for value in values) == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "states, found",
    [
        (["V.", "VV"], 1),
        (["V?", "VV"], 0),  # the first frame may show two as well
        (["V.", "V."], 0),  # one chair is no reason to ask which frame shows them best
        (["VV", "VV"], 0),  # a tie to the pixel
    ],
)
def test_best_view_candidates(states: list[str], found: int):
    assert len(best_view.candidates(context_of([part("chair"), part("chair")], states))) == found


# --- localisation --------------------------------------------------------------------------------------------------


def _places(context: SceneContext) -> set[tuple[int, str, int]]:
    found = localization.candidates(context)
    return {(found[i].query, context.labels[found[i].target], found[i].answer) for i in range(len(found))}


def test_localisation_asks_where_it_is_and_where_it_is_not():
    context = context_of([part("chair"), part("lamp")], ["V.", "VV"])
    assert _places(context) == {(0, "chair", 1), (1, "chair", 1), (0, "lamp", 0), (1, "lamp", 1)}


@pytest.mark.parametrize("states", [["VV", ".."], ["V?", ".."]])
def test_a_second_one_in_the_frame_makes_the_place_unclear(states: list[str]):
    context = context_of([part("chair"), part("chair")], states)
    assert all(answer == localization.NO for query, _, answer in _places(context) if query == 0)
    assert (1, "chair", 0) in _places(context)


def test_a_few_pixels_are_neither_yes_nor_no():
    context = context_of([part("chair"), part("lamp")], ["?V", "VV"])
    assert not any(query == 0 and label == "chair" for query, label, _ in _places(context))


@pytest.mark.parametrize("occlusion, asked", [(0.05, False), (0.12, True), (0.88, True), (0.93, False)])
def test_only_partly_hidden_objects_are_located(occlusion: float, asked: bool):
    context = context_of([part("chair")], ["V", "V"], occlusion=occlusion)
    assert bool(_places(context)) is asked


# where an oven is centred in frames 1 to 5, on a grid of 160 x 120; canvas 512 x 512: x by 3.2, y by 4.2667
OVENS = np.array([[40, 30, 80, 60], [100, 30, 140, 60], [40, 80, 80, 110], [100, 80, 140, 110], [70, 50, 90, 70]])


def test_localisation_text_and_box():
    context = context_of([part("oven")], ["V", ".", "V", "V", "V"], boxes=OVENS[:, None])
    found = localization.candidates(context)
    index = next(i for i in range(len(found)) if found[i].query == 0)
    draft = _write("obj_localization_occ", context, index)
    assert draft.question == "Does Frame 1 show an oven? If yes, where is the centre of its 2D box?"
    assert draft.answer == "Yes; (192, 192)" and draft.asked_box == (128, 128, 256, 256)
    assert "No" in draft.wrong and len(set(draft.wrong)) == 3
    elsewhere = {"Yes; (192, 405)", "Yes; (384, 405)", "Yes; (256, 256)"}
    assert set(draft.wrong) - {"No"} <= elsewhere, "places of the same name in other frames"
    index = next(i for i in range(len(found)) if found[i].query == 1)
    negative = _write("obj_localization_occ", context, index)
    assert negative.answer == "No" and negative.asked_box == ()
    assert set(negative.wrong) <= elsewhere | {"Yes; (192, 192)"}


def test_a_place_is_not_asked_for_where_the_scene_has_too_few_of_them():
    context = context_of([part("oven")], ["V", "V"], boxes=OVENS[:2, None])
    found = localization.candidates(context)
    assert len(found) and TASKS["obj_localization_occ"].write(found[0], context, _rng()) is None


def test_no_place_is_likelier_than_another_to_be_the_true_one():
    rng = _rng()
    # low in the picture as rugs lie, so that points drawn around the true one would be higher or off the canvas
    x, y = rng.integers(0, 140, 40), rng.integers(80, 110, 40)
    boxes = np.stack([x, y, x + 16, y + 8], axis=-1)
    ranks = np.zeros((2, 3), dtype=int)
    for start in range(0, 40, 5):
        # sets of five frames of a scene of forty
        context = context_of(
            [part("rug")], ["V"] * 40, boxes=boxes[:, None], view_sets=[tuple(range(start, start + 5))]
        )
        found = localization.candidates(context)
        for _ in range(30):
            for index in range(len(found)):
                draft = TASKS["obj_localization_occ"].write(found[index], context, rng)
                assert draft is not None
                texts = [draft.answer, *draft.wrong[1:]]
                points = np.array([[int(v) for v in text[6:-1].split(", ")] for text in texts])
                for axis in (0, 1):
                    ranks[axis, (points[1:, axis] < points[0, axis]).sum()] += 1
    assert (abs(ranks / ranks.sum(axis=1, keepdims=True) - 1 / 3) < 0.05).all()


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_points_are_told_apart_by_the_larger_of_their_boxes(seed: int):
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 400, (12, 2)), rng.integers(4, 110, (12, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    chosen = localization.apart(boxes, 3)
    if chosen is None:
        return
    assert chosen[0] == 0 and len(set(chosen)) == 3
    for a, b in combinations(chosen, 2):
        centers = [(boxes[k, :2] + boxes[k, 2:]) // 2 for k in (a, b)]
        assert np.linalg.norm(centers[0] - centers[1]) >= max(10, 0.375 * np.hypot(*size[[a, b]].T).max()) - 1e-9


# --- hidden targets ------------------------------------------------------------------------------------------------

LEFT_HIGH_FAR = part("lamp", x=5.0, y=2.0, z=2.2)
MIDDLE = part("table", x=3.0, y=0.0, z=1.0)
# the lamp shows in frame 2 only, so it can be asked about from frame 1 only
HIDDEN_LAMP = ["V.", "VV"]


def _pairs(module, context: SceneContext, axis: str = "lr") -> set[tuple[int, str, str, int]]:
    found = module.candidates(context, axis)
    labels = context.labels
    return {
        (c.query, labels[c.target], labels[c.reference], c.answer) for c in map(found.__getitem__, range(len(found)))
    }


def test_existence_asks_about_what_the_frame_does_not_show():
    context = context_of([MIDDLE, LEFT_HIGH_FAR], HIDDEN_LAMP)
    assert _pairs(existence, context, "lr") == {(0, "lamp", "table", -1)}
    assert _pairs(existence, context, "ab") == {(0, "lamp", "table", +1)}
    assert _pairs(existence, context, "fb") == {(0, "lamp", "table", +1)}
    draft = _write("obj_existence_occ_ab", context)
    asked_up = draft.question == "Seen from Frame 1, is the lamp higher than the table?"
    assert asked_up or draft.question == "Seen from Frame 1, is the lamp lower than the table?"
    assert draft.answer == ("Yes" if asked_up else "No") and {draft.answer, *draft.wrong} == {"Yes", "No"}


@pytest.mark.parametrize(
    "states, why",
    [
        (["V?", "VV"], "a few of its pixels are in the asked frame"),
        (["V.", "V?"], "it is nowhere clearly visible"),
        (["..", "VV"], "the reference is not in the asked frame"),
        (["?.", "VV"], "the reference is hardly in the asked frame"),
    ],
)
def test_no_question_when(states: list[str], why: str):
    context = context_of([MIDDLE, LEFT_HIGH_FAR], states)
    assert not [pair for pair in _pairs(existence, context) if pair[1] == "lamp"], why


@pytest.mark.parametrize("second", ["lamp", "floor lamp"])
@pytest.mark.parametrize("state", ["V", "?"])
def test_a_second_thing_of_the_name_anywhere_in_the_set_makes_it_unclear(second: str, state: str):
    context = context_of([MIDDLE, LEFT_HIGH_FAR, part(second, x=5.0, y=-2.0)], ["V..", "VV" + state])
    assert not [pair for pair in _pairs(existence, context) if "lamp" in pair[1]]


def test_two_references_are_told_apart_by_their_place():
    tables = [part("table", x=3.0, y=0.0), part("table", x=3.0, y=-1.0)]
    boxes = np.array([[[20, 30, 40, 60], [100, 30, 120, 60], [0, 0, 30, 30]]] * 2)
    context = context_of([*tables, LEFT_HIGH_FAR], ["VV.", "VVV"], boxes=boxes)
    draft = _write("obj_existence_occ_lr", context)
    assert draft.question.endswith(("the table(96,192)?", "the table(352,192)?"))

    crowded = np.array([[[20, 30, 40, 60], [22, 30, 42, 60], [0, 0, 30, 30]]] * 2)
    assert not _pairs(existence, context_of([*tables, LEFT_HIGH_FAR], ["VV.", "VVV"], boxes=crowded))


def test_an_ambiguous_second_reference_spoils_the_name():
    tables = [part("table", x=3.0, y=0.0), part("table", x=3.0, y=-1.0)]
    assert not _pairs(existence, context_of([*tables, LEFT_HIGH_FAR], ["V?.", "VVV"]))


def test_yes_and_no_are_equally_frequent_for_each_direction():
    context = context_of([MIDDLE, LEFT_HIGH_FAR], HIDDEN_LAMP)
    candidate = existence.candidates(context, "lr")[0]
    rng = _rng()
    drafts = [existence.write(candidate, context, rng, "lr") for _ in range(40)]
    cells = [("left" in draft.question, draft.answer) for draft in drafts]
    assert {cells.count(cell) for cell in set(cells)} == {20} and len(set(cells)) == 2


PUBLISHED = GenerationConfig(relation_options="published")


def test_paired_relation_options_are_the_four_combinations_of_two_axes():
    context = context_of([MIDDLE, LEFT_HIGH_FAR], HIDDEN_LAMP)
    for axis, first, second in (
        ("lr", ("to the left of", "to the right of"), ("farther from the camera than", "closer to the camera than")),
        ("ab", ("higher than", "lower than"), ("to the left of", "to the right of")),
        ("fb", ("farther from the camera than", "closer to the camera than"), ("to the left of", "to the right of")),
    ):
        draft = _write(f"obj_spatial_occ_{axis}", context)
        combinations = [f"{a} and {b} the table." for a in first for b in second]
        assert draft.answer == combinations[0] and sorted(draft.wrong) == sorted(combinations[1:])


def test_paired_relation_needs_its_two_axes_decided_only():
    level = part("lamp", x=5.0, y=2.0, z=1.0)  # left of and farther than the table, as high as it
    context = context_of([MIDDLE, level], HIDDEN_LAMP)
    asked = {axis: bool(_pairs(relation, context, axis)) for axis in ("lr", "ab", "fb")}
    assert asked == {"lr": True, "ab": False, "fb": True}


def test_published_relation_has_one_true_phrase_and_three_false_ones():
    context = context_of([MIDDLE, LEFT_HIGH_FAR], HIDDEN_LAMP, config=PUBLISHED)
    for axis, truth in (
        ("lr", "to the left of the table."),
        ("ab", "higher than the table."),
        ("fb", "farther from the camera than the table."),
    ):
        draft = _write(f"obj_spatial_occ_{axis}", context)
        assert draft.question == "Seen from Frame 1, where is the lamp with respect to the table?"
        assert draft.answer == truth
        assert set(draft.wrong) == {
            "to the right of the table.",
            "lower than the table.",
            "closer to the camera than the table.",
        }


def test_published_relation_needs_all_axes_decided():
    level = part("lamp", x=5.0, y=2.0, z=1.0)
    context = context_of([MIDDLE, level], HIDDEN_LAMP, config=PUBLISHED)
    assert _pairs(existence, context, "lr") and not _pairs(relation, context, "lr")


RIGHT = [part("box", x=3.0, y=-1.5), part("plant", x=3.0, y=-2.5), part("oven", x=4.0, y=-2.0)]


def test_attribute_has_exactly_one_category_on_the_asked_side():
    # the lamp is left of the table; box, plant and oven are right of it
    context = context_of([MIDDLE, LEFT_HIGH_FAR, *RIGHT], ["V.VVV", "VVVVV"])
    assert _pairs(attribute, context, "lr") == {(0, "lamp", "table", -1)}
    draft = _write("obj_attribute_occ_lr", context)
    assert draft.question == "Seen from Frame 1, which object is to the left of the table?"
    assert draft.answer == "lamp" and set(draft.wrong) == {"box", "plant", "oven"}


@pytest.mark.parametrize(
    "extra, state, why",
    [
        (part("box", x=3.0, y=1.5), "V", "another box is on the asked side"),
        (part("box", x=3.0, y=1.5), "?", "another box may be on the asked side"),
        (part("box", x=3.0, y=-0.2), "V", "another box is neither left nor right"),
        (part("cardboard box", x=3.0, y=1.5), "V", "something also called box is on the asked side"),
    ],
)
def test_a_wrong_option_must_be_wrong_with_all_its_instances(extra, state: str, why: str):
    context = context_of([MIDDLE, LEFT_HIGH_FAR, *RIGHT, extra], ["V.VVV" + state, "VVVVV."])
    assert not [pair for pair in _pairs(attribute, context) if pair[1:3] == ("lamp", "table")], why


def test_kindred_wrong_options_never_stand_together():
    parts = [MIDDLE, LEFT_HIGH_FAR, *RIGHT[:2], part("plant pot", x=3.0, y=-3.5), part("house plant", x=4.0, y=-3.0)]
    context = context_of(parts, ["V.VVVV", "VVVVVV"])
    draft = _write("obj_attribute_occ_lr", context)
    assert len({"plant", "house plant"} & set(draft.wrong)) == 1


def test_frames_are_called_by_their_stem_on_demand():
    config = replace(GenerationConfig(), frame_naming="stem")
    context = context_of([MIDDLE, LEFT_HIGH_FAR], HIDDEN_LAMP, config=config)
    assert _write("obj_spatial_occ_lr", context).question.startswith("Seen from frame_000000,")


def test_scene_without_askable_instances_gives_no_candidates():
    context = context_of([part("wall"), part("floor")], ["VV", "VV"])
    for task in TASKS.values():
        assert len(task.candidates(context)) == 0
    assert Candidate._fields == ("view_set", "query", "category", "target", "reference", "answer")
