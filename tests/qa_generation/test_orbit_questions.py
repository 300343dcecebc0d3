"""Orbit questions on hand-made captures: true answers worked out on paper, guard bands, balance, a second opinion."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from qa_generation.errors import SceneError
from qa_generation.generation_config import GenerationConfig
from qa_generation.orbit import best_frame, motion, round_object
from qa_generation.orbit.capture import Mask, ObjectCapture
from qa_generation.orbit.compose import FAMILIES, compose_from_facts, compose_orbit
from qa_generation.orbit.drafts import Asked, Family, OrbitDraft
from qa_generation.orbit.facts import OrbitFacts, gather_facts
from qa_generation.orbit.recheck import recheck_capture
from qa_generation.orbit.view_sets import OrbitSet
from qa_generation.prompts import ORBIT_CHOICE_TYPES, ORBIT_NUMERIC_TYPES, ORBIT_TYPES, question_prompt
from qa_generation.records import QARecord
from tests.qa_generation.orbit_factories import ball_capture, place

CONFIG = GenerationConfig(per_type=12, blind=False)


def full_turn() -> ObjectCapture:
    """30 views all round, heights and distances in waves."""
    return ball_capture(
        [place(12 * i, 25 + 20 * np.sin(i / 3), 1.5 + 0.4 * np.cos(i / 2)) for i in range(30)],
    )


@pytest.fixture(scope="module")
def facts() -> OrbitFacts:
    return gather_facts(full_turn())


@pytest.fixture(scope="module")
def records(facts: OrbitFacts) -> list[QARecord]:
    return compose_from_facts(facts, CONFIG, seed=3)


def ask(family: Family, positions: list[np.ndarray], **options: object) -> list[OrbitDraft]:
    """What a family asks of exactly these views; four more views, not asked about, make the capture whole."""
    rest = [place(a, 5) for a in (3, 93, 183, 273)]
    facts = gather_facts(ball_capture([*positions, *rest], **options), cells=20)  # type: ignore[arg-type]
    shown = OrbitSet(tuple(range(len(positions))), 0.0, 0.0)
    return family(Asked(facts, shown, "index", np.random.default_rng(0)))


def answers(drafts: list[OrbitDraft]) -> dict[tuple[int, ...], str]:
    return {draft.frames: draft.answer for draft in drafts}


def test_right_is_counter_clockwise() -> None:
    places = [place(0, 10), place(60, 10)]
    assert answers(ask(motion.left_right, places)) == {(0, 1): "to its right", (1, 0): "to its left"}
    assert answers(ask(motion.turning, places)) == {(0, 1): "counter-clockwise", (1, 0): "clockwise"}


@pytest.mark.parametrize("azimuth", [5, 12, 172, 180, 188, 355])
def test_small_and_nearly_opposite_steps_are_not_asked(azimuth: float) -> None:
    assert ask(motion.left_right, [place(0, 10), place(azimuth, 10)]) == []


def test_sideways_steps_seen_from_straight_above_are_not_asked() -> None:
    assert ask(motion.left_right, [place(0, 80), place(60, 80)]) == []


def test_up_and_down() -> None:
    places = [place(0, 10), place(40, 45)]
    assert answers(ask(motion.up_down, places)) == {(0, 1): "up", (1, 0): "down"}
    assert ask(motion.up_down, [place(0, 10), place(40, 15)]) == []
    # steeper but lower, since it came nearer: neither up nor down
    assert ask(motion.up_down, [place(0, 25, 3.0), place(40, 40, 1.2)]) == []


def test_closer_and_farther_whatever_the_scale() -> None:
    places = [place(0, 10, 1.2), place(70, 10, 1.8)]
    for scale in (0.01, 1.0, 40.0):
        assert answers(ask(motion.forth_back, places, scale=scale)) == {(0, 1): "farther away", (1, 0): "closer"}
    assert ask(motion.forth_back, [place(0, 10, 1.5), place(70, 10, 1.6)]) == []


@pytest.mark.parametrize(
    ("azimuth", "text"), [(25, "0 to 45"), (70, "45 to 90"), (110, "90 to 135"), (165, "135 to 180")]
)
def test_angle_as_range_and_number(azimuth: float, text: str) -> None:
    places = [place(0), place(azimuth)]
    drafts = ask(motion.angle, places)
    assert {draft.answer for draft in drafts} == {f"{text} degrees"} and len(drafts[0].wrong) == 3
    (draft,) = ask(motion.angle_number, places)
    assert draft.answer == str(azimuth) and draft.unit == "deg" and draft.value == pytest.approx(azimuth, abs=0.01)


@pytest.mark.parametrize("azimuth", [40, 45, 50, 92, 131])
def test_angles_at_the_border_of_two_ranges_are_not_asked(azimuth: float) -> None:
    assert ask(motion.angle, [place(0), place(azimuth)]) == []


def test_raised_cameras_are_less_apart_than_their_azimuths() -> None:
    (draft,) = ask(motion.angle_number, [place(0, 45), place(180, 45)])
    assert draft.answer == "90"


def test_largest_and_nearest() -> None:
    places = [place(0, 10, 2.0), place(90, 10, 1.2), place(200, 10, 1.8)]
    for family in (best_frame.largest, best_frame.nearest):
        (draft,) = ask(family, places)
        assert draft.answer == "Frame 2" and sorted(draft.wrong) == ["Frame 1", "Frame 3"]
        assert ask(family, [place(0, 10, 1.2), place(90, 10, 1.25), place(200, 10, 1.8)]) == []


def test_highest() -> None:
    (draft,) = ask(best_frame.highest, [place(0, 10), place(90, 50), place(200, 30)])
    assert draft.answer == "Frame 2"
    assert ask(best_frame.highest, [place(0, 10), place(90, 50), place(200, 46)]) == []


def test_widest_pair() -> None:
    (draft,) = ask(best_frame.widest_pair, [place(0), place(40), place(150)])
    assert draft.answer == "Frame 1 and Frame 3" and sorted(draft.wrong) == [
        "Frame 1 and Frame 2",
        "Frame 2 and Frame 3",
    ]
    assert ask(best_frame.widest_pair, [place(0), place(10), place(150)]) == []


def test_opposite_side() -> None:
    drafts = ask(round_object.opposite, [place(0, 45), place(170, 45), place(60, 45)])
    # seen from above, not the angle between the cameras, which is 90 here
    assert [(draft.query, draft.answer) for draft in drafts] == [(0, "Yes"), (1, "Yes"), (2, "No")]
    assert ask(round_object.opposite, [place(0), place(135)]) == []


def test_order_round_the_object() -> None:
    places = [place(100, 10), place(10, 30), place(280, 10), place(190, 20)]
    drafts = {draft.query: draft.answer for draft in ask(round_object.order, places)}
    assert drafts == {
        0: "Frame 4, Frame 3, Frame 2",
        1: "Frame 1, Frame 4, Frame 3",
        2: "Frame 2, Frame 1, Frame 4",
        3: "Frame 3, Frame 2, Frame 1",
    }
    assert ask(round_object.order, [place(100), place(110), place(280), place(190)]) == []


def test_shared_surface_is_asked_on_full_turns_only(facts: OrbitFacts) -> None:
    def at(family: Family, views: tuple[int, ...], of: OrbitFacts = facts) -> list[OrbitDraft]:
        return family(Asked(of, OrbitSet(views, 0.0, 0.0), "index", np.random.default_rng(0)))

    assert facts.surface_is_known
    drafts = at(best_frame.shared_surface, (0, 2, 12))
    assert {draft.query: draft.answer for draft in drafts}[0] == "Frame 2"
    assert at(best_frame.shared_surface, (0, 4, 26)) == [] or all(
        draft.query != 0 for draft in at(best_frame.shared_surface, (0, 4, 26))
    )
    half = gather_facts(ball_capture([place(12 * i, 20) for i in range(15)]))
    assert not half.surface_is_known and at(best_frame.shared_surface, (0, 2, 12), half) == []


def test_cut_off_by_the_edge() -> None:
    capture = full_turn()
    cut = capture.masks[4].pixels()
    cut[:, : int(np.flatnonzero(cut.any(axis=0))[0]) + 8] = False
    shifted = np.roll(cut, -int(np.flatnonzero(cut.any(axis=0))[0]), axis=1)
    masks = list(capture.masks)
    masks[4] = Mask.of(shifted)
    facts = replace(gather_facts(capture), capture=replace(capture, masks=tuple(masks)))
    asked = Asked(facts, OrbitSet((1, 4, 9), 0.0, 0.0), "index", np.random.default_rng(0))
    (draft,) = best_frame.cut_off(asked)
    assert draft.answer == "Frame 2"
    assert best_frame.cut_off(replace(asked, set=OrbitSet((1, 9, 14), 0.0, 0.0))) == []


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_answers_do_not_depend_on_the_worlds_axes_and_scale(seed: int) -> None:
    places = [place(a, 15 + a / 20, 1.4 + a / 900) for a in range(0, 360, 24)]
    rng = np.random.default_rng(seed)
    rotation, scale = Rotation.random(random_state=rng).as_matrix(), float(rng.uniform(0.1, 9))
    small = GenerationConfig(per_type=4, blind=False)

    def asked(capture: ObjectCapture) -> list[QARecord]:
        # sums of floats differ in their last digits
        rounded = {"overlap_avg": 0.0, "overlap_max": 0.0, "occlusion_avg": 0.0, "answer_value": None}
        records = compose_from_facts(gather_facts(capture, cells=20), small, 1)
        return [replace(record, **rounded) for record in records]  # type: ignore[arg-type]

    assert asked(ball_capture(places)) == asked(ball_capture(places, rotation=rotation, scale=scale))


def shaken(capture: ObjectCapture, seed: int) -> ObjectCapture:
    """The same capture with errors larger than those of a good reconstruction: poses, tracks of the hand, masks."""
    rng = np.random.default_rng(seed)
    views, masks = [], []
    for view, mask in zip(capture.views, capture.masks, strict=True):
        pose = view.world_to_camera.copy()
        turned = Rotation.from_rotvec(np.radians(rng.normal(scale=0.5, size=3))).as_matrix()
        center = view.camera_center + rng.normal(scale=0.005, size=3) * np.linalg.norm(view.camera_center)
        pose[:3, :3] = turned @ pose[:3, :3]
        pose[:3, 3] = -pose[:3, :3] @ center
        views.append(replace(view, world_to_camera=pose))
        change = ndimage.binary_dilation if rng.random() < 0.5 else ndimage.binary_erosion
        masks.append(Mask.of(change(mask.pixels())))
    return replace(capture, views=tuple(views), masks=tuple(masks))


def test_noise_drops_questions_but_flips_no_answer(facts: OrbitFacts) -> None:
    """Every question that is asked with and without noise has the same answer."""
    noisy = gather_facts(shaken(facts.capture, 1))
    rng = np.random.default_rng(2)
    sets = [OrbitSet(tuple(rng.permutation(30)[: 2 + i % 4].tolist()), 0.0, 0.0) for i in range(60)]
    both = 0
    for question_type, family in FAMILIES.items():
        for shown in sets:
            here, there = (
                {draft.question: draft for draft in family(Asked(known, shown, "index", np.random.default_rng(0)))}
                for known in (facts, noisy)
            )
            for question in here.keys() & there.keys():
                both += 1
                if question_type == "orbit_angle_deg":
                    assert abs(float(here[question].answer) - float(there[question].answer)) <= 4
                else:
                    assert here[question].answer == there[question].answer, (question_type, question)
    assert both > 800


def test_every_type_is_made_and_well_formed(records: list[QARecord]) -> None:
    made = Counter(record.question_type for record in records)
    assert set(FAMILIES) == set(ORBIT_TYPES)
    assert set(made) == set(ORBIT_TYPES) - {"orbit_cutoff"} and max(made.values()) <= CONFIG.per_type
    assert len({record.id for record in records}) == len(records)
    for record in records:
        texts = [option[3:] for option in record.options]
        if record.question_type in ORBIT_NUMERIC_TYPES:
            assert texts == [] and record.mc_answer == "" and record.unit == "deg" and "degrees" in record.question
            assert record.answer_value is not None and record.ground_truth == str(round(record.answer_value))
        else:
            assert 2 <= len(texts) <= 4 and len(set(texts)) == len(texts) and record.unit == ""
            assert f"{record.mc_answer}. {record.ground_truth}" in record.options
        assert 2 <= len(record.frames) <= 5 and len(set(record.frames)) == len(record.frames)
        assert 0 <= record.overlap_avg <= record.overlap_max <= 100 and record.target_category == "ball"
        assert question_prompt(record.question_type, record.question, record.options).count("\n") >= 2
        for mark in json.loads(record.evidence):
            x0, y0, x1, y1 = mark["box"]
            assert mark["frame"] in record.frames and 0 <= x0 < x1 <= 512 and 0 <= y0 < y1 <= 512


def test_nothing_metric_is_asked(records: list[QARecord]) -> None:
    assert not any(word in record.question for record in records for word in ("metre", "centimetre", " cm", " m "))


def test_answers_and_letters_are_even(records: list[QARecord]) -> None:
    for kind in ("orbit_motion_lr", "orbit_motion_turn", "orbit_motion_ud", "orbit_motion_fb", "orbit_angle"):
        for key in ("ground_truth", "mc_answer"):
            found = Counter(getattr(record, key) for record in records if record.question_type == kind)
            assert max(found.values()) - min(found.values()) <= 1, (kind, key, found)
    for kind in ("orbit_motion_lr", "orbit_motion_turn", "orbit_motion_ud", "orbit_motion_fb"):
        named = defaultdict(list)
        for record in records:
            if record.question_type == kind:
                named[tuple(re.findall(r"Frame \d", record.question)[:2])].append(record.ground_truth)
        assert named and all(2 * answers.count(answers[0]) == len(answers) for answers in named.values())
    for kind, answers in (("orbit_opposite", 2), ("orbit_angle", 4)):
        of_kind = [record for record in records if record.question_type == kind]
        for size in {len(record.frames) for record in of_kind}:
            found = Counter(record.ground_truth for record in of_kind if len(record.frames) == size)
            assert len(found) == answers and len(set(found.values())) == 1


def test_a_pair_of_frames_is_asked_once_per_type(records: list[QARecord]) -> None:
    pairs = [
        (record.question_type, tuple(sorted(mark["frame"] for mark in json.loads(record.evidence))))
        for record in records
        if record.question_type.startswith(("orbit_motion", "orbit_angle"))
    ]
    assert len(set(pairs)) == len(pairs)


def test_same_seed_same_records_and_types_are_independent(facts: OrbitFacts, records: list[QARecord]) -> None:
    assert compose_orbit(full_turn(), CONFIG, seed=3) == records
    assert compose_from_facts(facts, CONFIG, seed=4) != records
    fewer = compose_from_facts(facts, replace(CONFIG, quotas={"orbit_angle": 0}), seed=3)
    assert fewer == [record for record in records if record.question_type != "orbit_angle"]


def test_stem_naming(facts: OrbitFacts) -> None:
    records = compose_from_facts(facts, replace(CONFIG, frame_naming="stem"), seed=3)
    asked = next(record for record in records if record.question_type == "orbit_motion_ud")
    assert not any("Frame" in record.question for record in records) and asked.question.startswith("From 0")
    assert {finding.verdict for finding in recheck_capture(full_turn(), records)} == {"agree"}


def test_second_opinion_agrees(records: list[QARecord]) -> None:
    findings = list(recheck_capture(full_turn(), records))
    assert Counter(finding.verdict for finding in findings) == {"agree": len(records)}
    assert not any(finding.broken_rules for finding in findings)


def test_second_opinion_finds_every_wrong_letter(records: list[QARecord]) -> None:
    """Also one that the generator made in good faith: the record is consistent, only its answer is another option."""
    changed = []
    for record in records:
        if record.options:
            other = next(option for option in record.options if option[:1] != record.mc_answer)
            changed.append(replace(record, mc_answer=other[:1], ground_truth=other[3:]))
        else:
            changed.append(replace(record, ground_truth=str(int(record.ground_truth) + 2)))
    verdicts = Counter((finding.question_type, finding.verdict) for finding in recheck_capture(full_turn(), changed))
    assert {kind for kind, verdict in verdicts if verdict != "disagree"} == set()
    assert {kind for kind, _ in verdicts} == set(ORBIT_CHOICE_TYPES + ORBIT_NUMERIC_TYPES) - {"orbit_cutoff"}


def test_second_opinion_on_records_that_are_broken(records: list[QARecord]) -> None:
    capture, record = full_turn(), next(r for r in records if r.question_type == "orbit_motion_lr")
    cases = {
        "cannot be understood": replace(record, question="What is this?"),
        "does not hold": replace(record, frames=record.frames[::-1], question=record.question),
    }
    for text, bad in cases.items():
        (finding,) = recheck_capture(capture, [bad])
        assert finding.verdict == "disagree" and any(text in why for why in finding.why)
    (finding,) = recheck_capture(capture, [replace(record, target_category="cup", frames=(record.frames[0],) * 2)])
    assert len(finding.broken_rules) == 2


def test_contradicting_masks_fail_the_capture() -> None:
    capture = full_turn()
    corner = np.zeros((96, 128), dtype=bool)
    corner[:8, :8] = True
    with pytest.raises(SceneError, match="contradict"):
        compose_orbit(replace(capture, masks=tuple(Mask.of(corner) for _ in capture.masks)), CONFIG, 0)
