"""Answer options that give nothing away: which letter is right, which numbers stand beside the truth, how many of each.

A guesser who reads only the question and the options should do no better than chance. Three tools serve that:
`allocate` caps the share of every answer, `NumberOptions` picks the wrong numbers so that, given the options alone,
each is equally likely to be the truth, and `LetterBalance` spreads the right letter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Float

LETTERS = "ABCD"


class LetterBalance:
    """Hands out positions for right answers: always a least-used letter of the type, ties broken at random."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], np.ndarray] = {}

    def place(self, question_type: str, count: int, rng: np.random.Generator) -> int:
        """0-based position of the right option among ``count``."""
        used = self._used.setdefault((question_type, count), np.zeros(count, dtype=np.int64))
        position = int(rng.choice(np.flatnonzero(used == used.min())))
        used[position] += 1
        return position


def lettered(answer: str, wrong: Sequence[str], position: int, rng: np.random.Generator) -> tuple[tuple[str, ...], str]:
    """The options ``"A. text"`` with ``answer`` at ``position`` and the others shuffled, and the right letter."""
    texts = [wrong[i] for i in rng.permutation(len(wrong))]
    texts.insert(position, answer)
    return tuple(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False)), LETTERS[position]


def allocate(available: Mapping[int, int], quota: int, max_share: float) -> dict[int, int]:
    """How many questions of each answer class to write: as many as possible, none above ``max_share`` of the total.

    With fewer classes than ``1 / max_share`` the cap is an equal share; a single class gets a tenth of the quota, so
    that a scene with one possible answer still gives a few questions but no habit.
    """
    classes = {key: number for key, number in sorted(available.items()) if number > 0}
    if not classes or quota <= 0:
        return {}
    if len(classes) == 1:
        ((key, number),) = classes.items()
        return {key: min(number, max(1, quota // 10))}
    share = max(max_share, 1.0 / len(classes))
    for total in range(min(quota, sum(classes.values())), 0, -1):
        cap = max(1, int(np.ceil(share * total - 1e-9)))
        if sum(min(number, cap) for number in classes.values()) >= total:
            return _fill(classes, total, cap)
    return {}


def allocate_by_share(available: Mapping[int, int], quota: int, shares: Mapping[int, float]) -> dict[int, int]:
    """How many questions of each answer class to write, in exactly these shares (up to rounding), as many as possible.

    Where a class has no candidate at all the others give a tenth of the quota, as in `allocate`.
    """
    wanted = {key: share for key, share in sorted(shares.items()) if share > 0}
    if not wanted:
        return {}
    limits = [available.get(key, 0) / share for key, share in wanted.items()]
    total = min(quota, int(min(limits) + 1e-9))
    if total == 0:
        return allocate({key: number for key, number in available.items() if shares.get(key, 0)}, quota // 10, 1.0)
    exact = {key: share * total for key, share in wanted.items()}
    given = {key: int(number) for key, number in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (given[key] - exact[key], key))
    for key in by_remainder[: total - sum(given.values())]:
        given[key] += 1
    return {key: min(number, available[key]) for key, number in given.items() if number}


def allocate_within(available: Mapping[int, int], quota: int, group: Callable[[int], int]) -> dict[int, int]:
    """As many questions as possible such that the two answer classes of every group are equally many.

    A group of which one class is missing gives nothing; if all are so, a tenth of the quota is given as in `allocate`.
    """
    pairs: dict[int, list[int]] = {}
    for key in sorted(available):
        if available[key] > 0:
            pairs.setdefault(group(key), []).append(key)
    whole = {name: min(available[key] for key in keys) for name, keys in pairs.items() if len(keys) == 2}
    if not whole or quota < 2:
        return allocate(available, quota // 10, 1.0)
    each = _fill(whole, min(quota // 2, sum(whole.values())), quota)
    return {key: number for name, number in each.items() for key in pairs[name]}


def _fill(classes: Mapping[int, int], total: int, cap: int) -> dict[int, int]:
    """``total`` spread over the classes as evenly as their numbers and the cap allow."""
    given = dict.fromkeys(classes, 0)
    while total > 0:
        open_classes = [key for key in classes if given[key] < min(classes[key], cap)]
        low = min(given[key] for key in open_classes)
        for key in open_classes:
            if given[key] == low and total > 0:
                given[key] += 1
                total -= 1
    return {key: number for key, number in given.items() if number}


class NumberOptions:
    """Sets of ``size`` numbers such that each member is about equally often the truth.

    Sets S of the pool are weighted by prod(w) over their members, with w fitted so that a number's chance to be in S is
    ``size`` times its share among the answers. Then P(truth = g | S) = 1 / size for every g in S, as far as no share
    exceeds 1 / size (maximum-entropy sampling with fixed inclusion probabilities).
    """

    def __init__(self, shares: Mapping[int, float], size: int, smallest: int) -> None:
        numbers = sorted(shares)
        # enough neighbours to fill the options, and one beyond the largest so that the largest option can be wrong
        pool = sorted(set(range(smallest, smallest + size + 1)) | set(range(smallest, max(numbers) + 2)))[:10]
        self.pool = sorted(set(pool) | set(numbers))
        self.size = size
        self._shares = np.array([shares.get(number, 0.0) for number in self.pool])
        self._sets = np.array(list(combinations(range(len(self.pool)), size)))

    @cached_property
    def set_weights(self) -> Float[np.ndarray, " sets"]:
        """Probability of every set of the pool."""
        member = np.zeros((len(self._sets), len(self.pool)))
        np.put_along_axis(member, self._sets, 1.0, axis=1)
        target = _inclusion(self._shares, self.size)
        log_weight = np.log(target / (1.0 - target))
        for _ in range(60):
            weight = np.exp(member @ log_weight - (member @ log_weight).max())
            weight /= weight.sum()
            log_weight += np.clip(np.log(target) - np.log(weight @ member + 1e-12), -1.0, 1.0)
        return weight

    def wrong(self, truth: int, rng: np.random.Generator) -> list[int]:
        """``size - 1`` numbers other than ``truth``."""
        holds = (self._sets == self.pool.index(truth)).any(axis=1)
        weight = self.set_weights * holds
        chosen = self._sets[int(rng.choice(len(weight), p=weight / weight.sum()))]
        return [self.pool[i] for i in chosen if self.pool[i] != truth]


def _inclusion(shares: Float[np.ndarray, " pool"], size: int) -> Float[np.ndarray, " pool"]:
    """Inclusion probabilities near ``size * shares``, inside (0, 1), adding up to ``size``."""
    target = np.clip(size * shares / shares.sum(), 0.02, 0.98)
    for _ in range(50):
        target = np.clip(target + (size - target.sum()) / len(target), 0.02, 0.98)
    return target
