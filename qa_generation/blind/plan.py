"""The plan of what to leave out: stages fitted on a sample of all scenes, then applied to the records of each scene."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from qa_generation.blind.answer_table import Answers, Bins, Guesser, answer_table
from qa_generation.blind.choices import of_truth, probabilities
from qa_generation.blind.fold_models import FoldModels
from qa_generation.blind.folds import fold_of
from qa_generation.blind.one_thread import one_thread
from qa_generation.blind.option_table import OptionTable, option_table
from qa_generation.blind.rules import Rule, keep_probability
from qa_generation.errors import InputError
from qa_generation.records import QARecord
from qa_generation.seeding import stable_int

Bias = Float[np.ndarray, " records"]
TOO_FREQUENT, TOLD_BY_TEXT = "category too frequent", "told by its text"


@dataclass(frozen=True, eq=False)
class Stage:
    """One round of leaving out.

    Attributes:
        category_keep: category -> with what chance its questions are kept before they are judged; 1 where not named.
        models: judge what then is left; None where nothing was to be learned.
        scale: honest factor on their ratings.
        rule: how hard what they judge is left out; None for the last stage, which only tells the bias.
    """

    category_keep: Mapping[str, float]
    models: FoldModels | None
    scale: float
    rule: Rule | None


@dataclass(frozen=True, eq=False)
class TypePlan:
    """The stages of one question type.

    Attributes:
        stages: in order; none where the type is left as it is.
        summary: what was found and left out, JSON-able.
        bins, prior, guesser: of number and point types: where answers part, their shares, and what to guess.
    """

    stages: tuple[Stage, ...]
    summary: Mapping[str, Any]
    bins: Bins | None = None
    prior: Float[np.ndarray, " bins"] | None = None
    guesser: Guesser | None = None

    def table(self, records: Sequence[QARecord]) -> OptionTable:
        """The records as this plan's models read them."""
        if self.bins is None or self.prior is None:
            return option_table(records)
        return answer_table(records, self.bins, self.prior)

    def bias(self, table: OptionTable, probability: Float[np.ndarray, " rows"], records: Sequence[QARecord]) -> Bias:
        """How likely a blind reader finds each answer; for numbers and points the score of its best guess."""
        if self.guesser is None:
            return of_truth(table, probability)
        return Answers.of(records).score(self.guesser.guess(table.grid(probability)))


@dataclass(frozen=True, eq=False)
class BlindPlan:
    """What to leave out of every scene. Picklable, so that it can be sent to worker processes.

    Attributes:
        types: question type -> its stages.
        seed: of the coins and of the folds.
        folds: groups of scenes.
    """

    types: Mapping[str, TypePlan] = field(default_factory=dict)
    seed: int = 0
    folds: int = 5

    def keep(self, records: Sequence[QARecord]) -> tuple[list[QARecord], Counter[str]]:
        """The records of one scene that stay, in the given order and with ``bias_score`` set, and why others do not.

        The counter's keys are ``"<question type>: <reason>"``. A record's fate depends on the plan, its scene and its
        own content only, never on the other records.

        Raises:
            InputError: records of more than one scene.
        """
        scenes = {record.scene_name for record in records}
        if len(scenes) > 1:
            raise InputError(f"records of {len(scenes)} scenes were given at once, expected those of one scene")
        by_type: dict[str, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            by_type[record.question_type].append(index)
        kept: dict[int, QARecord] = {}
        reasons: Counter[str] = Counter()
        with one_thread():
            for question_type, indices in by_type.items():
                group = [records[index] for index in indices]
                plan = self.types.get(question_type)
                if plan is None or not plan.stages:
                    kept.update(zip(indices, group, strict=True))
                    continue
                bias, dropped = judge(plan, group, self.seed, self.folds)
                reasons.update(f"{question_type}: {reason}" for reason in dropped if reason)
                for index, record, value, reason in zip(indices, group, bias, dropped, strict=True):
                    if not reason:
                        kept[index] = replace(record, bias_score=round(float(value), 4))
        return [kept[index] for index in sorted(kept)], reasons

    def summary(self) -> dict[str, Any]:
        """Blind accuracy before and after and what was left out of the sample, per type; JSON-able."""
        return {"seed": self.seed, "types": {name: dict(plan.summary) for name, plan in sorted(self.types.items())}}


def judge(
    plan: TypePlan, records: Sequence[QARecord], seed: int, folds: int
) -> tuple[Float[np.ndarray, " records"], list[str]]:
    """Bias of every record of one type and one scene, and why it is left out: empty for those that stay."""
    dropped = [""] * len(records)
    bias = np.zeros(len(records))
    table = plan.table(records)
    for number, stage in enumerate(plan.stages):
        alive = np.array([not reason for reason in dropped])
        share = np.array([stage.category_keep.get(record.target_category, 1.0) for record in records])
        _drop(dropped, alive & ~(coins(seed, records, f"category {number}") < share), TOO_FREQUENT)
        if stage.models is None:
            continue
        fold = fold_of(records[0].scene_name, seed, folds, number)
        rating = stage.models.ratings(table, np.full(len(records), fold))
        probability = probabilities(table, rating, stage.scale)
        left = np.array([not reason for reason in dropped])
        bias[left] = plan.bias(table, probability, records)[left]
        if stage.rule is not None:
            keep = keep_probability(table, probability, stage.rule)
            _drop(dropped, left & ~(coins(seed, records, f"stage {number}") < keep), TOLD_BY_TEXT)
    return bias, dropped


def _drop(dropped: list[str], which: Bool[np.ndarray, " records"], why: str) -> None:
    for index in np.flatnonzero(which):
        dropped[int(index)] = why


def coins(seed: int, records: Sequence[QARecord], purpose: str) -> Float[np.ndarray, " records"]:
    """A number in [0, 1) per record that depends on its id only."""
    return np.array([stable_int(seed, "blind", record.id, purpose) / 2.0**128 for record in records])
