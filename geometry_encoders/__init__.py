"""Geometry encoders: images in, pointmaps and geometry tokens out. Usable without the rest of the framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geometry_encoders.checkpoints import load_official_checkpoint

__all__ = ["load_official_checkpoint"]


def __getattr__(name: str) -> Any:  # torch and transformers take seconds to import, so they wait until they are needed
    if name == "load_official_checkpoint":
        from geometry_encoders.checkpoints import load_official_checkpoint

        return load_official_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
