"""spatialvlm: multi-view spatial reasoning with vision-language models. Heavy imports wait until a name is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spatialvlm.loading import load_model
    from spatialvlm.models import (
        SpatialMosaicConfig,
        SpatialMosaicForConditionalGeneration,
        SpatialMosaicModel,
        SpatialMosaicProcessor,
    )

_HOMES = {
    "SpatialMosaicConfig": "spatialvlm.models",
    "SpatialMosaicForConditionalGeneration": "spatialvlm.models",
    "SpatialMosaicModel": "spatialvlm.models",
    "SpatialMosaicProcessor": "spatialvlm.models",
    "load_model": "spatialvlm.loading",
}

__all__ = [
    "SpatialMosaicConfig",
    "SpatialMosaicForConditionalGeneration",
    "SpatialMosaicModel",
    "SpatialMosaicProcessor",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spatialvlm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
