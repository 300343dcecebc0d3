"""Volumetric feature extractors: a 3D U-Net that ends at a chosen resolution, and the distance decoder.

Source: 3D U-Net (Cicek et al., MICCAI 2016) with GroupNorm before each convolution, as in RetrievalFuse (ICCV 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, cat, nn
from torch.nn import functional as F

Features = Float[Tensor, "batch channels depth height width"]


class NormConv(nn.Module):
    """GroupNorm, 3^3 convolution without bias, ReLU; size stays."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups if in_channels >= groups else 1, in_channels)
        self.conv = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, features: Features) -> Features:
        return F.relu(self.conv(self.norm(features)))


class ConvPair(nn.Module):
    """Two `NormConv` one after the other."""

    def __init__(self, in_channels: int, between: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.first = NormConv(in_channels, between, groups)
        self.second = NormConv(between, out_channels, groups)

    def forward(self, features: Features) -> Features:
        return self.second(self.first(features))


class UpBlock(nn.Module):
    """Nearest-neighbour enlargement by two, then a `ConvPair`."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.convs = ConvPair(in_channels, out_channels, out_channels, groups)

    def forward(self, features: Features) -> Features:
        return self.convs(F.interpolate(features, scale_factor=2, mode="nearest"))


class FeatureUNet(nn.Module):
    """Features of ``out_size``^3 cells from volumes of ``in_size``^3 voxels.

    A coarse input is decoded to its own size and then enlarged step by step; of a fine one the last levels of the
    decoder are left out, and its last kept level steps down to ``out_channels``.

    Args:
        in_size: voxels per axis of the input (one channel).
        out_size: cells per axis of the output; the two differ by a power of two.
        width: channels of the first level, doubled at every further one.
        levels: levels of the encoder.
        out_channels: channels of the output.
        groups: groups of every GroupNorm whose input has at least so many channels.

    Raises:
        ValueError: sizes that do not halve ``levels - 1`` times, or more levels left out than there are.
    """

    def __init__(self, in_size: int, out_size: int, width: int, levels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        if in_size % 2 ** (levels - 1):
            raise ValueError(f"{levels} levels need an input size that is a multiple of {2 ** (levels - 1)}")
        steps = round(math.log2(out_size / in_size))
        left_out = max(-steps, 0)
        if in_size * 2.0**steps != out_size or (left_out and left_out > levels - 2):
            raise ValueError(f"{levels} levels cannot lead from {in_size}^3 voxels to {out_size}^3 features")
        widths = [width * 2**level for level in range(levels)]
        self.encoders = nn.ModuleList(
            ConvPair(before, max(after // 2, before), after, groups) for before, after in pairwise([1, *widths])
        )
        self.decoders = nn.ModuleList(self._decoders(widths, left_out, steps, out_channels, groups))
        inner = 2 * out_channels
        self.enlarge = nn.ModuleList(
            UpBlock(inner, out_channels if step == steps - 1 else inner, groups) for step in range(steps)
        )

    @staticmethod
    def _decoders(widths: Sequence[int], left_out: int, steps: int, out_channels: int, groups: int) -> list[ConvPair]:
        pairs = []
        for level in range(len(widths) - 2, left_out - 1, -1):
            above = widths[level + 1] + widths[level]
            if level > left_out:
                pairs.append(ConvPair(above, widths[level], widths[level], groups))
            elif left_out:
                pairs.append(ConvPair(above, (above + out_channels) // 2, out_channels, groups))
            else:
                last = 2 * out_channels if steps else out_channels
                pairs.append(ConvPair(above, last, last, groups))
        return pairs

    def forward(self, volumes: Float[Tensor, "batch 1 in in in"]) -> Float[Tensor, "batch channels out out out"]:
        skips: list[Features] = []
        features = volumes
        for level, encoder in enumerate(self.encoders):
            features = encoder(F.max_pool3d(features, 2) if level else features)
            skips.append(features)
        skips.pop()
        for decoder in self.decoders:
            skip = skips.pop()
            features = decoder(cat((skip, F.interpolate(features, size=skip.shape[2:], mode="nearest")), dim=1))
        for block in self.enlarge:
            features = block(features)
        return features


class DistanceDecoder(nn.Module):
    """Distances in network space, -1 (on the surface) to 1 (truncated), at twice the resolution of the features."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.enlarge = UpBlock(channels, channels, groups)
        self.to_distance = nn.Conv3d(channels, 1, 1)

    def forward(self, features: Features) -> Float[Tensor, "batch 1 twice twice twice"]:
        return self.to_distance(self.enlarge(features)).tanh()
