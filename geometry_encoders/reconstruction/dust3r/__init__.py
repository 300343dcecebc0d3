"""DUSt3R: two views in, two pointmaps in the frame of the first one out (Wang et al., CVPR 2024, arXiv:2312.14132)."""

from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig
from geometry_encoders.reconstruction.dust3r.modeling_dust3r import Dust3rModel
from geometry_encoders.reconstruction.dust3r.presets import (
    dust3r_tiny_config,
    dust3r_vitl_224_linear_config,
    dust3r_vitl_512_dpt_config,
    dust3r_vitl_512_linear_config,
)

__all__ = [
    "Dust3rConfig",
    "Dust3rModel",
    "dust3r_tiny_config",
    "dust3r_vitl_224_linear_config",
    "dust3r_vitl_512_dpt_config",
    "dust3r_vitl_512_linear_config",
]
