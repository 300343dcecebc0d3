"""Settings of question generation, and how they are read from YAML."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from qa_generation.blind.config import BlindConfig
from qa_generation.errors import InputError
from qa_generation.prompts import ALL_TYPES
from qa_generation.sampling import SamplingConfig

# labels that name structure or a tool's leftovers and not an object one can point at
EXCLUDED_CATEGORIES: tuple[str, ...] = (
    "wall",
    "floor",
    "ceiling",
    "object",
    "objects",
    "remove",
    "split",
    "unknown",
    "unlabeled",
    "unannotated",
    "otherstructure",
    "otherfurniture",
    "otherprop",
    "other",
    "void",
    "structure",
    "beam",
    "column",
    "doorframe",
    "door frame",
    "window frame",
    "windowsill",
    "floor mat",
    "room",
)


@dataclass(frozen=True)
class GenerationConfig:
    """How questions are made from annotated scenes.

    Attributes:
        per_type: questions per type and scene, an upper bound: balance of answers comes first.
        quotas: the same for single types, e.g. ``{"obj_count_occ": 10}``; 0 leaves a type out.
        sampling: which view sets are drawn.
        frame_naming: ``index`` says ``Frame 2``, ``stem`` says the file stem.
        coord_size: (width, height) in pixels of the canvas that coordinates in texts refer to.
        relation_options: ``paired`` or ``published``, see `tasks.relation`.
        excluded_categories: labels never asked about.
        max_count: largest number asked for.
        localization_negatives: share of localisation questions whose answer is ``No``, one of four options.
        occlusion_window: a target is preferred when its combined occlusion is in here in some frame of the set.
        name_balance: leave out questions whose names alone give the answer away, learned over all scenes (from 8 on).
        least_per_type: share of the quota that is asked in spite of that where too few others are left; without
            effect where ``blind`` is set.
        oversample: questions made for each one wanted, of which those are left out that give themselves away.
        blind: how that is found out; None keeps all.
        warmup: auxiliary single-view questions per type and training scene; 0 makes none.
        visibility_max_side: longer side of the pixel grid that visibility is counted on.
    """

    per_type: int = 40
    quotas: Mapping[str, int] = field(default_factory=dict)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    frame_naming: str = "index"
    coord_size: tuple[int, int] = (512, 512)
    relation_options: str = "paired"
    excluded_categories: tuple[str, ...] = EXCLUDED_CATEGORIES
    max_count: int = 10
    localization_negatives: float = 0.25
    occlusion_window: tuple[float, float] = (0.1, 0.9)
    name_balance: bool = True
    least_per_type: float = 0.25
    oversample: float = 2.5
    blind: BlindConfig | None = field(default_factory=BlindConfig)
    warmup: int = 0
    visibility_max_side: int = 640

    def __post_init__(self) -> None:
        if self.frame_naming not in ("index", "stem"):
            raise InputError(f"frame_naming is {self.frame_naming!r}, expected 'index' or 'stem'")
        if self.relation_options not in ("paired", "published"):
            raise InputError(f"relation_options is {self.relation_options!r}, expected 'paired' or 'published'")
        for name in self.quotas:
            if name not in ALL_TYPES:
                raise InputError(f"quotas: {name!r} is unknown, expected one of {', '.join(ALL_TYPES)}")
        if min([self.per_type, self.warmup, *self.quotas.values()]) < 0:
            raise InputError("per_type, warmup and quotas must not be negative")
        if not 1.0 <= self.oversample <= 20.0:
            raise InputError(f"oversample is {self.oversample}, expected 1 to 20")
        if not 0.0 <= self.localization_negatives <= 1.0:
            raise InputError(f"localization_negatives is {self.localization_negatives}, expected a share in 0..1")
        if len(self.coord_size) != 2 or min(self.coord_size) < 16:
            raise InputError(f"coord_size is {list(self.coord_size)}, expected [width, height] of at least 16 pixels")

    def pool_quota(self, question_type: str) -> int:
        """Questions per scene of this type before any is left out."""
        return ceil(self.quota(question_type) * (self.oversample if self.blind else 1.0))

    def quota(self, question_type: str) -> int:
        """Questions per scene of this type."""
        return self.quotas.get(question_type, self.per_type)

    def fingerprint(self, seed: int, reader_options: Mapping[str, Any] | None = None) -> str:
        """Identifies these settings with a seed and the reader's; shards carry it so that unlike ones never mix."""
        reader = {"reader_options": dict(reader_options)} if reader_options else {}
        text = json.dumps({"seed": seed, "format": FORMAT, **reader, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


# raise it whenever the same scenes and settings would give other records, so that old and new shards never mix
FORMAT = 3
_NESTED: dict[str, type] = {"sampling": SamplingConfig, "blind": BlindConfig}


def load_config(path: Path) -> GenerationConfig:
    """Settings from a YAML file; raises ``InputError`` naming the file and any unknown key."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: found {type(content).__name__}, expected a mapping of settings")
    nested = {key: content.pop(key) for key in _NESTED if key in content}
    values = _checked(path, content, GenerationConfig)
    try:
        for key, value in nested.items():
            # `blind: null` switches the pruning off
            values[key] = (
                None if value is None and key == "blind" else _NESTED[key](**_checked(path, value, _NESTED[key]))
            )
        return GenerationConfig(**values)
    except (TypeError, InputError) as error:
        raise InputError(f"{path}: {error}") from error


def _checked(path: Path, content: Any, kind: type) -> dict[str, Any]:
    """The mapping with lists as tuples; every key must be a field of ``kind`` and of its default's type."""
    names = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(content, dict):
        raise InputError(f"{path}: {kind.__name__} is {content!r}, expected a mapping")
    values: dict[str, Any] = {}
    default = kind()
    for key, value in content.items():
        if key not in names:
            raise InputError(f"{path}: unknown key {key!r}, expected one of {', '.join(sorted(names))}")
        found: Any = tuple(value) if isinstance(value, list) else value
        wanted = getattr(default, key)
        number = isinstance(wanted, float) and isinstance(found, int) and not isinstance(found, bool)
        if not number and type(found) is not type(wanted):
            raise InputError(f"{path}: {key} is {value!r}, expected {type(wanted).__name__}")
        values[key] = float(found) if number else found
    return values
