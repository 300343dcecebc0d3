"""Spann3R configurations by name: the published size and a tiny one that trains on two CPU cores."""

from __future__ import annotations

from collections.abc import Callable

from geometry_encoders.reconstruction.dust3r.presets import TINY_SIZES
from geometry_encoders.reconstruction.spann3r.configuration_spann3r import Spann3rConfig


def spann3r_tiny_config() -> Spann3rConfig:
    """About 4 M parameters around the tiny DUSt3R, so that a trained one fits: 64 tokens per frame, linear heads."""
    return Spann3rConfig(**TINY_SIZES, head_type="linear", value_encoder_depth=2, value_encoder_heads=4)


def spann3r_vitl_config() -> Spann3rConfig:
    """The published Spann3R, v1.0 and v1.01 (659 M parameters, 224 x 224 pixels)."""
    return Spann3rConfig(image_size=(224, 224))


PRESETS: dict[str, Callable[[], Spann3rConfig]] = {"tiny": spann3r_tiny_config, "vitl": spann3r_vitl_config}
