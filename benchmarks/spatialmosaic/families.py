"""Which question types belong together, ours and those of neighbouring benchmarks, and what each weighs overall."""

from __future__ import annotations

from collections.abc import Collection

from benchmarks.neighbours.catalogue import FAMILIES, WEIGHTS
from qa_generation.prompts import ALL_FAMILIES

_ALL: dict[str, tuple[str, ...]] = {**ALL_FAMILIES, **FAMILIES}


def families_of(present: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The families that have one of the types, with those types; a type of no family is one by itself."""
    found = {family: tuple(kind for kind in kinds if kind in present) for family, kinds in _ALL.items()}
    known = {kind for kinds in _ALL.values() for kind in kinds}
    found |= {kind: (kind,) for kind in sorted(set(present) - known)}
    return {family: kinds for family, kinds in found.items() if kinds}


def has_types(family: str) -> bool:
    """Whether a family is made of several types, so that they are worth a line each."""
    return len(_ALL.get(family, ())) > 1


def weight_of(question_type: str) -> float:
    """What a type weighs in an overall score: 1, and less where a benchmark counts several types as one task."""
    return WEIGHTS.get(question_type, 1.0)
