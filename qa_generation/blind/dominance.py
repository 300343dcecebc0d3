"""No category may make up too much of a question type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

ROUNDS, RAISE = 100, 1.25


def largest_share(number_of_categories: int, share: float, excess: float) -> float:
    """The allowed share: ``share``, or ``excess`` times the even one where that is larger."""
    return min(1.0, max(share, excess / max(number_of_categories, 1)))


def category_keep(categories: Iterable[str], share: float, excess: float, most_lost: float = 1.0) -> dict[str, float]:
    """Chance to keep the questions of each category that is asked too often, so that none is above its share of the
    questions that are left; categories that need no thinning are not named.

    Where this would lose more than ``most_lost`` of all, the allowed share is raised until it does not: a type of which
    few names are left open is better than none.
    """
    numbers = Counter(categories)
    if len(numbers) < 2:
        return {}
    allowed = largest_share(len(numbers), share, excess)
    cap = _cap(numbers, allowed)
    while sum(min(number, cap) for number in numbers.values()) < (1.0 - most_lost) * numbers.total():
        allowed *= RAISE
        cap = _cap(numbers, allowed)
    return {name: round(cap / number, 6) for name, number in sorted(numbers.items()) if number > cap * 1.0001}


def _cap(numbers: Counter[str], allowed: float) -> float:
    """Most questions of one category so that it has the allowed share of what all then have."""
    cap = float(max(numbers.values()))
    for _ in range(ROUNDS):
        cap = min(cap, allowed * sum(min(float(number), cap) for number in numbers.values()))
    return cap
