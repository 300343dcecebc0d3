"""What names alone tell about answers, learned over all scenes, and which questions to leave out for it.

Pictures hang higher than rugs lie and beds come one to a room, so a reader of the question alone would do well on many
questions of a scene however evenly its answers are balanced. Two numbers per category describe that habit:

* a strength per axis, with P(a higher than b) = sigmoid(strength_a - strength_b) (Bradley and Terry, 1952);
* how often each count is the true one.

Leaving out a pair with probability 1 - P(other answer) / P(this answer) makes both answers equally likely for the same
two names. The coin is thrown once per scene and pair of names, so that a pair left out is left out from every frame.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64

# fewer scenes than this say nothing about habits
MIN_SCENES = 8
# counts of one category: no value is kept more often than this share of those kept, where there are enough values
MAX_COUNT_SHARE = 0.3
# a pair of names is asked only where the rarer answer has at least this probability
LEAST_DOUBT = 0.1
# the strengths count as much as this many scenes that show the pair
TRUST_IN_STRENGTH = 2.0
# wrong options of attribute questions have names of about the strength of the true one, in logits; what difference is
# left is made up for by how often the question is asked
SIMILAR_STRENGTH = 2.0


@dataclass(frozen=True)
class Survey:
    """What one scene adds.

    Attributes:
        pairs: "axis|a|b" with a < b -> in how many frames out of 1000 a is on the positive side of b.
        counts: question type -> category -> count -> number of view sets in which it is the truth.
    """

    pairs: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class NamePriors:
    """Habits of names over many scenes.

    Attributes:
        strengths: axis -> category -> strength, in logits.
        pairs: "axis|a|b" -> in how many scenes a was on the positive side of b, and in how many on the other.
        keep_count: question type -> category -> count -> probability to keep such a question.
    """

    strengths: Mapping[str, Mapping[str, float]]
    pairs: Mapping[str, tuple[float, float]]
    keep_count: Mapping[str, Mapping[str, Mapping[str, float]]]

    def digest(self) -> str:
        """Identifies these habits."""
        text = json.dumps([self.strengths, self.pairs, self.keep_count], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def strength(self, axis: str, categories: tuple[str, ...]) -> Float64[np.ndarray, " categories"]:
        """Strengths in logits; zero for names never met."""
        of = self.strengths.get(axis, {})
        return np.array([of.get(category, 0.0) for category in categories], dtype=np.float64)

    def positive(self, axis: str, categories: tuple[str, ...]) -> Float64[np.ndarray, "categories categories"]:
        """P(row is on the positive side of column): what the pair itself showed, drawn to what the strengths say."""
        strength = self.strength(axis, categories)
        chance = 1.0 / (1.0 + np.exp(strength[None] - strength[:, None]))
        for a, first in enumerate(categories):
            for b in range(a + 1, len(categories)):
                won, lost = self.pairs.get(pair_key(axis, first, categories[b]), (0.0, 0.0))
                if categories[b] < first:
                    won, lost = lost, won
                chance[a, b] = (won + TRUST_IN_STRENGTH * chance[a, b]) / (won + lost + TRUST_IN_STRENGTH)
                chance[b, a] = 1.0 - chance[a, b]
        return chance

    def fair_pairs(
        self, axis: str, categories: tuple[str, ...], coins: Float[np.ndarray, "categories categories"]
    ) -> Bool[np.ndarray, "2 categories categories"]:
        """Which pairs (target, reference) of names may be asked when the sign is negative [0] or positive [1]."""
        chance = self.positive(axis, categories)
        open_question = np.minimum(chance, 1.0 - chance) >= LEAST_DOUBT
        return np.stack([coins * (1.0 - chance) < chance, coins * chance < 1.0 - chance]) & open_question

    def fair_choice(self, axis: str, sign: int, categories: Sequence[str]) -> float:
        """With what probability to ask which of these is on the side ``sign`` of something, the first being the truth.

        Each of them is the truth with odds exp(sign * strength); dividing by that makes all equally likely.
        """
        promise = sign * self.strength(axis, tuple(categories))
        return float(np.exp(promise.min() - promise[0]))

    def fair_counts(
        self, question_type: str, categories: tuple[str, ...], coins: Float[np.ndarray, "categories counts"]
    ) -> Bool[np.ndarray, "categories counts"]:
        """Which (category, count) may be asked."""
        of = self.keep_count.get(question_type, {})
        keep = np.array([[of.get(c, {}).get(str(g), 1.0) for g in range(coins.shape[1])] for c in categories])
        return coins < keep.reshape(coins.shape)


def pair_key(axis: str, first: str, second: str) -> str:
    """Key of an unordered pair."""
    return f"{axis}|{min(first, second)}|{max(first, second)}"


class Learner:
    """Adds up surveys; whole numbers, so that the order does not matter and memory stays that of the pairs met."""

    def __init__(self) -> None:
        self._scenes = 0
        self._wins: Counter[str] = Counter()
        self._meetings: Counter[str] = Counter()
        self._counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    def add(self, survey: Survey) -> None:
        """Takes in one scene."""
        self._scenes += 1
        for key, per_mille in survey.pairs.items():
            self._wins[key] += per_mille
            self._meetings[key] += 1
        for question_type, by_category in survey.counts.items():
            for category, by_count in by_category.items():
                self._counts[question_type][category].update(by_count)

    def learned(self) -> NamePriors | None:
        """Habits over all scenes; None where they are too few to tell."""
        if self._scenes < MIN_SCENES:
            return None
        pairs = {key: (self._wins[key] / 1000, n - self._wins[key] / 1000) for key, n in sorted(self._meetings.items())}
        axes = sorted({key.split("|")[0] for key in pairs})
        keep = {
            question_type: {category: keep_shares(by_count) for category, by_count in sorted(of.items())}
            for question_type, of in sorted(self._counts.items())
        }
        return NamePriors({axis: strengths_of(pairs, axis) for axis in axes}, pairs, keep)


def strengths_of(wins: Mapping[str, tuple[float, float]], axis: str) -> dict[str, float]:
    """Bradley-Terry strengths in logits, mildly drawn to zero, rounded so that no last digit depends on the machine."""
    from scipy.sparse import csr_matrix, vstack
    from sklearn.linear_model import LogisticRegression

    keys = sorted(key for key in wins if key.startswith(f"{axis}|"))
    pairs = [key.split("|")[1:] for key in keys]
    names = sorted({name for pair in pairs for name in pair})
    if len(names) < 2:
        return {}
    index = {name: i for i, name in enumerate(names)}
    rows = np.repeat(np.arange(len(pairs)), 2)
    columns = np.array([[index[a], index[b]] for a, b in pairs]).ravel()
    signs = np.tile([1.0, -1.0], len(pairs))
    design = csr_matrix((signs, (rows, columns)), shape=(len(pairs), len(names)))
    won, lost = np.array([wins[key] for key in keys]).T
    # both outcomes of every pair, weighted by how often they were seen
    stacked, outcome = vstack([design, design]), np.repeat([1, 0], len(pairs))
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000, tol=1e-8)
    model.fit(stacked, outcome, sample_weight=np.concatenate([won, lost]))
    return {name: round(float(value), 3) for name, value in zip(names, model.coef_[0], strict=True)}


def keep_shares(by_count: Mapping[str, int]) -> dict[str, float]:
    """Probability to keep each count so that none is more than ``MAX_COUNT_SHARE`` of those kept.

    Where there are fewer values than that allows, all are brought down to the rarest but one; a category with a single
    value gives its answer away by its name and is kept hardly ever.
    """
    numbers: Float64[np.ndarray, " counts"] = np.array([float(n) for _, n in sorted(by_count.items())])
    if len(numbers) == 1:
        return dict.fromkeys(by_count, 0.02)
    share = max(MAX_COUNT_SHARE, 1.0 / len(numbers))
    cap = numbers.max()
    for _ in range(200):
        cap = min(cap, share * np.minimum(numbers, cap).sum())
    cap = max(cap, float(np.sort(numbers)[-2]) if share > MAX_COUNT_SHARE else 0.0)
    return {key: round(min(1.0, float(cap) / number), 4) for key, number in sorted(by_count.items())}
