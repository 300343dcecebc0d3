"""Exceptions that a person sees: each message names the file, the field, what was found and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Self


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence fit to be printed on its own."""


class SceneError(InputError):
    """One scene is missing, truncated or contradictory; batch jobs record it and go on with the next scene."""


class OutputError(InputError):
    """The output cannot be written (disk full, read-only): no fault of one scene, so that the whole run ends."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> Self:
        """The error about this path."""
        return cls(f"{path}: cannot be written ({error.strerror or error}); what was written before is kept")
