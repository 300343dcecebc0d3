"""The implicit variant: occupancy of any point from features of the input and of retrieved chunks around it.

Source: RetrievalFuse (ICCV 2021), implicit figure of its project page (no program was published), on top of IF-Net
(Chibane et al., CVPR 2020), whose decoder reads features at a point and at six displaced ones.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.patches import fold, unfold
from geometry_encoders.retrieval.scale import CHUNK, PRESETS, WINDOW, GridScale

CHUNKS_PER_AXIS = WINDOW // CHUNK
EMBEDDING = 32
SHARPNESS = 1024.0

Grid = Float[Tensor, "batch channels side side side"]
QueryPoints = Float[Tensor, "batch points 3"]


@strict
class ImplicitFusionConfig(PreTrainedConfig):
    """Sizes of the implicit network.

    Attributes:
        channels: of the three stages of both encoders.
        hidden: width of the decoder.
        displacement: how far, in windows, the six further points lie at which features are read.
        scale: fields of `GridScale`; its input is an 8^3 distance field.
    """

    model_type = "retrieval_fuse_implicit"

    channels: list[int] | tuple[int, ...] = (16, 32, 32)
    hidden: int = 128
    displacement: float = 0.035
    scale: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if len(self.channels) != 3 or min(self.channels) < 1:
            raise InputError(f"channels {tuple(self.channels)}: expected three numbers of at least 1")
        if self.scale is None:
            self.scale = asdict(PRESETS["3dfront"])
        if self.grid_scale.input_kind != "distance":
            raise InputError("scale: input_kind 'points', expected 'distance' for the implicit variant")

    @property
    def grid_scale(self) -> GridScale:
        """The grids that the network was trained for."""
        return GridScale(**(self.scale or {}))


def _stage(before: int, after: int, paddings: tuple[int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, 3, padding=paddings[0]),
        nn.ReLU(),
        nn.Conv3d(after, after, 3, padding=paddings[1]),
        nn.ReLU(),
    )


class ImplicitFusionModel(PreTrainedModel):
    """Occupancy of points in a window from its low-resolution input and the composed candidates.

    Example: ``model(inputs, retrieved, points)`` gives one logit per point; above zero means occupied.
    """

    config: ImplicitFusionConfig
    config_class = ImplicitFusionConfig
    base_model_prefix = "retrieval_fuse_implicit"
    main_input_name = "inputs"

    def __init__(self, config: ImplicitFusionConfig) -> None:
        super().__init__(config)
        self.scale = config.grid_scale
        first, second, third = config.channels
        same, shrink = (1, 1), (1, 0)
        self.input_stages = nn.ModuleList(
            (_stage(1, first, same), _stage(first, second, same), _stage(second, third, same))
        )
        # 16^3 chunks become 14^3, 12^3 and 8^3, so that no feature looks beyond its chunk
        self.chunk_stages = nn.ModuleList(
            (_stage(1, first, shrink), _stage(first, second, shrink), _stage(second, third, (0, 0)))
        )
        cells = 2 * CHUNKS_PER_AXIS * CHUNK // 4 // self.scale.input_side
        self.cells = cells
        self.input_encoder = nn.Linear(third, EMBEDDING)
        self.candidate_encoder = nn.Linear(third * cells**3, EMBEDDING)
        read = 7 * (1 + sum(config.channels))
        self.decoder = nn.Sequential(
            nn.Linear(read, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, 1),
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Layers keep torch's own start."""

    def forward(
        self,
        inputs: Float[Tensor, "batch 1 side side side"],
        retrieved: Float[Tensor, "batch k 64 64 64"] | None,
        points: QueryPoints,
    ) -> Float[Tensor, "batch points"]:
        """One logit per point.

        Args:
            inputs: normalised by ``scale.normalise_input``.
            retrieved: normalised by ``scale.normalise_target``; none leaves the input alone.
            points: (z, y, x) in target voxels of the window; node i lies at coordinate i.
        """
        asked = self._displaced(points)
        own = self.encode_inputs(inputs)
        features = torch.cat([sample(level, asked) for level in own], dim=1)
        if retrieved is not None and retrieved.shape[1]:
            known = self.encode_candidates(retrieved)
            beta, weights = self.attend(own[-1], known[-1], len(inputs))
            chosen = torch.cat([self._mix(level, weights, asked) for level in known], dim=1)
            share = sample(beta, asked)
            features = (1 - share) * features + share * chosen
        count = points.shape[1]
        per_point = features.unflatten(2, (count, 7)).permute(0, 2, 1, 3).flatten(2)
        return self.decoder(per_point)[..., 0]

    def encode_inputs(self, inputs: Grid) -> list[Grid]:
        """The input and the features of its three stages, all of the input's size."""
        levels = [inputs]
        for stage in self.input_stages:
            levels.append(stage(levels[-1]))
        return levels

    def encode_candidates(self, retrieved: Float[Tensor, "batch k 64 64 64"]) -> list[Grid]:
        """The candidates and the features of their three stages (64, 56, 48 and 32 cells), windows slowest."""
        windows = retrieved.flatten(0, 1)[:, None]
        levels, chunks = [windows], unfold(windows, CHUNK)
        for stage in self.chunk_stages:
            chunks = stage(chunks)
            levels.append(fold(chunks, CHUNKS_PER_AXIS))
        return levels

    def attend(self, own: Grid, known: Grid, batch: int) -> tuple[Grid, Grid]:
        """How much candidates count (batch, 1, ...), and the weight of each (batch, k, ...), per cell of the input."""
        side = own.shape[-1]
        asked = F.normalize(self.input_encoder(unfold(own, 1).flatten(1)), dim=-1)
        answers = F.normalize(self.candidate_encoder(unfold(known, self.cells).flatten(1)), dim=-1)
        k = known.shape[0] // batch
        answers = answers.reshape(batch, k, side**3, EMBEDDING)
        scores = torch.einsum("bpc,bkpc->bkp", asked.reshape(batch, side**3, EMBEDDING), answers)
        scores = scores.reshape(batch, k, side, side, side)
        return scores.amax(dim=1, keepdim=True).relu(), (SHARPNESS * scores).softmax(dim=1)

    def _mix(self, level: Grid, weights: Grid, asked: QueryPoints) -> Float[Tensor, "batch channels points"]:
        batch, k = weights.shape[:2]
        values = sample(level, asked.repeat_interleave(k, dim=0)).unflatten(0, (batch, k))
        return torch.einsum("bkp,bkcp->bcp", sample(weights, asked), values)

    def _displaced(self, points: QueryPoints) -> QueryPoints:
        """Each point and six around it, in windows: (batch, 7 * points, 3)."""
        steps = torch.cat((torch.zeros(1, 3), torch.eye(3), -torch.eye(3))).to(points) * self.config.displacement
        return (points[:, :, None] / WINDOW + steps).flatten(1, 2)

    @torch.no_grad()
    def occupancy(
        self, inputs: Tensor, retrieved: Tensor | None, batch_points: int = 2**15
    ) -> Float[Tensor, "batch 64 64 64"]:
        """Probability of every node of the window; its surface is where it falls below one half."""
        axis = torch.arange(WINDOW, dtype=torch.float32, device=inputs.device)
        nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
        parts = [
            self(inputs, retrieved, part.expand(len(inputs), -1, -1)).sigmoid() for part in nodes.split(batch_points, 1)
        ]
        return torch.cat(parts, dim=1).reshape(-1, WINDOW, WINDOW, WINDOW)


