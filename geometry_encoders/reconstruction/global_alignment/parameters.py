"""What the alignment optimises, and how it is encoded so that one step size suits everything.

Names and codes are those of DUSt3R's optimiser (arXiv:2312.14132, section 3.4): logarithms for depths, scales and
focal lengths, unit quaternions for rotations, sign(t) log(1 + |t|) for translations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from geometry_encoders.reconstruction.registration import Similarity

PAIRWISE_BREAK = 20.0  # adaptors are divided by this before exp
PRINCIPAL_POINT_BREAK = 10.0


class Cameras(NamedTuple):
    """Pinhole cameras of all views; rotations and centres are camera-to-world."""

    rotations: Float[Tensor, "views 3 3"]
    centres: Float[Tensor, "views 3"]
    focals: Float[Tensor, "views 2"]
    principal_points: Float[Tensor, "views 2"]


class PairTransforms(NamedTuple):
    """x -> matrix @ x + offset brings points of a pair's first camera into the world."""

    matrices: Float[Tensor, "edges 3 3"]
    offsets: Float[Tensor, "edges 3"]


class AlignmentParameters(nn.Module):
    """Free numbers of a scene: one rigid camera, focal length and depth map per view, one similarity per pair."""

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        edges: int,
        focal_break: float,
        base_scale: float | None,
        compat: bool = False,
    ) -> None:
        """All zero until the setters are called; without ``base_scale`` the scales of pairs are not normalised."""
        super().__init__()
        views = len(sizes)
        self.focal_break, self.base_scale, self.compat = focal_break, base_scale, compat
        self.pw_poses = nn.Parameter(torch.zeros(edges, 8))
        self.pw_adaptors = nn.Parameter(torch.zeros(edges, 2))
        self.im_depthmaps = nn.ParameterList(torch.zeros(height * width) for height, width in sizes)
        self.im_poses = nn.Parameter(torch.zeros(views, 7))
        self.im_focals = nn.Parameter(torch.zeros(views, 1))
        self.im_pp = nn.Parameter(torch.zeros(views, 2))
        self.aspects: Tensor
        self.middles: Tensor
        self.register_buffer("aspects", torch.ones(views, 1))
        self.register_buffer("middles", torch.tensor([[width / 2, height / 2] for height, width in sizes]))

    @torch.no_grad()
    def set_cameras(
        self,
        camera_to_world: Float[ndarray, "views 4 4"],
        focals: Float[ndarray, " views"],
        principal_points: Float[ndarray, "views 2"],
        aspects: Float[ndarray, " views"],
    ) -> None:
        """Encodes cameras; ``aspects`` are vertical over horizontal focal lengths."""
        self.im_poses[:] = torch.from_numpy(np.stack([encode_pose(pose) for pose in camera_to_world]))
        self.im_focals[:, 0] = self.focal_break * torch.from_numpy(np.log(focals))
        self.im_pp[:] = (torch.from_numpy(principal_points) - self.middles.cpu()) / PRINCIPAL_POINT_BREAK
        self.aspects[:, 0] = torch.from_numpy(aspects)

    @torch.no_grad()
    def set_pairs(self, camera_to_world: Sequence[Similarity]) -> None:
        """Encodes, for every pair, the similarity from its first camera into the world."""
        self.pw_poses[:] = torch.from_numpy(np.stack([encode_similarity(similarity) for similarity in camera_to_world]))

    @torch.no_grad()
    def set_depth(self, view: int, log_depth: Float[ndarray, " pixels"]) -> None:
        """Stores the logarithm of a depth map."""
        self.im_depthmaps[view][:] = torch.from_numpy(log_depth)

    def cameras(self) -> Cameras:
        """The cameras as they stand."""
        focals = (self.im_focals / self.focal_break).exp()
        return Cameras(
            rotations=rotation_from_quaternion(self.im_poses[:, :4]),
            centres=decode_translation(self.im_poses[:, 4:], self.compat),
            focals=torch.cat([focals, focals * self.aspects], dim=1),
            principal_points=self.middles + PRINCIPAL_POINT_BREAK * self.im_pp,
        )

    def norm_factor(self) -> Tensor:
        """What brings the geometric mean of the pairs' scales to ``base_scale``; 1 where the poses fix the scale."""
        if self.base_scale is None:
            return self.pw_poses.new_ones(())
        return (math.log(self.base_scale) - self.pw_poses[:, 7].mean()).exp()

    def pair_transforms(self) -> PairTransforms:
        """The pairs' transforms as they stand: scale * (rotation @ (stretch * x) + translation)."""
        scales = self.pw_poses[:, 7].exp() * self.norm_factor()
        rotations = rotation_from_quaternion(self.pw_poses[:, :4])
        offsets = scales[:, None] * decode_translation(self.pw_poses[:, 4:7], self.compat)
        stretch = torch.cat([self.pw_adaptors[:, :1], self.pw_adaptors], dim=1)  # across, across, along
        stretch = ((stretch - stretch.mean(dim=1, keepdim=True)) / PAIRWISE_BREAK).exp()
        return PairTransforms(scales[:, None, None] * rotations * stretch[:, None], offsets)


def encode_pose(camera_to_world: Float[ndarray, "4 4"]) -> Float[ndarray, "7"]:
    """Quaternion (x, y, z, w) and translation code."""
    quaternion = Rotation.from_matrix(camera_to_world[:3, :3]).as_quat()
    return np.concatenate([quaternion, encode_translation(camera_to_world[:3, 3])])


def encode_similarity(similarity: Similarity) -> Float[ndarray, "8"]:
    """Quaternion (x, y, z, w), code of translation / scale, and log scale."""
    quaternion = Rotation.from_matrix(similarity.rotation).as_quat()
    code = encode_translation(similarity.translation / similarity.scale)
    return np.concatenate([quaternion, code, [math.log(similarity.scale)]])


def encode_translation(translation: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    """sign(t) log(1 + |t|)."""
    return np.sign(translation) * np.log1p(np.abs(translation))


def decode_translation(code: Float[Tensor, "... 3"], compat: bool = False) -> Float[Tensor, "... 3"]:
    """The inverse of `encode_translation`; with ``compat`` its derivative at exactly 0 is 0 instead of 1."""
    if compat:
        return code.sign() * code.abs().expm1()
    return torch.where(code < 0, -torch.expm1(-code), torch.expm1(code))


def rotation_from_quaternion(quaternion: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices of quaternions (x, y, z, w) of any length."""
    x, y, z, w = nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
