"""The configuration of Spann3R: that of its DUSt3R trunk, the sizes of what comes on top, and the memory's settings."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import strict

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.configuration_dust3r import Dust3rConfig
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig


@strict
class Spann3rConfig(Dust3rConfig):
    """Sizes and modes of a Spann3R network; the defaults are the published model (ViT-L, DPT heads).

    Attributes:
        value_encoder_depth: blocks of the value encoder.
        value_encoder_heads: attention heads of the value encoder.
        memory_dropout: dropout on the attention weights of memory reads, in training only.
        memory_norm_eps: epsilon of the LayerNorms on queries, keys and values of the memory.
        memory: settings of the spatial memory, see `MemoryConfig`; those that are not named keep their defaults.
    """

    model_type = "spann3r"

    head_type: str = "dpt"
    value_encoder_depth: int = 6
    value_encoder_heads: int = 16
    memory_dropout: float | int = 0.15
    memory_norm_eps: float = 1e-5
    memory: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.patch_embed_cls != "PatchEmbedDust3R" or self.landscape_only:
            raise InputError(
                f"Spann3R with patch_embed_cls {self.patch_embed_cls!r} and landscape_only {self.landscape_only}: "
                "expected 'PatchEmbedDust3R' and false, portrait pictures are taken as they are"
            )
        if not 0 <= self.memory_dropout < 1:
            raise InputError(f"memory_dropout is {self.memory_dropout}, expected a number from 0 to below 1")
        MemoryConfig.from_dict(self.memory or {})

    @property
    def memory_config(self) -> MemoryConfig:
        """The memory's settings with all defaults filled in."""
        return MemoryConfig.from_dict(self.memory or {})

    @classmethod
    def from_official_arguments(cls, arguments: Mapping[str, Any]) -> "Spann3rConfig":
        """The configuration for the constructor arguments of the inner DUSt3R, with Spann3R's own beside them."""
        as_stored = {"patch_embed_cls": "PatchEmbedDust3R", "landscape_only": False}
        return super().from_official_arguments({"head_type": "dpt"} | dict(arguments) | as_stored)  # type: ignore[return-value]
