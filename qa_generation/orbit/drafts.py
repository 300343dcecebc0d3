"""What a family of orbit questions hands over, and the helpers that all families write their options with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qa_generation.orbit.facts import OrbitFacts
from qa_generation.orbit.view_sets import OrbitSet
from qa_generation.prompts import frame_name

MOST_OPTIONS = 4


@dataclass(frozen=True, kw_only=True)
class OrbitDraft:
    """A question without its letters.

    Attributes:
        question: one line.
        answer: text of the true answer.
        wrong: texts of the other options; empty for numbers.
        answer_class: what is balanced, e.g. the place of the true frame.
        about: drafts of one type and view set with the same are never asked both.
        pair: rows of the two views where only they matter; of one type and capture the same pair is never asked twice.
        frames: positions of the frames that the question names or whose comparison decides it.
        query: position of the frame it is seen from, -1 where there is none.
        value: the answer before rounding, in ``unit``.
    """

    question: str
    answer: str
    wrong: tuple[str, ...]
    answer_class: int
    about: tuple[int, ...] = ()
    pair: tuple[int, ...] = ()
    frames: tuple[int, ...]
    query: int = -1
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Asked:
    """One view set as a family sees it.

    Attributes:
        facts: of the whole capture.
        set: the views, rows of the facts in the order shown.
        naming: how frames are called.
        rng: decides which wrong options stand beside the true one.
    """

    facts: OrbitFacts
    set: OrbitSet
    naming: str
    rng: np.random.Generator

    @property
    def rows(self) -> np.ndarray:
        """Rows of the facts of the frames shown."""
        return np.array(self.set.views, dtype=np.int64)

    @property
    def thing(self) -> str:
        """What the object is called."""
        return self.facts.capture.category

    def frame(self, position: int) -> str:
        """How a frame is called."""
        return frame_name(self.naming, position, self.facts.capture.views[self.set.views[position]].view_id)

    def among(self, values: np.ndarray) -> np.ndarray:
        """A (views, views) or (views,) array of the facts for the frames shown."""
        return values[self.rows] if values.ndim == 1 else values[np.ix_(self.rows, self.rows)]

    def frame_choice(self, question: str, best: int, among: Sequence[int], query: int = -1) -> OrbitDraft:
        """A draft whose options are frames: the best and up to three others of ``among``, all of them compared."""
        others = [position for position in among if position != best]
        shown = self.rng.permutation(others)[: MOST_OPTIONS - 1].tolist()
        return OrbitDraft(
            question=question,
            answer=self.frame(best),
            wrong=tuple(self.frame(position) for position in shown),
            # frames of sets of unlike size are not comparable: the third of three is not the third of five
            answer_class=10 * len(self.set.views) + best,
            about=(query,),
            frames=tuple(range(len(self.set.views))),
            query=query,
        )


Family = Callable[[Asked], list[OrbitDraft]]
