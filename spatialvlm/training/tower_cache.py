"""What frozen towers say about a set of views, computed once and kept while a run comes back to it every epoch.

Towers are most of a small model's step. Fusion, projector and language model still learn: only what is in front of
them is kept, in the precision it was computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from geometry_encoders.errors import InputError
from spatialvlm.models.view_encoding import ViewFeatures, is_frozen

ViewKey = tuple[str, ...]  # the pictures of a sample in their order: geometry depends on all of them


@dataclass(frozen=True)
class TowerFeatures:
    """Tokens of the views of one sample in front of the fusion block; no geometry where the model has none."""

    visual: Float[Tensor, "views tokens visual_size"]
    geometry: Float[Tensor, "views tokens geometry_size"] | None

    @property
    def num_bytes(self) -> int:
        """Memory that the tokens take."""
        return self.visual.nbytes + (0 if self.geometry is None else self.geometry.nbytes)


class TowerCache:
    """Features by the pictures they belong to, up to a number of gigabytes; what does not fit is computed again.

    Args:
        body: `SpatialMosaicModel` whose towers are frozen.
        room_gb: memory for the features, 1e9 bytes each.

    Raises:
        InputError: when a tower learns, for its features would go stale.
    """

    def __init__(self, body: Any, room_gb: float) -> None:
        for name in ("vision_tower", "geometry_tower"):
            tower = getattr(body, name)
            if tower is not None and not is_frozen(tower):
                raise InputError(f"data.tower_cache_gb is {room_gb} but {name} learns, expected it in model.frozen")
        self.body = body
        self._room_bytes = int(room_gb * 1e9)
        self._kept: dict[ViewKey, TowerFeatures] = {}

    def view_features(
        self,
        keys: Sequence[ViewKey],
        pixel_values: Float[Tensor, "total_views 3 height width"],
        num_views: Int[Tensor, " samples"],
    ) -> ViewFeatures:
        """The same as ``body.get_image_features``, with gradients for all that learns."""
        pictures = pixel_values.split(num_views.tolist())
        samples = [self._features(key, views) for key, views in zip(keys, pictures, strict=True)]
        visual = torch.cat([sample.visual for sample in samples])
        geometry = [sample.geometry for sample in samples if sample.geometry is not None]
        tokens = self.body.language_tokens(visual, torch.cat(geometry) if geometry else None)
        return ViewFeatures(last_hidden_state=visual, pooler_output=list(tokens.unbind(0)))

    def _features(self, key: ViewKey, pixel_values: Float[Tensor, "views 3 height width"]) -> TowerFeatures:
        if key in self._kept:
            return self._kept[key]
        with torch.no_grad():
            geometry = None
            if self.body.fusion is not None:
                mask = torch.ones(1, len(pixel_values), dtype=torch.bool, device=pixel_values.device)
                geometry = self.body.geometry_tokens(pixel_values[None], mask)[0]
            features = TowerFeatures(self.body.vision_tokens(pixel_values), geometry)
        if features.num_bytes <= self._room_bytes:
            self._room_bytes -= features.num_bytes
            self._kept[key] = features
        return features
