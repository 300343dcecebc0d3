"""Which of the many possible questions are written: answers balanced, categories, view sets and pairs spread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from qa_generation.tasks.base import Candidates

# more candidates of one answer than this are thinned at random first; bounds time, changes no balance
MOST_CANDIDATES = 2000
# penalties per earlier use
PER_CATEGORY, PER_HABIT, PER_PAIR, PER_SET, PER_LEVEL = 1.0, 1.5, 3.0, 0.3, 0.5
# penalty of candidates whose names tell the answer
PER_GIVEAWAY = 6.0


def choose(
    candidates: Candidates,
    wanted: Mapping[int, int],
    set_sizes: Int[np.ndarray, " sets"],
    rng: np.random.Generator,
    strata: Int[np.ndarray, "candidates levels"] | None = None,
    spare: float = 0.25,
) -> list[int]:
    """Positions of the chosen candidates in the order they should be tried, answers interleaved.

    Some ``spare`` candidates per answer follow, to take the place of those that turn out impossible to write; the
    caller keeps the number ``wanted`` per answer. ``set_sizes`` is the number of frames of every view set, ``strata``
    the difficulty levels of every candidate, which are used about equally often as far as they exist.
    """
    picker = _Picker(candidates, set_sizes[candidates.view_set], wanted, rng, strata)
    first: list[int] = []
    for answer in rng.permutation([a for a, number in wanted.items() for _ in range(number)]):
        first += picker.pick(int(answer))
    later: list[int] = []
    for answer, number in wanted.items():
        for _ in range(int(np.ceil(spare * number))):
            later += picker.pick(answer)
    return first + later


class _Picker:
    """Greedy choice of the candidate whose kind was used least so far."""

    def __init__(
        self,
        candidates: Candidates,
        frames: Int[np.ndarray, " candidates"],
        wanted: Mapping[int, int],
        rng: np.random.Generator,
        strata: Int[np.ndarray, "candidates levels"] | None,
    ) -> None:
        self._candidates = candidates
        self._frames = frames
        self._rng = rng
        self._rows: dict[int, Int[np.ndarray, " rows"]] = {}
        for answer in np.unique(candidates.answer):
            rows = np.flatnonzero(candidates.answer == answer)
            if len(rows) > MOST_CANDIDATES:
                rows = np.sort(rng.choice(rows, MOST_CANDIDATES, replace=False))
            self._rows[int(answer)] = rows
        size = [int(column.max(initial=-1)) + 2 for column in self._columns()]
        self._by_category = np.zeros(size[0])
        self._by_reference = np.zeros(size[2])
        self._by_set = np.zeros(size[3])
        self._by_pair = np.zeros((size[1], size[2]))
        # how often a category got each answer: names must not predict answers
        answer_index = {answer: i for i, answer in enumerate(self._rows)}
        self._answer_index = answer_index
        # an answer wanted a third as often counts three times: what is to be even is its share, not its number
        mean = sum(wanted.values()) / max(len(wanted), 1)
        self._step = [mean / wanted[answer] if wanted.get(answer) else 0.0 for answer in answer_index]
        self._habit_target = np.zeros((len(answer_index), size[0]))
        self._habit_reference = np.zeros((len(answer_index), size[2]))
        # the number of frames must not either
        self._habit_frames = np.zeros((len(answer_index), int(frames.max(initial=0)) + 1))
        self._strata = np.zeros((len(candidates), 0), dtype=np.int64) if strata is None else strata
        kinds = self._strata.shape[1]
        self._by_level = np.zeros((kinds, int(self._strata.max(initial=0)) + 1))
        self._levels = (
            np.stack([np.bincount(self._strata[:, k], minlength=self._by_level.shape[1]) > 0 for k in range(kinds)])
            if kinds
            else np.zeros((0, 1), dtype=bool)
        )

    def _columns(self) -> tuple[np.ndarray, ...]:
        c = self._candidates
        return c.category, c.target, c.reference, c.view_set

    def pick(self, answer: int) -> list[int]:
        """The next candidate of this answer class, or nothing when all are taken."""
        rows = self._rows[answer]
        if not len(rows):
            return []
        category, target, reference, view_set = (column[rows] for column in self._columns())
        frames = self._frames[rows]
        index = self._answer_index[answer]
        score = (
            PER_CATEGORY * self._by_category[category]
            + PER_HABIT * self._lead(self._habit_target, index)[category]
            + 0.5 * PER_CATEGORY * self._by_reference[reference]
            + PER_HABIT * self._lead(self._habit_reference, index)[reference]
            + PER_HABIT * self._lead(self._habit_frames, index)[frames]
            + PER_PAIR * self._by_pair[target, reference]
            + PER_SET * self._by_set[view_set]
            - np.log(self._candidates.weight[rows])
            + PER_LEVEL * self._level_lead(rows)
            + PER_GIVEAWAY * ~self._candidates.fair[rows]
            + self._rng.random(len(rows))
        )
        best = int(np.argmin(score))
        chosen = int(rows[best])
        self._rows[answer] = np.delete(rows, best)
        self._by_level[np.arange(self._strata.shape[1]), self._strata[chosen]] += 1
        self._by_category[category[best]] += 1
        self._by_reference[reference[best]] += 1
        self._by_set[view_set[best]] += 1
        self._by_pair[target[best], reference[best]] += 1
        self._habit_target[index, category[best]] += self._step[index]
        self._habit_reference[index, reference[best]] += self._step[index]
        self._habit_frames[index, frames[best]] += self._step[index]
        return [chosen]

    def _level_lead(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """By how much the levels of each candidate are ahead of the average of those that exist."""
        if not self._strata.shape[1]:
            return np.zeros(len(rows))
        lead = self._by_level - self._by_level.sum(axis=1, keepdims=True) / self._levels.sum(axis=1, keepdims=True)
        return np.take_along_axis(lead, self._strata[rows].T, axis=1).sum(axis=0)

    @staticmethod
    def _lead(habit: Float[np.ndarray, "answers keys"], index: int) -> Float[np.ndarray, " keys"]:
        """By how much this answer is ahead of the average of all answers, per key."""
        return habit[index] - habit.mean(axis=0)
