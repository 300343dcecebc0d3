"""Networks that reconstruct: pictures in, pointmaps out. Importing this package registers them with transformers."""

from transformers import AutoConfig, AutoModel

from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel

AutoConfig.register(Dust3rConfig.model_type, Dust3rConfig, exist_ok=True)
AutoModel.register(Dust3rConfig, Dust3rModel, exist_ok=True)

__all__ = ["Dust3rConfig", "Dust3rModel"]
