"""The configuration of DUSt3R, with the argument names its users know."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from geometry_encoders.errors import InputError

logger = logging.getLogger(__name__)

# constructor arguments of the official program that change nothing in a forward pass
_IGNORED_ARGUMENTS = frozenset({"freeze", "mask_ratio", "norm_im2_in_dec", "norm_layer"})


@strict
class Dust3rConfig(PreTrainedConfig):
    """Sizes and modes of a DUSt3R network; the defaults are the published ViT-L with the linear head.

    Attributes:
        image_size: (height, width) the weights were trained at; has no effect on the shapes of parameters.
        patch_size: side of a square patch, pixels.
        patch_embed_cls: ``PatchEmbedDust3R`` takes pictures as stored, ``ManyAR_PatchEmbed`` turns portrait ones back.
        landscape_only: whether outputs are stored landscape, portrait ones transposed (training of the 512 models).
        rope_freq: base frequency of the rotary position embedding; None switches it off.
        head_type: ``linear`` or ``dpt``.
        depth_mode: ``exp``, ``square`` or ``linear``: how raw vectors become points.
        conf_mode: ``exp`` or ``sigmoid``, between ``conf_min`` and ``conf_max`` (None = unbounded).
        dpt_hooks: entries of the layer list the DPT head reads; None = 0, L/2, 3L/4 and L of L decoder layers.
    """

    model_type = "dust3r"
    base_config_key = "geometry_config"

    image_size: list[int] | tuple[int, ...] = (224, 224)
    patch_size: int = 16
    patch_embed_cls: str = "PatchEmbedDust3R"
    landscape_only: bool = False
    rope_freq: float | int | None = 100.0
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    mlp_ratio: float | int = 4.0
    layer_norm_eps: float = 1e-6
    head_type: str = "linear"
    depth_mode: str = "exp"
    conf_mode: str = "exp"
    conf_min: float | int = 1.0
    conf_max: float | int | None = None
    dpt_feature_dim: int = 256
    dpt_last_dim: int = 128
    dpt_layer_dims: list[int] | tuple[int, ...] = (96, 192, 384, 768)
    dpt_hooks: list[int] | tuple[int, ...] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.head_type not in ("linear", "dpt"):
            raise InputError(f"head_type {self.head_type!r}: expected 'linear' or 'dpt'")
        if self.patch_embed_cls not in ("PatchEmbedDust3R", "ManyAR_PatchEmbed"):
            raise InputError(
                f"patch_embed_cls {self.patch_embed_cls!r}: expected 'PatchEmbedDust3R' or 'ManyAR_PatchEmbed'"
            )
        if self.head_type == "dpt" and (self.patch_size != 16 or self.dec_depth < 10):
            raise InputError(
                f"DPT head: patch_size {self.patch_size} and dec_depth {self.dec_depth}, expected 16 and at least 10"
            )

    @property
    def hidden_size(self) -> int:
        """Width of the patch tokens handed to others."""
        return self.dec_embed_dim

    @property
    def hooks(self) -> tuple[int, ...]:
        """Entries of the layer list that the DPT head reads."""
        if self.dpt_hooks is not None:
            return tuple(self.dpt_hooks)
        return 0, self.dec_depth * 2 // 4, self.dec_depth * 3 // 4, self.dec_depth

    @classmethod
    def from_official_arguments(cls, arguments: Mapping[str, Any]) -> "Dust3rConfig":
        """The configuration that the constructor arguments of the official program describe.

        ``arguments`` may be written with lists or tuples, and with infinities as floats or as the words ``inf`` and
        ``-inf``. Raises ``InputError`` for modes that do not exist here; unknown names are logged and ignored.
        """
        rest = dict(arguments)
        known: dict[str, Any] = {}
        if (embedding := rest.pop("pos_embed", None)) is not None:
            known["rope_freq"] = _rope_frequency(embedding)
        if (size := rest.pop("img_size", None)) is not None:
            known["image_size"] = (size, size) if isinstance(size, int) else tuple(int(side) for side in size)
        if (output := rest.pop("output_mode", "pts3d")) != "pts3d":
            raise InputError(f"output_mode {output!r}: expected 'pts3d'")
        known["depth_mode"], low, high = _mode_and_bounds(rest, "depth_mode", ("exp", -math.inf, math.inf))
        if (low, high) != (-math.inf, math.inf):
            raise InputError(f"depth_mode with bounds {low} and {high}: expected -inf and inf")
        known["conf_mode"], known["conf_min"], high = _mode_and_bounds(rest, "conf_mode", ("exp", 1, math.inf))
        known["conf_max"] = None if math.isinf(high) else high
        for name in list(rest):
            if name in cls.__dataclass_fields__:
                known[name] = rest.pop(name)
        unknown = sorted(set(rest) - _IGNORED_ARGUMENTS)
        if unknown:
            logger.warning("ignoring unknown model arguments: %s", ", ".join(unknown))
        try:
            return cls(**known)
        except StrictDataclassError as error:
            raise InputError(f"model arguments of wrong types ({' '.join(str(error).split())})") from error


def _mode_and_bounds(arguments: dict[str, Any], name: str, default: Sequence[Any]) -> tuple[str, float, float]:
    value = arguments.pop(name, default)
    try:
        mode, low, high = value
        return str(mode), float(low), float(high)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} {value!r}: expected a mode and two bounds, e.g. ('exp', 1, inf)") from error


def _rope_frequency(name: str) -> float:
    match = re.fullmatch(r"RoPE(\d+(?:\.\d+)?)", str(name))
    if match is None:
        raise InputError(f"pos_embed {name!r}: expected RoPE followed by its base frequency, e.g. 'RoPE100'")
    return float(match[1])
