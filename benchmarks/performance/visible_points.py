"""Visible surface points as annotation finds them, against closed-form truth on noise-free scenes.

    python -m benchmarks.performance.visible_points --scenes 20 --size 640x480

Scenes are spheres and boxes on a floor, seen by cameras at random places. Whether a point of their surface is visible
follows from the intersection formulas of a ray with a sphere and with a box, in float64. Prints recall and precision of
``visible_points`` over the points inside the frames, for two truths: *strict*, nothing at all lies before the
point; and *as defined* (specs 4.3), nothing lies before it by more than max(5 cm, 2 % of its depth).
To come near the strict truth, use the tolerance of clean surfaces: ``--tolerance-m 0.01 --tolerance-ratio 0.003``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import trimesh
import typer
from jaxtyping import Bool, Float64

from qa_generation.raycast import NEAR_M
from qa_generation.scene import Mesh, Scene
from qa_generation.scene_surface import SceneSurface
from qa_generation.sight import Sight
from qa_generation.visibility import VisibilityConfig
from qa_generation.visible_points import visible_points

POINTS_PER_M2 = 2500.0  # one per 2 cm voxel face, as annotation samples
TOLERANCES = (VisibilityConfig().depth_tolerance_m, VisibilityConfig().depth_tolerance_ratio)


@dataclass(frozen=True, eq=False)
class Sphere:
    """A ball, metres."""

    center: Float64[np.ndarray, "3"]
    radius_m: float

    def sample(self, rng: np.random.Generator) -> Float64[np.ndarray, "points 3"]:
        """Points spread evenly over the surface."""
        directions = rng.normal(size=(round(POINTS_PER_M2 * 4.0 * math.pi * self.radius_m**2), 3))
        return self.center + self.radius_m * directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def enters(
        self, origin: Float64[np.ndarray, "3"], ways: Float64[np.ndarray, "rays 3"]
    ) -> Float64[np.ndarray, " rays"]:
        """Ray parameter where each ray first meets the ball from outside, infinity where it misses."""
        away = origin - self.center
        a, b = np.einsum("ni,ni->n", ways, ways), ways @ away
        root = b * b - a * (away @ away - self.radius_m**2)
        with np.errstate(invalid="ignore"):
            first = (-b - np.sqrt(root)) / a
        return np.where((root > 0) & (first > 0), first, np.inf)

    def triangles(self) -> Float64[np.ndarray, "triangles 3 3"]:
        """A fine mesh of it: its planes lie less than 0.1 mm inside for a ball of half a metre."""
        return np.asarray(trimesh.creation.icosphere(subdivisions=6, radius=self.radius_m).triangles) + self.center


@dataclass(frozen=True, eq=False)
class Box:
    """An axis-aligned box, metres."""

    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]

    def sample(self, rng: np.random.Generator) -> Float64[np.ndarray, "points 3"]:
        """Points spread evenly over the six faces."""
        sides = self.high - self.low
        parts = []
        for axis in range(3):
            others = [k for k in range(3) if k != axis]
            number = round(POINTS_PER_M2 * float(sides[others].prod()))
            for face in (self.low[axis], self.high[axis]):
                points = self.low + rng.random((number, 3)) * sides
                points[:, axis] = face
                parts.append(points)
        return np.concatenate(parts)

    def enters(
        self, origin: Float64[np.ndarray, "3"], ways: Float64[np.ndarray, "rays 3"]
    ) -> Float64[np.ndarray, " rays"]:
        """Ray parameter where each ray first meets the box from outside, infinity where it misses (slab method)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            to_low, to_high = (self.low - origin) / ways, (self.high - origin) / ways
        first = np.fmin(to_low, to_high).max(axis=1)
        last = np.fmax(to_low, to_high).min(axis=1)
        return np.where((first < last) & (first > 0), first, np.inf)

    def triangles(self) -> Float64[np.ndarray, "triangles 3 3"]:
        """Its twelve triangles."""
        return np.asarray(trimesh.creation.box(bounds=[self.low, self.high]).triangles)


Solid = Sphere | Box


@dataclass(frozen=True)
class Score:
    """Points found and missed."""

    hits: int
    missed: int
    extra: int

    @property
    def recall(self) -> float:
        """Share of the truly visible points that were found."""
        return self.hits / max(self.hits + self.missed, 1)

    @property
    def precision(self) -> float:
        """Share of the found points that are truly visible."""
        return self.hits / max(self.hits + self.extra, 1)

    def __add__(self, other: Score) -> Score:
        return Score(self.hits + other.hits, self.missed + other.missed, self.extra + other.extra)

    @classmethod
    def of(cls, found: Bool[np.ndarray, " points"], truth: Bool[np.ndarray, " points"]) -> Score:
        return cls(int((found & truth).sum()), int((~found & truth).sum()), int((found & ~truth).sum()))


