"""Options give nothing away: letters are spread, numbers are equally likely, no answer is too frequent."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_generation.options import LetterBalance, NumberOptions, allocate, allocate_by_share, allocate_within, lettered


@given(seed=st.integers(0, 1000), questions=st.integers(1, 60), options=st.integers(2, 4))
def test_letters_are_used_equally_often(seed: int, questions: int, options: int):
    rng, balance = np.random.default_rng(seed), LetterBalance()
    used = Counter(balance.place("obj_count_occ", options, rng) for _ in range(questions))
    counts = [used[i] for i in range(options)]
    assert max(counts) - min(counts) <= 1


def test_types_are_balanced_apart():
    rng, balance = np.random.default_rng(0), LetterBalance()
    first = {balance.place("a", 4, rng) for _ in range(4)}
    assert first == {balance.place("b", 4, rng) for _ in range(4)} == {0, 1, 2, 3}


def test_lettered_puts_the_answer_where_it_is_told():
    options, letter = lettered("yes", ["no"], 1, np.random.default_rng(0))
    assert options == ("A. no", "B. yes") and letter == "B"


@pytest.mark.parametrize(
    "available, quota, share, expected",
    [
        ({1: 100, 2: 100}, 10, 0.5, {1: 5, 2: 5}),
        ({1: 100, 2: 3}, 10, 0.5, {1: 4, 2: 3}),
        ({1: 100, 2: 100, 3: 100, 4: 100}, 10, 0.3, {1: 3, 2: 3, 3: 2, 4: 2}),
        ({-1: 50, 1: 1}, 40, 0.5, {-1: 2, 1: 1}),
        ({1: 50}, 40, 0.5, {1: 4}),
        ({}, 40, 0.5, {}),
        ({1: 50, 2: 50}, 0, 0.5, {}),
    ],
)
def test_allocation_by_hand(available: dict, quota: int, share: float, expected: dict):
    assert allocate(available, quota, share) == expected


@given(
    available=st.dictionaries(st.integers(1, 10), st.integers(0, 50), max_size=8),
    quota=st.integers(0, 60),
    share=st.floats(0.1, 1.0),
)
def test_allocation_keeps_its_promises(available: dict, quota: int, share: float):
    given_counts = allocate(available, quota, share)
    total = sum(given_counts.values())
    assert total <= max(quota, 0)
    assert all(0 < number <= available[key] for key, number in given_counts.items())
    classes = sum(number > 0 for number in available.values())
    if classes > 1 and total:
        assert max(given_counts.values()) <= np.ceil(max(share, 1 / classes) * total - 1e-9)


@pytest.mark.parametrize(
    "available, quota, shares, expected",
    [
        ({0: 100, 1: 100}, 40, {0: 0.5, 1: 0.5}, {0: 20, 1: 20}),
        ({0: 100, 1: 100}, 40, {0: 0.25, 1: 0.75}, {0: 10, 1: 30}),
        ({0: 100, 1: 6}, 40, {0: 0.25, 1: 0.75}, {0: 2, 1: 6}),
        ({0: 100, 1: 100}, 40, {0: 0.0, 1: 1.0}, {1: 40}),
        ({0: 100}, 40, {0: 0.5, 1: 0.5}, {0: 1}),
    ],
)
def test_exact_shares(available: dict, quota: int, shares: dict, expected: dict):
    assert allocate_by_share(available, quota, shares) == expected


def _best_guess(options: NumberOptions, shares: dict[int, float]) -> float:
    """How often someone is right who knows the design and sees the options only: sum over sets of max P(truth, set)."""
    joint = np.zeros((len(options._sets), len(options.pool)))
    for g, share in shares.items():
        index = options.pool.index(g)
        holds = (options._sets == index).any(axis=1)
        weight = options.set_weights * holds
        joint[:, index] = share * weight / weight.sum()
    return float(joint.max(axis=1).sum())


@pytest.mark.parametrize(
    "shares",
    [
        {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25},
        {1: 0.2, 2: 0.2, 3: 0.2, 4: 0.2, 5: 0.2},
        {1: 0.25, 2: 0.25, 3: 0.2, 4: 0.15, 5: 0.1, 6: 0.05},
    ],
)
def test_the_options_alone_do_not_tell_the_count(shares: dict):
    options = NumberOptions(shares, size=4, smallest=1)
    assert 0.25 <= _best_guess(options, shares) < 0.28


def test_pairs_for_best_view_do_not_tell_the_number():
    shares = {2: 0.5, 3: 0.3, 4: 0.2}
    assert 0.5 <= _best_guess(NumberOptions(shares, size=2, smallest=2), shares) < 0.53


@settings(max_examples=50, deadline=None)
@given(
    counts=st.dictionaries(st.integers(1, 10), st.integers(1, 20), min_size=1, max_size=6),
    size=st.sampled_from([2, 4]),
    seed=st.integers(0, 99),
)
def test_wrong_numbers_are_distinct_positive_and_never_the_truth(counts: dict, size: int, seed: int):
    options = NumberOptions({g: float(n) for g, n in counts.items()}, size=size, smallest=1)
    rng = np.random.default_rng(seed)
    for truth in counts:
        wrong = options.wrong(truth, rng)
        assert len(wrong) == size - 1 == len(set(wrong) - {truth}) and min(wrong) >= 1


@pytest.mark.parametrize(
    "available, quota, expected",
    [
        ({0: 50, 1: 50, 2: 50, 3: 50}, 8, {0: 2, 1: 2, 2: 2, 3: 2}),
        ({0: 50, 1: 1, 2: 3, 3: 50}, 20, {0: 1, 1: 1, 2: 3, 3: 3}),
        ({0: 50, 2: 3, 3: 50}, 4, {2: 2, 3: 2}),
        ({0: 50, 2: 50}, 40, {0: 2, 2: 2}),
        ({}, 40, {}),
    ],
)
def test_both_answers_are_equally_many_within_a_group(available: dict, quota: int, expected: dict):
    assert allocate_within(available, quota, lambda key: key // 2) == expected
