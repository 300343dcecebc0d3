"""The settings of Spann3R's spatial memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from geometry_encoders.errors import InputError

_PUBLISHED_EXTRA_PROTECTION = 5


@dataclass(frozen=True)
class MemoryConfig:
    """How much the memory holds, what enters it and what is read from it; the defaults are the published numbers.

    Attributes:
        work_mem_frames: newest frames that make up the working memory.
        long_mem_tokens: tokens kept in all when older ones are pruned; 0 = no long-term memory, a sliding window of
            the working frames.
        attention_threshold: attention weights below it are set to zero and the rest renormalised; 0 = no clipping.
        similarity_threshold: a frame whose keys are more similar than this to those of a working frame (mean cosine)
            is not stored; 1 = every frame is stored.
        protected_frames: newest frames whose tokens are never pruned; None = the working memory.
        compat: behave like the published program where its behaviour looks unintended. With it, a row of attention
            that is below the threshold everywhere gives NaN (otherwise that row stays unclipped), one similarity
            decision is taken for the whole batch (otherwise one per sample), tokens are stored by attention after
            pruning, so that the similarity check meets other tokens than those of the working memory (otherwise they
            stay in the order they came in), five frames more than the working memory are protected from pruning, and
            pruning may cut into the working memory where that is larger than ``long_mem_tokens``.
    """

    work_mem_frames: int = 5
    long_mem_tokens: int = 4000
    attention_threshold: float = 5e-4
    similarity_threshold: float = 0.95
    protected_frames: int | None = None
    compat: bool = False

    def __post_init__(self) -> None:
        whole = {"work_mem_frames": (self.work_mem_frames, 1), "long_mem_tokens": (self.long_mem_tokens, 0)}
        if self.protected_frames is not None:
            whole["protected_frames"] = (self.protected_frames, 0)
        for name, (value, least) in whole.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"memory option {name} is {value!r}, expected a whole number of at least {least}")
        for name in ("attention_threshold", "similarity_threshold"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"memory option {name} is {value!r}, expected a number from 0 to 1")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> MemoryConfig:
        """The settings in a mapping; raises `InputError` for names that do not exist."""
        return cls().changed(options)

    def changed(self, options: Mapping[str, Any]) -> MemoryConfig:
        """The same settings with some replaced; raises `InputError` for names that do not exist."""
        known = [field.name for field in fields(self)]
        if unknown := sorted(set(options) - set(known)):
            raise InputError(f"memory option {unknown[0]!r} does not exist, expected one of {', '.join(known)}")
        return replace(self, **options)

    def for_training(self) -> MemoryConfig:
        """Everything is stored and read: no similarity check, no clipping, no pruning."""
        return replace(self, long_mem_tokens=sys.maxsize, attention_threshold=0.0, similarity_threshold=1.0)

    @property
    def protected_age(self) -> int:
        """Tokens inserted less than this many insertions ago are not pruned."""
        if self.protected_frames is not None:
            return self.protected_frames if self.compat else max(self.protected_frames, self.work_mem_frames)
        return self.work_mem_frames + (_PUBLISHED_EXTRA_PROTECTION if self.compat else 0)
