"""The columns that the page filters and sorts by, one entry per record; repeated texts are stored once."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from qa_generation.browser.pick import Shown

# name -> how a record's entry gives it
FACETS = ("type", "split", "scene", "category", "occlusion", "truncation", "overlap", "visibility", "coverage", "views")


class Index:
    """Grows record by record; numbers and codes only, besides ids and questions."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.questions: list[str] = []
        self.bias = array("d")
        self._values: dict[str, dict[str, int]] = {name: {} for name in FACETS}
        self._codes: dict[str, array] = {name: array("l") for name in FACETS}
        self._families: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, shown: Shown, content: Mapping[str, Any]) -> None:
        """Takes in one record with its entry."""
        record = shown.record
        self.ids.append(record.id)
        self.questions.append(record.question)
        self.bias.append(-1.0 if content["bias"] is None else content["bias"])
        self._families[record.question_type] = content["family"]
        facts = (record.question_type, shown.split, record.scene_name, record.target_category, *content["levels"])
        for name, value in zip(FACETS, (*facts, str(len(record.frames))), strict=True):
            values = self._values[name]
            self._codes[name].append(values.setdefault(value, len(values)))

    def content(self, per_file: int, scenes: Mapping[str, int], total: int) -> dict[str, Any]:
        """What the page loads first; ``scenes`` gives the number of each scene's file, ``total`` records of the set."""
        return {
            "total": total,
            "perFile": per_file,
            "ids": self.ids,
            "bias": [None if score < 0 else score for score in self.bias],
            "facets": {n: {"values": list(self._values[n]), "codes": self._codes[n].tolist()} for n in FACETS},
            "families": self._families,
            "scenes": dict(scenes),
        }
