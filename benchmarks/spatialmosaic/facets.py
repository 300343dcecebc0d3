"""Labels by which questions are put into groups: levels of occlusion, truncation and overlap, views, visibility."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.spatialmosaic.results import UNKNOWN, Run, ScoredAnswer

_LEVELS = ("low", "medium", "high", "extreme")
_TRUNCATION = ("whole", "cut", "mostly cut")
# lower edges of the bins of the visible share, and how each is called
_VISIBILITY = (
    (0.0, "below 25 %"),
    (0.25, "25 to 50 %"),
    (0.5, "50 to 75 %"),
    (0.75, "75 to 95 %"),
    (0.95, "95 % and more"),
)


@dataclass(frozen=True)
class Facet:
    """One way of grouping.

    Attributes:
        name: short, for charts and JSON.
        title: what the groups are, for headings.
        label_of: the group of an answer.
        order: the labels in the order shown; others follow by name.
    """

    name: str
    title: str
    label_of: Callable[[ScoredAnswer], str]
    order: tuple[str, ...]


def visibility_bin(answer: ScoredAnswer) -> str:
    """The bin of the visible share of the asked objects."""
    if answer.visibility is None:
        return UNKNOWN
    return next(name for edge, name in reversed(_VISIBILITY) if answer.visibility >= edge or edge == 0.0)


FACETS = (
    Facet("occlusion", "level of occlusion", lambda answer: answer.occ_level, _LEVELS),
    Facet("truncation", "how much the frames cut off", lambda answer: answer.trunc_level or UNKNOWN, _TRUNCATION),
    Facet("overlap", "difficulty by overlap of the views", lambda answer: answer.overlap_level, _LEVELS),
    Facet("visibility", "visible share of the asked objects", visibility_bin, tuple(name for _, name in _VISIBILITY)),
    Facet("coverage", "whether one frame alone would do", lambda answer: answer.gt_scenario, ()),
    Facet("views", "number of views", lambda answer: f"{answer.views} views", ()),
)


@dataclass(frozen=True)
class Grouping:
    """The groups of one facet: their labels in the order shown, and the label of every question by its id."""

    facet: Facet
    labels: tuple[str, ...]
    label_of: Mapping[str, str]


def groupings(runs: Sequence[Run]) -> list[Grouping]:
    """Every facet that tells questions apart.

    Labels are those of the first run that was asked as it stands (a baseline may have been shown fewer views).
    """
    reference = next((run for run in runs if run.role == "model"), runs[0])
    found = []
    for facet in FACETS:
        label_of = {answer.id: facet.label_of(answer) for answer in reference.answers}
        labels = sorted(set(label_of.values()), key=lambda label: _rank(facet, label))
        if len(labels) > 1:
            found.append(Grouping(facet, tuple(labels), label_of))
    return found


def _rank(facet: Facet, label: str) -> tuple[bool, int, str]:
    place = facet.order.index(label) if label in facet.order else len(facet.order)
    return (label == UNKNOWN, place, label)
