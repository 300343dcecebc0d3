"""Names for an error message: the first few, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_NAMED = 5


def listed(items: Sequence[Any]) -> str:
    """``a, b, c, d, e and 7 more``."""
    rest = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(str(item) for item in items[:_NAMED]) + rest
