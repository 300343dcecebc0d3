"""What a question family hands over: candidates as columns, and the draft of one question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from qa_generation.generation_config import GenerationConfig
from qa_generation.options import allocate, allocate_by_share, allocate_within
from qa_generation.tasks.context import SceneContext

NONE = -1


class Candidate(NamedTuple):
    """One possible question: positions and column numbers in a `SceneContext`; -1 where it has none.

    ``answer`` is the class that is balanced: a count, a direction sign, or whether the answer is yes.
    """

    view_set: int
    query: int
    category: int
    target: int
    reference: int
    answer: int


@dataclass(frozen=True, eq=False)
class Candidates:
    """All possible questions of one type in a scene, one element each.

    ``weight`` says how welcome a candidate is; ``fair`` whether its names leave the answer open, see `name_priors`.
    """

    view_set: Int[np.ndarray, " candidates"]
    query: Int[np.ndarray, " candidates"]
    category: Int[np.ndarray, " candidates"]
    target: Int[np.ndarray, " candidates"]
    reference: Int[np.ndarray, " candidates"]
    answer: Int[np.ndarray, " candidates"]
    weight: Float[np.ndarray, " candidates"]
    fair: Bool[np.ndarray, " candidates"]

    def __len__(self) -> int:
        return len(self.answer)

    def __getitem__(self, index: int) -> Candidate:
        return Candidate(*(int(getattr(self, name)[index]) for name in Candidate._fields))

    def only(self, kept: Bool[np.ndarray, " candidates"]) -> Candidates:
        """Those candidates."""
        return Candidates(*(getattr(self, f.name)[kept] for f in fields(self)))

    @classmethod
    def join(cls, parts: Iterable[Candidates]) -> Candidates:
        """All candidates of all parts."""
        listed = list(parts)
        if not listed:
            return cls.of(np.zeros(0, dtype=np.int64))
        return cls(*(np.concatenate([getattr(part, f.name) for part in listed]) for f in fields(cls)))

    @classmethod
    def of(
        cls,
        answer: np.ndarray,
        *,
        view_set: int = NONE,
        query: np.ndarray | int = NONE,
        category: np.ndarray | int = NONE,
        target: np.ndarray | int = NONE,
        reference: np.ndarray | int = NONE,
        weight: np.ndarray | float = 1.0,
        fair: np.ndarray | bool = True,
    ) -> Candidates:
        """Columns from arrays or from single values that hold for all."""
        count = len(answer)

        def column(values: np.ndarray | int) -> np.ndarray:
            return values.astype(np.int64) if isinstance(values, np.ndarray) else np.full(count, values)

        return cls(
            column(view_set),
            column(query),
            column(category),
            column(target),
            column(reference),
            column(answer),
            weight if isinstance(weight, np.ndarray) else np.full(count, float(weight)),
            fair if isinstance(fair, np.ndarray) else np.full(count, fair),
        )


class Mark(NamedTuple):
    """One marked object of the evidence: frame position in the set, column number, role."""

    frame: int
    column: int
    role: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A question without its letters.

    Attributes:
        question: one line.
        answer: text of the true option.
        wrong: texts of the others; empty for open questions.
        target_category, reference_category: labels.
        targets, references: columns that decide the answer.
        query: frame position the question is seen from, -1 where there is none.
        marks: what a person should look at to check the answer.
        asked_box: canvas box of the target in the query frame where its place is asked.
        value: answer of a numeric question before rounding, in ``unit``; None for the others.
        unit: of the answer, empty for choices.
    """

    question: str
    answer: str
    wrong: tuple[str, ...]
    target_category: str
    targets: tuple[int, ...]
    reference_category: str = ""
    references: tuple[int, ...] = ()
    query: int = NONE
    marks: tuple[Mark, ...] = field(default=())
    asked_box: tuple[int, ...] = ()
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Task:
    """One question type.

    Attributes:
        candidates: finds which views, targets and references qualify.
        write: turns one candidate into a draft, or None where no truthful set of options exists.
        max_share: largest share of one answer class among the questions of a scene.
        group: joins answer classes in pairs of which both must be equally many, where the settings call for it.
        shares: exact shares of the answer classes instead, by the settings.
    """

    candidates: Callable[[SceneContext], Candidates]
    write: Callable[[Candidate, SceneContext, np.random.Generator], Draft | None]
    max_share: float = 0.5
    group: Callable[[GenerationConfig], Callable[[int], int] | None] | None = None
    shares: Callable[[GenerationConfig], Mapping[int, float]] | None = None

    def counts(self, candidates: Candidates, config: GenerationConfig, quota: int) -> dict[int, int]:
        """Questions per answer class to write."""
        answers, numbers = np.unique(candidates.answer, return_counts=True)
        available = {int(a): int(n) for a, n in zip(answers, numbers, strict=True)}
        group = self.group(config) if self.group else None
        if group is not None:
            return allocate_within(available, quota, group)
        if self.shares is None:
            return allocate(available, quota, self.max_share)
        return allocate_by_share(available, quota, self.shares(config))


def marks_of(context: SceneContext, view_set: int, columns: Iterable[int], role: str) -> list[Mark]:
    """A mark for every frame of the set that shows a pixel of one of these columns."""
    seen = context.table.visible_pixels[context.sets[view_set].members] > 0
    return [Mark(int(frame), int(column), role) for column in columns for frame in np.flatnonzero(seen[:, int(column)])]
