"""Spann3R: DUSt3R with a spatial memory, for sequences (Wang and Agapito, 3DV 2025, arXiv:2408.16061)."""

from geometry_encoders.reconstruction.spann3r.configuration_spann3r import Spann3rConfig
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.modeling_spann3r import SequencePrediction, Spann3rModel
from geometry_encoders.reconstruction.spann3r.online import SequenceReconstruction
from geometry_encoders.reconstruction.spann3r.presets import spann3r_tiny_config, spann3r_vitl_config

Spann3R = Spann3rModel

__all__ = [
    "MemoryConfig",
    "SequencePrediction",
    "SequenceReconstruction",
    "Spann3R",
    "Spann3rConfig",
    "Spann3rModel",
    "spann3r_tiny_config",
    "spann3r_vitl_config",
]
