"""Three-valued truth, and what speaks against one record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

Verdict = Literal["agree", "borderline", "disagree"]


class Truth(IntEnum):
    """Kleene's logic: and is the least, or the greatest. MAYBE = a threshold lies within its sampling tolerance."""

    NO = 0
    MAYBE = 1
    YES = 2

    @property
    def negated(self) -> Truth:
        """YES for NO and the other way round."""
        return Truth(2 - self)


def truth_of(flag: bool) -> Truth:
    """YES or NO."""
    return Truth.YES if flag else Truth.NO


def at_least(low: float, high: float, threshold: float) -> Truth:
    """Whether a quantity known to lie in ``low .. high`` reaches the threshold."""
    return Truth.YES if low >= threshold else Truth.NO if high < threshold else Truth.MAYBE


def either(truths: Iterable[Truth]) -> Truth:
    """Whether one of them holds; NO for none."""
    return max(truths, default=Truth.NO)


def every(truths: Iterable[Truth]) -> Truth:
    """Whether all of them hold; YES for none."""
    return min(truths, default=Truth.YES)


@dataclass(frozen=True)
class Doubt:
    """A threshold that lies within its sampling tolerance: which one, and where."""

    threshold: str
    text: str


@dataclass(frozen=True)
class Finding:
    """What the audit says of one record.

    Attributes:
        record_id, question_type: of the record.
        verdict: of its answer.
        claimed: the answer that the record gives.
        recomputed: the answer found here, as text.
        why: reasons for anything but agreement.
        thresholds: which thresholds are near, for borderline answers.
        broken_rules: invariants of records that do not hold, whatever the answer.
        doubtful_rules: invariants that hang on a threshold.
    """

    record_id: str
    question_type: str
    verdict: Verdict
    claimed: str
    recomputed: str
    why: tuple[str, ...] = ()
    thresholds: tuple[str, ...] = ()
    broken_rules: tuple[str, ...] = ()
    doubtful_rules: tuple[str, ...] = ()


@dataclass
class Case:
    """Collects what speaks against one record."""

    wrong: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    found: str = ""

    def need(self, truth: Truth, threshold: str, text: str) -> None:
        """Notes ``text`` unless the condition surely holds; ``threshold`` names what it hangs on."""
        if truth is Truth.NO:
            self.wrong.append(text)
        elif truth is Truth.MAYBE:
            self.doubts.append(Doubt(threshold, text))

    @property
    def verdict(self) -> Verdict:
        return "disagree" if self.wrong else "borderline" if self.doubts else "agree"

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons that decide the verdict."""
        return tuple(self.wrong) or tuple(doubt.text for doubt in self.doubts)

    @property
    def thresholds(self) -> tuple[str, ...]:
        return () if self.wrong else tuple(sorted({doubt.threshold for doubt in self.doubts}))