def solids(rng: np.random.Generator, number: int = 8) -> list[Solid]:
    """A floor and things on it and above it, apart from each other or not, in a room of 5 m x 4 m."""
    found: list[Solid] = [Box(np.array([0.0, 0.0, -0.2]), np.array([5.0, 4.0, 0.0]))]
    for index in range(number):
        place = rng.uniform([0.6, 0.6, 0.3], [4.4, 3.4, 1.2])
        if index % 2:
            found.append(Sphere(place, rng.uniform(0.15, 0.4)))
        else:
            half = rng.uniform(0.1, 0.4, 3)
            found.append(Box(place - half, place + half))
    return found


def mesh_of(parts: list[Solid]) -> Mesh:
    """All triangles, instance k + 1 for part k."""
    corners = [part.triangles() for part in parts]
    owners = np.repeat(np.arange(1, len(parts) + 1), [len(part) for part in corners])
    vertices = np.concatenate(corners).reshape(-1, 3).astype(np.float32)
    return Mesh(vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3), owners.astype(np.int32))


def camera(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (pixels) and world-to-camera (metres) of a camera at the rim of the room that looks at its middle."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    eye = np.array([2.5 + 3.2 * math.cos(angle), 2.0 + 2.7 * math.sin(angle), rng.uniform(1.0, 1.9)])
    forward = rng.uniform([1.8, 1.4, 0.3], [3.2, 2.6, 0.9]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = [right, np.cross(forward, right), forward]
    pose[:3, 3] = -pose[:3, :3] @ eye
    focal = 0.75 * size[0]
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]]), pose


def truth(
    parts: list[Solid],
    points: Float64[np.ndarray, "points 3"],
    intrinsics: Float64[np.ndarray, "3 3"],
    pose: Float64[np.ndarray, "4 4"],
    size: tuple[int, int],
    tolerance_m: float,
    tolerance_ratio: float,
) -> tuple[Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
    """Points inside the frame, and those of them that nothing hides by more than the tolerance along z."""
    seen = points @ pose[:3, :3].T + pose[:3, 3]
    depth_m = seen[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (seen / depth_m[:, None]) @ intrinsics[:2].T
    inside = (depth_m > NEAR_M) & (pixels >= -0.5).all(axis=1) & (pixels < np.array(size) - 0.5).all(axis=1)
    origin = -pose[:3, :3].T @ pose[:3, 3]
    ways = (points - origin) / depth_m[:, None]  # parameter is depth along z
    first_m = np.min([part.enters(origin, ways) for part in parts], axis=0)
    allowed_m = np.maximum(np.maximum(tolerance_m, tolerance_ratio * depth_m), 1e-7)
    return inside, inside & (depth_m <= first_m + allowed_m)


def measure(
    seed: int, size: tuple[int, int], tolerances: tuple[float, float] = TOLERANCES, views: int = 6
) -> tuple[Score, Score]:
    """Scores against the strict truth and against the defined one, over the views of one random scene."""
    rng = np.random.default_rng(seed)
    parts = solids(rng)
    surface = SceneSurface.of_scene(Scene(f"solids {seed}", "closed form", (), {}, lambda: mesh_of(parts)))
    points = np.concatenate([part.sample(rng) for part in parts])
    strict = defined = Score(0, 0, 0)
    for _ in range(views):
        intrinsics, pose = camera(rng, size)
        sight = Sight.of(surface, intrinsics, pose, size)
        found = visible_points(points.T.astype(np.float32), sight, *tolerances)
        strict += Score.of(found, truth(parts, points, intrinsics, pose, size, 0.0, 0.0)[1])
        defined += Score.of(found, truth(parts, points, intrinsics, pose, size, *tolerances)[1])
    return strict, defined


def main(
    scenes: Annotated[int, typer.Option(min=1, help="Random scenes.")] = 10,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the pictures, pixels.")] = "640x480",
    tolerance_m: Annotated[float, typer.Option(min=0, help="How far behind a surface a point still counts.")] = 0.05,
    tolerance_ratio: Annotated[float, typer.Option(min=0, help="The same as a share of its depth.")] = 0.02,
) -> None:
    """Prints recall and precision over random scenes."""
    width, height = (int(side) for side in size.split("x"))
    tolerances = (tolerance_m, tolerance_ratio)
    scores = [measure(seed, (width, height), tolerances) for seed in range(scenes)]
    for name, found in zip(("strict", "as defined"), zip(*scores, strict=True), strict=True):
        total = sum(found, Score(0, 0, 0))
        lowest = min(min(score.recall, score.precision) for score in found)
        print(
            f"{name:>10}: recall {total.recall:.4%}, precision {total.precision:.4%}, worst of one scene {lowest:.4%}; "
            f"{total.hits + total.missed:,} visible points of {scenes} scenes"
        )


if __name__ == "__main__":
    typer.run(main)
