"""Settings of the blind audit and of the pruning that makes a set pass it."""

from __future__ import annotations

from dataclasses import dataclass

from qa_generation.errors import InputError


@dataclass(frozen=True)
class BlindConfig:
    """How questions are pruned whose text gives the answer away.

    Attributes:
        folds: groups of scenes; a scene is judged by models that never saw its group.
        stages: most rounds of fitting and leaving out.
        tolerance: a type is done when the out-of-fold blind accuracy is at most chance plus this.
        numeric_tolerance: the same for numbers and points, above the best constant's score.
        strength: exponent of the keep probability of one stage, in (0, 1]; smaller loses less per stage.
        least_records: types with fewer records in the sample are left as they are.
        most_records: of a type no more than this many of the sample are looked at.
        least_kept: a type is not thinned below this share of the sample, whatever is left to find.
        category_share: no category is asked more often than this share of a type ...
        category_excess: ... or this many times the even share, whichever is larger.
    """

    folds: int = 5
    stages: int = 5
    tolerance: float = 0.015
    numeric_tolerance: float = 0.03
    strength: float = 1.0
    least_records: int = 300
    most_records: int = 12000
    least_kept: float = 0.04
    category_share: float = 0.05
    category_excess: float = 1.5

    def __post_init__(self) -> None:
        if self.folds < 3:
            raise InputError(f"blind.folds is {self.folds}, expected at least 3: two are left out of every habit")
        if self.stages < 0:
            raise InputError(f"blind.stages is {self.stages}, expected 0 or more")
        if self.least_records < 1 or self.most_records < self.least_records:
            raise InputError(
                f"blind.least_records and most_records are {self.least_records} and {self.most_records}, "
                "expected positive numbers in ascending order"
            )
        for name in ("strength", "least_kept", "category_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(f"blind.{name} is {getattr(self, name)}, expected a number above 0 and at most 1")
        if min(self.tolerance, self.numeric_tolerance) < 0 or self.category_excess < 1:
            raise InputError("blind: tolerances must not be negative, and category_excess is at least 1")
