"""The configuration of the refinement network of RetrievalFuse."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.refinement.attention import AttentionSettings
from geometry_encoders.retrieval.scale import PRESETS, GridScale

FUSIONS = ("attention", "concatenation", "none", "nearest")


@strict
class RetrievalFuseConfig(PreTrainedConfig):
    """Sizes and variants of the network; the defaults are the published super-resolution of 3D-FRONT rooms.

    Attributes:
        channels: features per cell of the 32^3 grid on which input and candidates meet; even.
        unet_levels: levels of the U-Net over the input.
        retrieval_channels: channels of the first level of the U-Net over retrieved chunks.
        retrieval_levels: levels of that U-Net.
        candidates: k, retrieved versions of a window used by default; attention takes any number.
        fusion: ``attention``; ``concatenation`` of all features and two convolutions (a fixed number of candidates);
            ``none``, the U-Net alone; ``nearest``, the first candidate as it is.
        attention_extent: side of an attention patch in target voxels, two of which make a feature cell.
        attention: fields of `AttentionSettings`; empty for those of the published scene models.
        scale: fields of `GridScale`, the grids that the network was trained for.
        faithful_weights: whether a voxel counts as occupied in the loss where its *normalised* distance is below the
            truncation, as in the published program, instead of where its distance is.
    """

    model_type = "retrieval_fuse"

    channels: int = 16
    unet_levels: int = 4
    retrieval_channels: int = 16
    retrieval_levels: int = 4
    candidates: int = 4
    fusion: str = "attention"
    attention_extent: int = 4
    attention: dict[str, Any] | None = None
    scale: dict[str, Any] | None = None
    faithful_weights: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.fusion not in FUSIONS:
            raise InputError(f"fusion {self.fusion!r}: expected one of {', '.join(FUSIONS)}")
        if self.channels < 2 or self.channels % 2:
            raise InputError(f"channels {self.channels}: expected an even number from 2 on")
        if self.candidates < 0 or (self.candidates == 0 and self.fusion in ("concatenation", "nearest")):
            raise InputError(f"candidates {self.candidates}: expected at least 1 with fusion {self.fusion!r}")
        if self.attention_extent not in (2, 4, 8, 16):
            raise InputError(f"attention_extent {self.attention_extent}: expected 2, 4, 8 or 16")
        self.attention = self._complete("attention", AttentionSettings, AttentionSettings())
        self.scale = self._complete("scale", GridScale, PRESETS["3dfront"])

    def _complete(self, name: str, schema: type[Any], default: Any) -> dict[str, Any]:
        given = getattr(self, name)
        if given is None:
            return asdict(default)
        known = [field.name for field in fields(schema)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise InputError(f"{name}: unknown key {unknown[0]!r}, expected one of {', '.join(known)}")
        return asdict(schema(**given))

    @property
    def grid_scale(self) -> GridScale:
        """The grids that the network was trained for."""
        return GridScale(**(self.scale or {}))

    @property
    def attention_settings(self) -> AttentionSettings:
        """How candidates are compared, chosen and mixed in."""
        return AttentionSettings(**(self.attention or {}))
