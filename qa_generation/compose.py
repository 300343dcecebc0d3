"""From an annotated scene to its finished records: families are asked, questions chosen, letters and labels set."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from math import ceil

import numpy as np

from qa_generation import levels
from qa_generation.generation_config import GenerationConfig
from qa_generation.name_priors import NamePriors
from qa_generation.near_duplicates import NearDuplicates
from qa_generation.options import LetterBalance, lettered
from qa_generation.prompts import INDOOR_TYPES, QUESTION_TYPES
from qa_generation.records import QARecord
from qa_generation.sampling import draw_view_sets
from qa_generation.scene import Scene
from qa_generation.seeding import generator, stable_int
from qa_generation.selection import choose
from qa_generation.tasks import TASKS
from qa_generation.tasks.base import Candidate, Draft, Mark, Task
from qa_generation.tasks.context import SceneContext, SetFacts
from qa_generation.tasks.strata import strata
from qa_generation.tasks.warmup import WARMUP_TASKS
from qa_generation.visibility_table import VisibilityTable

IMAGE_PATH = "images/{dataset}/{scene}/images/{view}.jpg"


def image_path(dataset: str, scene_id: str, view_id: str) -> str:
    """Where the picture of a view lies, relative to the root of the generated dataset."""
    return IMAGE_PATH.format(dataset=dataset, scene=scene_id, view=view_id)


def scene_context(
    scene: Scene, table: VisibilityTable, config: GenerationConfig, seed: int, names: NamePriors | None = None
) -> SceneContext:
    """The scene with its view sets drawn from ``(seed, scene id)``; ``names`` are the habits to work against."""
    categories = [scene.instances[i].category for i in table.instance_ids]
    sizes = [scene.view(view_id).size for view_id in table.view_ids]
    rng = generator(seed, scene.dataset, scene.scene_id, "view sets")
    view_sets = draw_view_sets(table, rng, config.sampling, categories, sizes)
    coin_seed = stable_int(seed, scene.dataset, scene.scene_id, "names")
    return SceneContext(scene, table, view_sets, config, names, coin_seed)


def compose(context: SceneContext, seed: int) -> list[QARecord]:
    """The pool of questions of one scene, more than are wanted where some are to be left out later.

    Same scene, table, settings and seed give the same records; each type has its own generator, so that a change in
    one quota leaves the other types as they are.
    """
    letters = LetterBalance()
    records: list[QARecord] = []
    for question_type in QUESTION_TYPES:
        if context.scene.kind == "outdoor" and question_type in INDOOR_TYPES:
            continue
        rng = generator(seed, context.scene.dataset, context.scene.scene_id, question_type)
        quota = context.config.pool_quota(question_type)
        drafts = write_type(question_type, TASKS[question_type], context, rng, quota)
        for number, (view_set, draft) in enumerate(drafts):
            options: tuple[str, ...] = ()
            letter = ""
            if draft.wrong:
                position = letters.place(question_type, 1 + len(draft.wrong), rng)
                options, letter = lettered(draft.answer, draft.wrong, position, rng)
            records.append(finish(draft, context, view_set, question_type, number, options, letter))
    return records


def compose_warmup(context: SceneContext, seed: int) -> list[QARecord]:
    """The auxiliary open questions of one training scene, ``config.warmup`` per type; their letter is empty."""
    scene = context.scene
    records: list[QARecord] = []
    for question_type, task in WARMUP_TASKS.items():
        rng = generator(seed, scene.dataset, scene.scene_id, question_type)
        drafts = write_type(question_type, task, context, rng, context.config.warmup)
        for number, (view_set, draft) in enumerate(drafts):
            records.append(finish(draft, context, view_set, question_type, number))
    return sorted(records, key=lambda record: record.view_set_id)


def write_type(
    question_type: str, task: Task, context: SceneContext, rng: np.random.Generator, quota: int
) -> list[tuple[int, Draft]]:
    """The drafts of one type with their view sets, answers balanced, nothing asked twice of nearly the same views."""
    candidates = task.candidates(context)
    fair = candidates.only(candidates.fair)
    wanted = Counter(task.counts(fair, context.config, quota))
    # where what tells its answer is left out later, nothing is to be gained by asking it
    least = 0 if context.config.blind else int(context.config.least_per_type * quota)
    if wanted.total() >= least:
        candidates = fair
    else:
        # few names leave the answer open here: a small number is asked all the same, and the baseline will tell
        wanted = Counter(task.counts(candidates, context.config, least))
    context.answer_counts[question_type] = Counter(wanted)
    set_sizes = np.array([len(facts.members) for facts in context.sets], dtype=np.int64)
    earlier = NearDuplicates(context)
    written: list[tuple[Candidate, Draft]] = []
    for index in choose(candidates, dict(wanted), set_sizes, rng, strata(context, candidates)):
        candidate = candidates[index]
        if not wanted[candidate.answer]:
            continue
        draft = task.write(candidate, context, rng)
        if draft is None or not earlier.is_new(candidate, draft):
            continue
        wanted[candidate.answer] -= 1
        written.append((candidate, draft))
    if task.shares is not None:
        written = in_shares(written, task.shares(context.config))
    return [(candidate.view_set, draft) for candidate, draft in written]


def in_shares(written: list[tuple[Candidate, Draft]], shares: Mapping[int, float]) -> list[tuple[Candidate, Draft]]:
    """Those that keep the answers in their shares after some could not be written, among questions of one name too.

    Of a name that has too many of one answer the last of them go first.
    """
    number = Counter(candidate.answer for candidate, _ in written)
    total = min((number[answer] / share for answer, share in shares.items() if share > 0), default=0.0)
    room = {answer: ceil(share * total) for answer, share in shares.items()}
    by_name: dict[int, Counter[int]] = defaultdict(Counter)
    for candidate, _ in written:
        by_name[candidate.category][candidate.answer] += 1

    def lead(candidate: Candidate) -> float:
        of_name = by_name[candidate.category]
        return of_name[candidate.answer] - shares[candidate.answer] * of_name.total()

    dropped: set[int] = set()
    for answer in sorted(shares):
        mine = [index for index, (candidate, _) in enumerate(written) if candidate.answer == answer]
        while len(mine) > room[answer]:
            worst = max(mine, key=lambda index: (lead(written[index][0]), index))
            mine.remove(worst)
            dropped.add(worst)
            by_name[written[worst][0].category][answer] -= 1
    return [pair for index, pair in enumerate(written) if index not in dropped]


def finish(
    draft: Draft,
    context: SceneContext,
    view_set: int,
    question_type: str,
    number: int,
    options: tuple[str, ...] = (),
    letter: str = "",
) -> QARecord:
    """The record of a draft: names for numbers, difficulty labels, evidence."""
    facts = context.sets[view_set]
    scene, table = context.scene, context.table
    view_ids = tuple(table.view_ids[int(row)] for row in facts.members)
    columns = _labelled_columns(draft, context)
    deciding = np.array([*draft.targets, *draft.references], dtype=np.int64)
    shown = table.visible_pixels[facts.members][:, columns] > 0
    occlusion = levels.occlusion_avg(table.occlusion[facts.members][:, columns], shown)
    truncation = levels.occlusion_avg(table.truncation[facts.members][:, columns], shown)
    box = draft.asked_box
    return QARecord(
        id=f"{scene.dataset}.{scene.scene_id}.{question_type}.{number:03d}",
        dataset=scene.dataset,
        scene_name=scene.scene_id,
        question_type=question_type,
        frames=view_ids,
        question=draft.question,
        options=options,
        mc_answer=letter,
        ground_truth=draft.answer,
        **levels.labelled(occlusion, truncation, facts.view_set.overlap_avg),
        gt_scenario=levels.gt_scenario(table.visible_by_definition[facts.members][:, deciding]),
        bbox_2d=box,
        bbox_2d_diag=round(float(np.hypot(box[2] - box[0], box[3] - box[1])), 3) if box else 0.0,
        images=tuple(image_path(scene.dataset, scene.scene_id, view_id) for view_id in view_ids),
        view_set_id=f"{scene.dataset}.{scene.scene_id}.{view_set:03d}",
        overlap_max=facts.view_set.overlap_max,
        frame_naming=context.config.frame_naming,
        query_frame=view_ids[draft.query] if draft.query >= 0 else "",
        target_category=draft.target_category,
        reference_category=draft.reference_category,
        target_ids=tuple(table.instance_ids[c] for c in draft.targets),
        reference_ids=tuple(table.instance_ids[c] for c in draft.references),
        coord_size=context.config.coord_size,
        answer_value=draft.value,
        unit=draft.unit,
        evidence=json.dumps([_evidence(mark, context, facts) for mark in draft.marks], separators=(",", ":")),
    )


def _labelled_columns(draft: Draft, context: SceneContext) -> np.ndarray:
    """Instances whose occlusion describes the question: all of the target's category, and the reference."""
    category = context.categories.index(draft.target_category)
    chosen = context.members_of[category].copy()
    if draft.references:
        chosen = np.zeros_like(chosen)
        chosen[[*draft.targets, *draft.references]] = True
    return np.flatnonzero(chosen)


def _evidence(mark: Mark, context: SceneContext, facts: SetFacts) -> dict[str, object]:
    row = int(facts.members[mark.frame])
    return {
        "frame": context.table.view_ids[row],
        "instance_id": context.table.instance_ids[mark.column],
        "role": mark.role,
        "box": [int(v) for v in context.boxes[row, mark.column]],
    }
