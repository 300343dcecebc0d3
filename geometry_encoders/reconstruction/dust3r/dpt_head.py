"""The dense prediction head (DPT, arXiv:2103.13413): four decoder layers fused from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r.blocks import hold_as_buffers
from geometry_encoders.reconstruction.dust3r.linear_head import RAW_CHANNELS

FeatureMap = Float[Tensor, "batch channels rows columns"]


def upsample2(features: FeatureMap) -> FeatureMap:
    """Twice the size, bilinear with aligned corners."""
    return nn.functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, features: FeatureMap) -> FeatureMap:
        return features + self.conv2(self.conv1(features.relu()).relu())


class FeatureFusionBlock(nn.Module):
    """Adds the next finer stage to what came from the coarser ones and doubles the size."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualConvUnit(dim)
        self.resConfUnit2 = ResidualConvUnit(dim)
        self.out_conv = nn.Conv2d(dim, dim, 1)

    def forward(self, features: FeatureMap, skip: FeatureMap | None = None) -> FeatureMap:
        if skip is not None:
            features = features + self.resConfUnit1(skip)
        return self.out_conv(upsample2(self.resConfUnit2(features)))


class Upsample2(nn.Module):
    """`upsample2` as a module, to keep the published numbering of the output layers."""

    def forward(self, features: FeatureMap) -> FeatureMap:
        return upsample2(features)


class Scratch(nn.Module):
    """The layers trained from scratch: projections of the four stages to one width, and their fusion."""

    def __init__(self, layer_dims: Sequence[int], dim: int) -> None:
        super().__init__()
        one, two, three, four = layer_dims
        self.layer1_rn = nn.Conv2d(one, dim, 3, padding=1, bias=False)
        self.layer2_rn = nn.Conv2d(two, dim, 3, padding=1, bias=False)
        self.layer3_rn = nn.Conv2d(three, dim, 3, padding=1, bias=False)
        self.layer4_rn = nn.Conv2d(four, dim, 3, padding=1, bias=False)
        self.refinenet1 = FeatureFusionBlock(dim)
        self.refinenet2 = FeatureFusionBlock(dim)
        self.refinenet3 = FeatureFusionBlock(dim)
        self.refinenet4 = FeatureFusionBlock(dim)
        hold_as_buffers(self.refinenet4.resConfUnit1)  # published, but the coarsest stage has no skip connection
        self.register_load_state_dict_pre_hook(_accept_aliases)

    def forward(self, stages: Sequence[FeatureMap]) -> FeatureMap:
        one, two, three, four = stages
        path, skip = self.refinenet4(self.layer4_rn(four)), self.layer3_rn(three)
        path = path[..., : skip.shape[-2], : skip.shape[-1]]  # on odd grids stage 4 was rounded up
        path = self.refinenet3(path, skip)
        path = self.refinenet2(path, self.layer2_rn(two))
        return self.refinenet1(path, self.layer1_rn(one))


def _accept_aliases(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
    """Renames ``layer_rn.N`` to ``layerN+1_rn``: published files hold either name or both for the same tensor."""
    for stage in range(4):
        alias = state_dict.pop(f"{prefix}layer_rn.{stage}.weight", None)
        if alias is not None:
            state_dict.setdefault(f"{prefix}layer{stage + 1}_rn.weight", alias)


class DPT(nn.Module):
    """Raw channels of every pixel from four entries of the layer list (entry 0 is the encoder)."""

    def __init__(
        self,
        hooks: Sequence[int],
        enc_dim: int,
        dec_dim: int,
        layer_dims: Sequence[int] = (96, 192, 384, 768),
        feature_dim: int = 256,
        last_dim: int = 128,
    ) -> None:
        super().__init__()
        if len(hooks) != 4 or len(layer_dims) != 4:
            raise InputError(f"DPT head with hooks {list(hooks)} and widths {list(layer_dims)}: expected four of each")
        self.hooks = tuple(hooks)
        one, two, three, four = layer_dims
        dims = [enc_dim if hook == 0 else dec_dim for hook in hooks]
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(dims[0], one, 1), nn.ConvTranspose2d(one, one, 4, stride=4)),
                nn.Sequential(nn.Conv2d(dims[1], two, 1), nn.ConvTranspose2d(two, two, 2, stride=2)),
                nn.Sequential(nn.Conv2d(dims[2], three, 1)),
                nn.Sequential(nn.Conv2d(dims[3], four, 1), nn.Conv2d(four, four, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = Scratch(layer_dims, feature_dim)
        self.head = nn.Sequential(
            nn.Conv2d(feature_dim, last_dim, 3, padding=1),
            Upsample2(),
            nn.Conv2d(last_dim, last_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_dim, RAW_CHANNELS, 1),
        )

    @property
    def raw_bias(self) -> Float[Tensor, " 4"]:
        """Bias of the raw channels, e.g. to start at a typical depth."""
        return self.get_parameter("head.4.bias")

    def forward(
        self, layers: Sequence[Float[Tensor, "batch tokens channels"]], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        maps = [layers[hook].transpose(1, 2).unflatten(-1, grid) for hook in self.hooks]
        stages = [stage(tokens) for stage, tokens in zip(self.act_postprocess, maps, strict=True)]
        return self.head(self.scratch(stages))


class DPTHead(nn.Module):
    """`DPT` under the name ``dpt``, as published state dicts have it."""

    def __init__(self, dpt: DPT) -> None:
        super().__init__()
        self.dpt = dpt

    def forward(
        self, layers: Sequence[Float[Tensor, "batch tokens channels"]], grid: tuple[int, int]
    ) -> Float[Tensor, "batch 4 height width"]:
        return self.dpt(layers, grid)
