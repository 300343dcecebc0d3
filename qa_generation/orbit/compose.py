"""From an object capture to its finished records."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from qa_generation import levels
from qa_generation.compose import image_path
from qa_generation.generation_config import GenerationConfig
from qa_generation.options import LetterBalance, lettered
from qa_generation.orbit import best_frame, motion, round_object
from qa_generation.orbit.capture import OBJECT_ID, ObjectCapture
from qa_generation.orbit.choosing import choose
from qa_generation.orbit.drafts import Asked, Family, OrbitDraft
from qa_generation.orbit.facts import OrbitFacts, gather_facts
from qa_generation.orbit.view_sets import OrbitSet, draw_orbit_sets
from qa_generation.records import QARecord
from qa_generation.seeding import generator

FAMILIES: Mapping[str, Family] = {
    "orbit_bestview": best_frame.largest,
    "orbit_nearest": best_frame.nearest,
    "orbit_highest": best_frame.highest,
    "orbit_cutoff": best_frame.cut_off,
    "orbit_motion_lr": motion.left_right,
    "orbit_motion_turn": motion.turning,
    "orbit_motion_ud": motion.up_down,
    "orbit_motion_fb": motion.forth_back,
    "orbit_angle": motion.angle,
    "orbit_widest_pair": best_frame.widest_pair,
    "orbit_overlap": best_frame.shared_surface,
    "orbit_opposite": round_object.opposite,
    "orbit_order": round_object.order,
    "orbit_angle_deg": motion.angle_number,
}


def compose_orbit(capture: ObjectCapture, config: GenerationConfig, seed: int) -> list[QARecord]:
    """All records of one capture, questions about the same views next to each other.

    Same capture, settings and seed give the same records; every type has its own generator.

    Raises:
        SceneError: masks and poses contradict each other.
    """
    return compose_from_facts(gather_facts(capture), config, seed)


def compose_from_facts(facts: OrbitFacts, config: GenerationConfig, seed: int) -> list[QARecord]:
    """The records of a capture whose facts are there already."""
    capture = facts.capture
    sets = draw_orbit_sets(facts, config.sampling, generator(seed, capture.dataset, capture.scene_id, "view sets"))
    letters = LetterBalance()
    records: list[QARecord] = []
    for question_type, family in FAMILIES.items():
        rng = generator(seed, capture.dataset, capture.scene_id, question_type)
        found = [
            (index, draft)
            for index, view_set in enumerate(sets)
            for draft in family(Asked(facts, view_set, config.frame_naming, rng))
        ]
        for number, (index, draft) in enumerate(choose(question_type, found, config.pool_quota(question_type), rng)):
            options: tuple[str, ...] = ()
            letter = ""
            if draft.wrong:
                position = letters.place(question_type, 1 + len(draft.wrong), rng)
                options, letter = lettered(draft.answer, draft.wrong, position, rng)
            record_id = f"{capture.dataset}.{capture.scene_id}.{question_type}.{number:03d}"
            set_id = f"{capture.dataset}.{capture.scene_id}.{index:03d}"
            records.append(
                _finish(draft, facts, sets[index], config, question_type, record_id, set_id, options, letter)
            )
    return sorted(records, key=lambda record: record.view_set_id)


def _finish(
    draft: OrbitDraft,
    facts: OrbitFacts,
    view_set: OrbitSet,
    config: GenerationConfig,
    question_type: str,
    record_id: str,
    view_set_id: str,
    options: tuple[str, ...],
    letter: str,
) -> QARecord:
    capture = facts.capture
    rows = np.array(view_set.views)
    view_ids = tuple(capture.views[row].view_id for row in view_set.views)
    occlusion, truncation = float(facts.hull.hidden_share[rows].mean()), float(facts.cut_off_share[rows].mean())
    return QARecord(
        id=record_id,
        dataset=capture.dataset,
        scene_name=capture.scene_id,
        question_type=question_type,
        frames=view_ids,
        question=draft.question,
        options=options,
        mc_answer=letter,
        ground_truth=draft.answer,
        **levels.labelled(occlusion, truncation, view_set.overlap_avg),
        gt_scenario=levels.gt_scenario(np.ones((len(rows), 1), dtype=bool)),
        images=tuple(image_path(capture.dataset, capture.scene_id, view_id) for view_id in view_ids),
        view_set_id=view_set_id,
        overlap_max=view_set.overlap_max,
        frame_naming=config.frame_naming,
        query_frame=view_ids[draft.query] if draft.query >= 0 else "",
        target_category=capture.category,
        target_ids=(OBJECT_ID,),
        coord_size=config.coord_size,
        answer_value=draft.value,
        unit=draft.unit,
        evidence=json.dumps([_evidence(facts, view_set, f, config) for f in draft.frames], separators=(",", ":")),
    )


def _evidence(facts: OrbitFacts, view_set: OrbitSet, frame: int, config: GenerationConfig) -> dict[str, object]:
    """The object's box in a frame that decides the answer, pixels of the canvas."""
    capture = facts.capture
    view, mask = capture.views[view_set.views[frame]], capture.masks[view_set.views[frame]]
    scale = np.tile(np.array(config.coord_size) / mask.size, 2)
    box = np.rint(np.array(mask.box) * scale).astype(int)
    return {"frame": view.view_id, "instance_id": OBJECT_ID, "role": "target", "box": box.tolist()}
