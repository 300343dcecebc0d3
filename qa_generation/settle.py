"""From the pool of a scene to its records: what gives itself away is left out, quotas met, letters balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qa_generation.generation_config import GenerationConfig
from qa_generation.options import LetterBalance, lettered
from qa_generation.prompts import ALL_TYPES
from qa_generation.records import QARecord
from qa_generation.seeding import generator, stable_int

if TYPE_CHECKING:
    from qa_generation.blind.plan import BlindPlan


def settle(pool: Sequence[QARecord], plan: BlindPlan | None, config: GenerationConfig, seed: int) -> list[QARecord]:
    """The records of one scene, at most the quota of every type, questions about the same views next to each other.

    Which of those that the plan keeps fill the quota is drawn without regard to what they ask, so that the balance the
    plan made stays.
    """
    kept = plan.keep(pool)[0] if plan else list(pool)
    letters = LetterBalance()
    settled: list[QARecord] = []
    for question_type in ALL_TYPES:
        of_type = [record for record in kept if record.question_type == question_type]
        drawn = sorted(of_type, key=lambda record: stable_int(seed, "quota", record.id))
        for number, record in enumerate(drawn[: config.quota(question_type)]):
            settled.append(_relettered(replace(record, id=_numbered(record, number)), letters, seed))
    return sorted(settled, key=lambda record: record.view_set_id)


def _numbered(record: QARecord, number: int) -> str:
    return f"{record.id.rpartition('.')[0]}.{number:03d}"


def _relettered(record: QARecord, letters: LetterBalance, seed: int) -> QARecord:
    """The record with its options in an order that keeps the right letters of the scene even."""
    if not record.options:
        return record
    rng = generator(seed, "letters", record.id)
    position = letters.place(record.question_type, len(record.options), rng)
    wrong = [option[3:] for option in record.options if not option.startswith(f"{record.mc_answer}.")]
    options, letter = lettered(record.ground_truth, wrong, position, rng)
    return replace(record, options=options, mc_answer=letter)