def sample(grid: Grid, points: QueryPoints) -> Float[Tensor, "batch channels points"]:
    """Trilinear values at points in windows (0 to 1, (z, y, x)); cell i of n lies at (i + 0.5) / n.

    Beyond the outermost cells the value stays that of the border.
    """
    places = (2 * points.flip(-1) - 1)[:, :, None, None]
    return F.grid_sample(grid, places, mode="bilinear", padding_mode="border", align_corners=False)[..., 0, 0]


def occupied_at(
    distance: Float[Tensor, "batch 64 64 64"], points: QueryPoints, scale: GridScale
) -> Bool[Tensor, "batch points"]:
    """Whether the node at or before each point is occupied: the label that the network learns."""
    z, y, x = points.floor().clamp(0, WINDOW - 1).long().unbind(-1)
    rows = torch.arange(len(distance), device=distance.device)[:, None]
    return distance[rows, z, y, x] <= scale.occupied


def implicit_loss(
    model: ImplicitFusionModel,
    inputs: Tensor,
    retrieved: Tensor | None,
    distance: Float[Tensor, "batch 64 64 64"],
    generator: torch.Generator,
    points: int = 2048,
    near_share: float = 0.5,
) -> Float[Tensor, ""]:
    """Cross-entropy of the occupancy at random points of each window.

    Args:
        distance: true distances in the unit of the scale.
        generator: of the points.
        points: per window.
        near_share: share of them at occupied nodes, moved by a voxel; the others are uniform.
    """
    asked = torch.rand(len(distance), points, 3, generator=generator) * WINDOW
    near = int(points * near_share)
    for row, field in enumerate(distance.cpu()):
        nodes = torch.nonzero(field <= model.scale.occupied)
        if len(nodes):
            chosen = nodes[torch.randint(len(nodes), (near,), generator=generator)]
            moved = chosen + torch.randn(near, 3, generator=generator)
            asked[row, :near] = moved.clamp(0, WINDOW - 1e-3)
    asked = asked.to(distance)
    wanted = occupied_at(distance, asked, model.scale).float()
    return F.binary_cross_entropy_with_logits(model(inputs, retrieved, asked), wanted)
