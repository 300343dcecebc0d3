"""Question sets whose giveaways are known: each function makes records whose answers depend on the text as it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from qa_generation.records import QARecord

NAMES = ("chair", "table", "lamp", "vase", "bin", "clock", "rug", "sofa", "desk", "stool", "plant", "shelf")
LETTERS = "ABCD"


def record(number: int, scene: int, question_type: str, question: str, answer: str, **changes: object) -> QARecord:
    """A record of two frames; ``wrong`` makes it multiple choice, the right letter at ``position``."""
    wrong = list(changes.pop("wrong", ()))  # type: ignore[call-overload]
    position = int(changes.pop("position", 0))  # type: ignore[call-overload]
    texts = [*wrong[:position], answer, *wrong[position:]] if wrong else []
    values: dict[str, object] = {
        "id": f"synthetic.room_{scene:03d}.{question_type}.{number:04d}",
        "dataset": "synthetic",
        "scene_name": f"room_{scene:03d}",
        "question_type": question_type,
        "frames": ("frame_000000", "frame_000001"),
        "question": question,
        "options": tuple(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False)),
        "mc_answer": LETTERS[position] if wrong else "",
        "ground_truth": answer,
        "overlap_avg": 3.5,
        "occlusion_avg": 0.25,
        "occ_level": "medium",
        "overlap_level": "high",
        "vis_level": "Partially Visible",
        "gt_scenario": "Full Coverage",
    }
    return QARecord(**{**values, **changes})  # type: ignore[arg-type]


def made(
    one: Callable[[int, int, np.random.Generator], QARecord], count: int, scenes: int, seed: int = 0
) -> list[QARecord]:
    """``count`` records dealt out over the scenes."""
    rng = np.random.default_rng(seed)
    return [one(number, number % scenes, rng) for number in range(count)]


def existence(number: int, scene: int, rng: np.random.Generator, bias: float = 0.0) -> QARecord:
    """Whether one thing is higher than another: with probability ``bias`` names decide, else a coin."""
    target, reference = (int(i) for i in rng.choice(len(NAMES), 2, replace=False))
    up = bool(rng.integers(2))
    higher = target > reference if rng.random() < bias else bool(rng.integers(2))
    yes = higher == up
    word = "higher" if up else "lower"
    return record(
        number,
        scene,
        "obj_existence_occ_ab",
        f"Seen from Frame 1, is the {NAMES[target]} {word} than the {NAMES[reference]}?",
        "Yes" if yes else "No",
        wrong=["No" if yes else "Yes"],
        position=int(rng.integers(2)),
        target_category=NAMES[target],
        reference_category=NAMES[reference],
    )


def count(number: int, scene: int, rng: np.random.Generator, habit: float = 0.0) -> QARecord:
    """How many of a kind: with probability ``habit`` the number that goes with the name, among fixed options 1-4."""
    kind = int(rng.integers(len(NAMES)))
    truth = 1 + kind % 4 if rng.random() < habit else int(rng.integers(1, 5))
    return record(
        number,
        scene,
        "obj_count_occ",
        f"Counting each physical object once, how many {NAMES[kind]}(s) can be seen in these frames?",
        str(truth),
        wrong=[str(n) for n in rng.permutation([n for n in range(1, 5) if n != truth])],
        position=int(rng.integers(4)),
        target_category=NAMES[kind],
    )


def located(number: int, scene: int, rng: np.random.Generator, outermost: bool = False) -> QARecord:
    """Where something is, three points: the true one any of them, or always the one farthest from the middle."""
    kind = int(rng.integers(len(NAMES)))
    points = rng.integers(20, 492, (3, 2))
    true = int(np.argmax(np.linalg.norm(points - 256, axis=1))) if outermost else int(rng.integers(3))
    texts = [f"Yes; ({x}, {y})" for x, y in points]
    no = rng.random() < 0.25
    answer = "No" if no else texts[true]
    wrong = [text for text in ["No", *texts] if text != answer]
    return record(
        number,
        scene,
        "obj_localization_occ",
        f"Does Frame 2 show a {NAMES[kind]}? If yes, where is the centre of its 2D box?",
        answer,
        wrong=[wrong[i] for i in rng.permutation(3)],
        position=int(rng.integers(4)),
        target_category=NAMES[kind],
    )


def size(number: int, scene: int, rng: np.random.Generator, habit: float = 0.0) -> QARecord:
    """How long something is: 20-200 cm, with probability ``habit`` within a tenth of the length of its kind."""
    kind = int(rng.integers(len(NAMES)))
    length = float(np.exp(rng.uniform(np.log(20), np.log(200))))
    if rng.random() < habit:
        length = 20 * 10 ** (kind / (len(NAMES) - 1)) * float(rng.uniform(0.9, 1.1))
    return record(
        number,
        scene,
        "obj_size_occ_na",
        f"How long, in centimetres, is the longest side of the {NAMES[kind]}?",
        str(round(length)),
        target_category=NAMES[kind],
        answer_value=length,
        unit="cm",
    )


def point(number: int, scene: int, rng: np.random.Generator, habit: float = 0.0) -> QARecord:
    """Where a box of 80 pixels' diagonal is: anywhere, or with probability ``habit`` where its kind always is."""
    kind = int(rng.integers(len(NAMES)))
    x, y = (int(v) for v in rng.integers(40, 472, 2))
    if rng.random() < habit:
        x, y = 80 + 110 * (kind % 4), 80 + 160 * (kind // 4)
    return record(
        number,
        scene,
        "obj_localization_occ_na",
        f"In Frame 1, give the pixel centre (x,y) of the 2D box of the {NAMES[kind]}; "
        "pictures are 512 pixels wide and 512 high.",
        f"({x},{y})",
        target_category=NAMES[kind],
        bbox_2d=(x - 28, y - 28, x + 28, y + 28),
        bbox_2d_diag=80.0,
    )


def with_habit(one: Callable[..., QARecord], **habit: object) -> Maker:
    """One of the functions above with its giveaway set."""
    return partial(one, **habit)


def by_scene(records: Sequence[QARecord]) -> list[list[QARecord]]:
    """The records of every scene."""
    scenes = sorted({r.scene_name for r in records})
    return [[r for r in records if r.scene_name == scene] for scene in scenes]
