"""Configurations by name: the published sizes and a tiny one that trains on two CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig

TINY_SIZES: dict[str, Any] = {
    "image_size": (128, 128),
    "enc_embed_dim": 160,
    "enc_depth": 4,
    "enc_num_heads": 4,
    "dec_embed_dim": 128,
    "dec_depth": 3,
    "dec_num_heads": 4,
}


def dust3r_tiny_config() -> Dust3rConfig:
    """About 3.2 M parameters at 128 x 128 pixels: 64 tokens per view, linear head."""
    return Dust3rConfig(**TINY_SIZES)


def dust3r_vitl_224_linear_config() -> Dust3rConfig:
    """The published DUSt3R_ViTLarge_BaseDecoder_224_linear (532 M parameters)."""
    return Dust3rConfig(image_size=(224, 224))


def dust3r_vitl_512_linear_config() -> Dust3rConfig:
    """The published DUSt3R_ViTLarge_BaseDecoder_512_linear (532 M parameters)."""
    return Dust3rConfig(image_size=(512, 512))


def dust3r_vitl_512_dpt_config() -> Dust3rConfig:
    """The published DUSt3R_ViTLarge_BaseDecoder_512_dpt (571 M parameters)."""
    return Dust3rConfig(image_size=(512, 512), head_type="dpt")


PRESETS: dict[str, Callable[[], Dust3rConfig]] = {
    "tiny": dust3r_tiny_config,
    "vitl_224_linear": dust3r_vitl_224_linear_config,
    "vitl_512_linear": dust3r_vitl_512_linear_config,
    "vitl_512_dpt": dust3r_vitl_512_dpt_config,
}
