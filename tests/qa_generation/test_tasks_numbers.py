"""Numbers, distances, sizes and points: answers known on paper, and what is not asked."""

from __future__ import annotations

import numpy as np
import pytest

from qa_generation.tasks import TASKS
from qa_generation.tasks.base import Draft
from qa_generation.tasks.context import SceneContext
from qa_generation.tasks.measures import log_bins, metres, rounds_surely
from tests.qa_generation.hand_made import context_of, part

# cubes of 0.4 m in front of a camera at (0, 0, 1); their nearest face is 0.2 m before the centre
NEAR, FAR = part("table", x=3.0, y=0.0, z=1.0), part("lamp", x=5.0, y=0.0, z=1.0)
APART = ["V.", ".V"]


def _drafts(question_type: str, context: SceneContext) -> list[Draft]:
    task = TASKS[question_type]
    candidates = task.candidates(context)
    written = [task.write(candidates[i], context, np.random.default_rng(0)) for i in range(len(candidates))]
    return [draft for draft in written if draft is not None]


def test_camera_distance_is_to_the_nearest_point_of_the_surface():
    drafts = _drafts("obj_distance_occ_na", context_of([NEAR, FAR], APART))
    # each object seen from each of the two frames, whether that frame shows it or not
    assert {(d.question, d.answer) for d in drafts} == {
        (f"How far, in metres, is the camera of Frame {k} from the nearest point of the {name}?", answer)
        for k in (1, 2)
        for name, answer in (("table", "2.8"), ("lamp", "4.8"))
    }
    assert {round(d.value or 0, 6) for d in drafts} == {2.8, 4.8} and {d.unit for d in drafts} == {"m"}


def test_camera_distance_is_not_asked_of_two_of_a_kind_nor_beyond_the_range():
    assert not _drafts("obj_distance_occ_na", context_of([NEAR, part("table", x=4.0, y=1.0)], ["VV", "VV"]))
    assert not _drafts("obj_distance_occ_na", context_of([part("lamp", x=11.0)], ["V", "V"]))
    assert not _drafts("obj_distance_occ_na", context_of([part("lamp", x=0.4)], ["V", "V"]))


def test_object_distance_is_between_nearest_points_of_objects_never_shown_together():
    (draft,) = _drafts("obj_obj_distance_occ_na", context_of([NEAR, FAR], APART))
    assert draft.answer == "1.6" and draft.value == pytest.approx(1.6, abs=1e-6) and draft.unit == "m"
    assert draft.question in {
        f"How far apart, in metres, are the nearest points of the {a} and the {b}?"
        for a, b in (("table", "lamp"), ("lamp", "table"))
    }
    assert not _drafts("obj_obj_distance_occ_na", context_of([NEAR, FAR], ["VV", ".V"])), "one frame shows both"


def test_a_distance_that_rounds_unsurely_is_not_asked():
    # faces 1.65 m apart: a hair decides between 1.6 and 1.7
    assert not _drafts("obj_obj_distance_occ_na", context_of([NEAR, part("lamp", x=5.05)], APART))
    assert rounds_surely(np.array([1.65, 1.6551, 1.6449, 1.60])).tolist() == [False, True, True, True]
    assert [metres(value) for value in (1.6449, 1.6551, 2.0)] == ["1.6", "1.7", "2.0"]


def test_size_is_asked_only_where_every_frame_shows_a_part():
    (draft,) = _drafts("obj_size_occ_na", context_of([part("sofa")], ["V", "V"], occlusion=0.3))
    assert draft.question == "How long, in centimetres, is the longest side of the sofa?"
    assert draft.answer == "40" and draft.value == pytest.approx(40.0) and draft.unit == "cm"
    assert not _drafts("obj_size_occ_na", context_of([part("sofa")], ["V", "V"], occlusion=0.1))


def test_count_as_a_number_counts_over_all_frames():
    chairs = [part("chair", x=3.0, y=y) for y in (-1.0, 0.0, 1.0)]
    (draft,) = _drafts("obj_count_occ_na", context_of(chairs, ["VV.", ".VV"]))
    assert draft.answer == "3" and draft.value == 3.0 and draft.unit == "objects"
    assert draft.question.endswith("how many chair(s) can be seen in these frames? Give a whole number.")


def test_point_is_the_centre_of_the_visible_box_on_the_named_canvas():
    # pictures of 160 x 120 on a canvas of 512 x 512: box (128, 128) to (256, 256)
    context = context_of([part("sofa")], ["V", "V"], boxes=np.array([[[40, 30, 80, 60]]] * 2))
    draft = _drafts("obj_localization_occ_na", context)[0]
    assert draft.asked_box == (128, 128, 256, 256) and draft.answer == "(192,192)" and draft.unit == "px"
    assert draft.question == (
        "In Frame 1, give the pixel centre (x,y) of the 2D box of the sofa; pictures are 512 pixels wide and 512 high."
    )


def test_bins_of_the_logarithm_are_a_quarter_wide():
    assert np.diff(log_bins(np.array([1.0, 1.26, 1.6, 2.0]))).tolist() == [1, 1, 1]
