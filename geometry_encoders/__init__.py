"""Geometry encoders: images in, pointmaps and geometry tokens out. Usable without the rest of the framework."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geometry_encoders.checkpoints import load_official_checkpoint
    from geometry_encoders.reconstruction import Dust3rModel, Spann3R, Spann3rConfig, Spann3rModel

__all__ = ["Dust3rModel", "Spann3R", "Spann3rConfig", "Spann3rModel", "load_official_checkpoint"]


def __getattr__(name: str) -> Any:  # torch and transformers take seconds to import, so they wait until they are needed
    if name == "load_official_checkpoint":
        from geometry_encoders.checkpoints import load_official_checkpoint

        return load_official_checkpoint
    if name in __all__:
        return getattr(importlib.import_module("geometry_encoders.reconstruction"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
