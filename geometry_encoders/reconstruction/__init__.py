"""Networks that reconstruct: pictures in, pointmaps out. Importing this package registers them with transformers."""

import transformers
from transformers import AutoConfig, AutoModel

from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.spann3r import MemoryConfig, Spann3R, Spann3rConfig, Spann3rModel

for config_class, model_class in ((Dust3rConfig, Dust3rModel), (Spann3rConfig, Spann3rModel)):
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModel.register(config_class, model_class, exist_ok=True)
    if hasattr(transformers, "AutoModelForPointmapEstimation"):  # of recent versions
        transformers.AutoModelForPointmapEstimation.register(config_class, model_class, exist_ok=True)

__all__ = ["Dust3rConfig", "Dust3rModel", "MemoryConfig", "Spann3R", "Spann3rConfig", "Spann3rModel"]
