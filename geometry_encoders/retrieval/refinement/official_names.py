"""Parameter names of RetrievalFuse's published program, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_RULES: tuple[tuple[str, str], ...] = (
    (r"^unet_backbone\.network\.(?:0\.)?(encoders|decoders)\.(\d+)\.basic_module\.", r"input_unet.\1.\2."),
    (r"^unet_backbone\.network\.1\.basic_module\.", r"input_unet.enlarge.0.convs."),
    (r"^unet_backbone\.network\.2\.basic_module\.", r"input_unet.enlarge.1.convs."),
    (r"^retrieval_backbone\.network\.(encoders|decoders)\.(\d+)\.basic_module\.", r"retrieval_unet.\1.\2."),
    (r"^decoder\.network\.0\.basic_module\.", r"decoder.enlarge.convs."),
    (r"^decoder\.network\.1\.", r"decoder.to_distance."),
    (r"^patched_attention_block\.attention_blocks_layer\.", r"attention.patch."),
    (r"\.SingleConv1\.", r".first."),
    (r"\.SingleConv2\.", r".second."),
    (r"\.groupnorm\.", r".norm."),
    (r"^(attention\.patch\.|)theta\.encoder\.", r"\1input_encoder."),
    (r"^(attention\.patch\.|)phi\.encoder\.", r"\1candidate_encoder."),
    (r"^(attention\.patch\.|)g\.", r"\1value_mapping."),
    (r"^(attention\.patch\.|)o\.", r"\1output_mapping."),
    (r"^(attention\.patch\.|)sig_", r"\1beta_"),
)


def own_name(official: str) -> str:
    """What the parameter of that official name is called here; names that are not known come back as they are."""
    name = official
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under our names."""
    return {own_name(name): value for name, value in state.items()}
