"""`SpatialMosaicConfig`: a vision tower, a geometry tower, how they are fused, and a language model."""

# no `from __future__ import annotations` here: strict checks the types at run time and cannot read strings
import math
from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

import geometry_encoders.reconstruction  # noqa: F401  registers the default geometry tower with the Auto classes

if TYPE_CHECKING:
    SubConfig = Any  # a configuration once __post_init__ has run
else:
    SubConfig = dict | PreTrainedConfig | None


@strict
class SpatialMosaicConfig(PreTrainedConfig):
    """Configuration of `SpatialMosaicForConditionalGeneration`.

    Attributes:
        text_config: any causal language model that `AutoModel` knows; Qwen2 by default.
        vision_config: any vision transformer that `AutoModel` knows; SigLIP by default.
        geometry_config: a model that implements `geometry_encoders.interface.GeometryEncoder`; Spann3R by default,
            ``{"model_type": "dust3r"}`` or any other by its own configuration, None with fusion ``none``.
        fusion: how geometry enters the visual tokens; ``none`` is the geometry-free twin, without a geometry tower.
        fusion_num_heads: heads of the cross-attention block; None gives heads of 64 channels.
        fusion_dropout: dropout on the output of the fusion block.
        geometry_image_size: side of the square picture that the geometry tower sees, pixels, a multiple of its patch;
            None leaves the picture of the vision tower as it is.
        vision_feature_layer: None takes the vision tower's last hidden state after its final norm; an index takes
            ``hidden_states[index]`` before it (SpatialMosaic: -2, the last layer is not used).
        visual_token_layout: ``plain`` gives one language token per patch; ``pooled_newline`` halves the grid bilinearly
            and ends each row with a learned newline vector (SpatialMosaic's training layout, specs 6.5).
        projector_hidden_act: activation of the two-layer projector.
        image_mean, image_std: normalisation of ``pixel_values``; the geometry tower needs -1..1 and gets it from these.
        image_token_id: placeholder that visual tokens replace.
    """

    model_type = "spatialmosaic"
    sub_configs_defaults = {  # noqa: RUF012
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
        "vision_config": SubConfigSpec(
            config_class=AutoConfig, model_type="siglip_vision_model", init_kwargs={"vision_use_head": False}
        ),
        "geometry_config": SubConfigSpec(config_class=AutoConfig, model_type="spann3r", optional=True),
    }

    text_config: SubConfig = None
    vision_config: SubConfig = None
    geometry_config: SubConfig = None
    fusion: Literal["cross_attention", "add", "concat_mlp", "gated", "none"] = "cross_attention"
    fusion_num_heads: int | None = None
    fusion_dropout: float = 0.1
    geometry_image_size: int | None = None
    vision_feature_layer: int | None = None
    visual_token_layout: Literal["plain", "pooled_newline"] = "plain"
    projector_hidden_act: str = "gelu"
    image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    image_token_id: int = 2
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.fusion != "none" and self.geometry_config is None:
            self.geometry_config = {}  # the default geometry tower
        super().__post_init__(**kwargs)
        # tying is read from the top configuration, but language models state it in their own
        self.tie_word_embeddings = self.tie_word_embeddings or bool(self.text_config.tie_word_embeddings)
        if self.fusion == "none" and self.geometry_config is not None:
            raise ValueError(
                "fusion is 'none' but geometry_config is set, expected no geometry tower with fusion 'none'"
            )

    @property
    def visual_grid(self) -> tuple[int, int]:
        """(rows, columns) of the vision tower's patch tokens."""
        return tuple(  # type: ignore[return-value]
            side // patch
            for side, patch in zip(
                _pair(self.vision_config.image_size), _pair(self.vision_config.patch_size), strict=True
            )
        )

    @property
    def tokens_per_image(self) -> int:
        """Language tokens that one view takes, newline vectors included."""
        rows, columns = self.visual_grid
        if self.visual_token_layout == "pooled_newline":
            return math.ceil(rows / 2) * (math.ceil(columns / 2) + 1)
        return rows * columns


def _pair(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
