"""Fuses what a database knows into what was seen: the second stage of RetrievalFuse (ICCV 2021).

Importing this package registers its networks with transformers.
"""

from transformers import AutoConfig, AutoModel

from geometry_encoders.retrieval.refinement.attention import AttentionSettings
from geometry_encoders.retrieval.refinement.configuration import RetrievalFuseConfig
from geometry_encoders.retrieval.refinement.implicit import ImplicitFusionConfig, ImplicitFusionModel
from geometry_encoders.retrieval.refinement.modeling import RefinementOutput, RetrievalFuseModel

for config_class, model_class in (
    (RetrievalFuseConfig, RetrievalFuseModel),
    (ImplicitFusionConfig, ImplicitFusionModel),
):
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModel.register(config_class, model_class, exist_ok=True)

__all__ = [
    "AttentionSettings",
    "ImplicitFusionConfig",
    "ImplicitFusionModel",
    "RefinementOutput",
    "RetrievalFuseConfig",
    "RetrievalFuseModel",
]
