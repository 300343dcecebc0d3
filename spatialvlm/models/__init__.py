"""SpatialMosaicVLM's configuration, model and processor; importing this registers them with the Auto classes."""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from spatialvlm.models.configuration_spatialmosaic import SpatialMosaicConfig
from spatialvlm.models.modeling_spatialmosaic import (
    SpatialMosaicForConditionalGeneration,
    SpatialMosaicModel,
    SpatialMosaicPreTrainedModel,
)
from spatialvlm.models.processing_spatialmosaic import SpatialMosaicProcessor

AutoConfig.register("spatialmosaic", SpatialMosaicConfig, exist_ok=True)
AutoModel.register(SpatialMosaicConfig, SpatialMosaicModel, exist_ok=True)
AutoModelForImageTextToText.register(SpatialMosaicConfig, SpatialMosaicForConditionalGeneration, exist_ok=True)
AutoProcessor.register(SpatialMosaicConfig, SpatialMosaicProcessor, exist_ok=True)

__all__ = [
    "SpatialMosaicConfig",
    "SpatialMosaicForConditionalGeneration",
    "SpatialMosaicModel",
    "SpatialMosaicPreTrainedModel",
    "SpatialMosaicProcessor",
]
