"""One scene as the audit sees it: whether an instance is visible in a view, or absent, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int32, UInt8

from qa_generation.oracle.rules import Rules, kindred
from qa_generation.oracle.shared_surface import SurfacePoints, scatter, seen_voxels
from qa_generation.oracle.sight import Lens, Sight, Surface, look
from qa_generation.oracle.silhouette import Silhouette, canvas_rectangle, silhouette
from qa_generation.oracle.spatial import Seat, seat
from qa_generation.oracle.truth import Truth, at_least, either
from qa_generation.scene import Scene, View
from qa_generation.seeding import generator

# rays over a silhouette's rectangle, per side; the finer number where 5 % is near
_SIDE, _FINE_SIDE = 64, 320


@dataclass(frozen=True)
class Presence:
    """What is sure of one instance in one view; neither visible nor absent is ambiguous and decides nothing.

    What is visible by less than the guard of `Rules` may be called visible or not: ``clearly_visible`` is MAYBE for it.
    """

    visible: Truth
    absent: Truth
    clearly_visible: Truth
    threshold: str
    text: str


@dataclass(eq=False)
class Place:
    """Everything the audit works out about one scene, each part on first use.

    Attributes:
        scene: as its reader gives it.
        rules: thresholds.
        samples: rays per grid pixel along each side.
        seed: of the jitter.
    """

    scene: Scene
    rules: Rules
    samples: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        self.ids = sorted(self.scene.instances)
        self.column = {instance: column for column, instance in enumerate(self.ids)}
        self._views = {view.view_id: view for view in self.scene.views}
        self._sights: dict[str, Sight] = {}
        self._alone: dict[int, Surface] = {}
        self._silhouettes: dict[tuple[str, int, int], Silhouette] = {}
        self._presence: dict[tuple[str, int], Presence] = {}
        self._seats: dict[tuple[str, int], Seat] = {}
        self._voxels: dict[str, UInt8[np.ndarray, " bytes"]] = {}

    def view(self, view_id: str) -> View | None:
        """The view of that id, None where there is none."""
        return self._views.get(view_id)

    def category(self, instance: int) -> str:
        return self.scene.instances[instance].category

    def members(self, category: str) -> list[int]:
        """Instances of exactly this category."""
        return [i for i in self.ids if self.category(i) == category]

    def kin(self, category: str) -> list[int]:
        """Instances that the name may mean, those of exactly this category included."""
        return [i for i in self.ids if kindred(self.category(i), category)]

    # --- surfaces -------------------------------------------------------------------------------------------------

    @cached_property
    def surface(self) -> Surface:
        mesh = self.scene.mesh
        return Surface(mesh.vertices, mesh.triangles)

    @cached_property
    def _column_of_triangle(self) -> Int32[np.ndarray, " triangles_and_one"]:
        known, place = np.unique(self.scene.mesh.triangle_instances, return_inverse=True)
        columns = np.array([self.column.get(int(i), -1) for i in known], dtype=np.int32)[place]
        return np.append(columns, np.int32(-1))

    def corners(self, instance: int) -> Float64[np.ndarray, "triangles 3 3"]:
        """Triangles of an instance, metres."""
        chosen = self._column_of_triangle[:-1] == self.column[instance]
        return self.scene.mesh.vertices[self.scene.mesh.triangles[chosen]].astype(np.float64)

    def alone(self, instance: int) -> Surface:
        """The surface of one instance."""
        if instance not in self._alone:
            corners = self.corners(instance)
            triangles = np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
            self._alone[instance] = Surface(corners.reshape(-1, 3).astype(np.float32), triangles)
        return self._alone[instance]

    def seat(self, view_id: str, instance: int) -> Seat:
        """Where the instance is in the camera's axes."""
        if (view_id, instance) not in self._seats:
            vertices = self.corners(instance).reshape(-1, 3)
            box = self.scene.instances[instance].obb
            self._seats[view_id, instance] = seat(self._views[view_id], box, vertices)
        return self._seats[view_id, instance]

    # --- sight ----------------------------------------------------------------------------------------------------

    def _rng(self, *parts: str) -> np.random.Generator:
        return generator(self.seed, "audit", self.scene.dataset, self.scene.scene_id, *parts)

    def lens(self, view_id: str) -> Lens:
        view = self._views[view_id]
        return Lens(view, self.rules.grid(view.size))

    def sight(self, view_id: str) -> Sight:
        """What the view shows."""
        if view_id not in self._sights:
            columns, lens, rng = self._column_of_triangle, self.lens(view_id), self._rng(view_id)
            self._sights[view_id] = look(self.surface, columns, len(self.ids), lens, self.samples, rng)
        return self._sights[view_id]

    def pixels(self, view_id: str, instance: int) -> tuple[float, float, float]:
        """Least, mean and largest number of grid pixels that show the instance."""
        return self.sight(view_id).pixels(self.column[instance])

    def silhouette(self, view_id: str, instance: int, side: int = _SIDE) -> Silhouette:
        """The instance drawn alone."""
        key = (view_id, instance, side)
        if key not in self._silhouettes:
            lens = self.lens(view_id)
            rectangle = canvas_rectangle(lens, self.corners(instance))
            rng = self._rng(view_id, str(instance), str(side))
            self._silhouettes[key] = silhouette(self.alone(instance), lens, rectangle, side, rng)
        return self._silhouettes[key]

    def presence(self, view_id: str, instance: int) -> Presence:
        """Whether the instance is visible in the view, absent from it, or in between."""
        if (view_id, instance) not in self._presence:
            self._presence[view_id, instance] = self._find_presence(view_id, instance)
        return self._presence[view_id, instance]

    def _find_presence(self, view_id: str, instance: int) -> Presence:
        low, mean, high = self.pixels(view_id, instance)
        least = self.rules.least_pixels(self.lens(view_id).grid)
        absent, enough = at_least(low, high, 1.0).negated, at_least(low, high, least)
        name = f"{self.category(instance)} {instance} in {view_id}"
        text = f"{name}: {mean:.1f} px ({low:.0f}-{high:.0f}), visible from {least:.0f}"
        if enough is Truth.NO:
            return Presence(Truth.NO, absent, Truth.NO, "one pixel", text)
        shares = self._shares(view_id, instance, low, high)
        least_share, guard = self.rules.min_visible_fraction, self.rules.guard
        share = at_least(*shares, least_share)
        threshold = "pixels"
        if share is not Truth.YES:
            text = f"{name}: {shares[0]:.1%} to {shares[1]:.1%} of it are seen, visible from {least_share:.0%}"
            threshold = "visible share"
        visible = min(enough, share)
        clearly = min(at_least(low, high, guard * least), at_least(*shares, guard * least_share))
        # between the threshold and the guarded one a label may say either
        return Presence(visible, absent, min(visible, max(clearly, Truth.MAYBE)), threshold, text)

    def _shares(self, view_id: str, instance: int, low: float, high: float) -> tuple[float, float]:
        """Least and largest share of the whole silhouette that is seen; looks closer where the threshold is near."""
        least, shares = self.rules.min_visible_fraction, (0.0, 1.0)
        for side in (_SIDE, _FINE_SIDE):
            whole = self.silhouette(view_id, instance, side).on_canvas
            shares = low / max(whole.high, 1.0), high / max(whole.low, 1.0)
            if at_least(*shares, least) is not Truth.MAYBE:
                break
        return shares

    def seen(self, frames: Sequence[str], instance: int) -> Truth:
        """Whether some frame shows a pixel of the instance."""
        return either(self.presence(frame, instance).absent.negated for frame in frames)

    def shown(self, frames: Sequence[str], instance: int) -> Truth:
        """Whether the instance is visible in some frame."""
        return either(self.presence(frame, instance).visible for frame in frames)

    def describe(self, frames: Sequence[str], instance: int) -> str:
        """The frame that shows most of the instance, in words."""
        best = max(frames, key=lambda frame: self.pixels(frame, instance)[1])
        return self.presence(best, instance).text

    def centers(
        self, view_id: str, instance: int, canvas: tuple[int, int]
    ) -> tuple[Float64[np.ndarray, "2"], Float64[np.ndarray, "2"]] | None:
        """Least and largest box centre over the phases and one grid pixel around, canvas pixels; None where unseen."""
        edges = self.edges(view_id, instance, canvas)
        if edges is None:
            return None
        centers = np.floor((edges[:, :2] + edges[:, 2:]) / 2.0)
        pixel = np.array(canvas) / np.array(self.lens(view_id).grid)
        return centers.min(axis=0) - pixel, centers.max(axis=0) + pixel

    def edges(self, view_id: str, instance: int, canvas: tuple[int, int]) -> Float64[np.ndarray, "phases 4"] | None:
        """The visible box in every phase that shows the instance, rounded canvas pixels."""
        sight = self.sight(view_id)
        boxes = sight.boxes[:, self.column[instance]]
        boxes = boxes[~np.isnan(boxes[:, 0])]
        scale = np.tile(np.array(canvas) / np.array(sight.lens.grid), 2)
        return np.rint(boxes * scale) if len(boxes) else None

    def loose(self, view_id: str, instance: int, canvas: tuple[int, int], share: float) -> bool:
        """Whether an edge of the visible box moves from phase to phase by more than this share of its diagonal."""
        edges = self.edges(view_id, instance, canvas)
        if edges is None:
            return False
        diagonal = float(np.hypot(*np.median(edges[:, 2:] - edges[:, :2], axis=0)))
        pixel = max(canvas[k] / self.lens(view_id).grid[k] for k in (0, 1))
        return float(np.ptp(edges, axis=0).max()) > max(share * diagonal, 2.0 * pixel)

    # --- overlap --------------------------------------------------------------------------------------------------

    @cached_property
    def _cloud(self) -> SurfacePoints:
        columns = self._column_of_triangle[:-1]
        own = columns >= 0
        corners = self.scene.mesh.vertices[self.scene.mesh.triangles[own]].astype(np.float64)
        return scatter(corners, columns[own], self.rules.voxel_m, self._rng("surface"))

    def overlap(self, first: str, second: str) -> float:
        """Shared part of the surface voxels that two views see, percent."""
        a, b = (self._seen_voxels(view_id) for view_id in (first, second))
        union = int(np.bitwise_count(a | b).sum(dtype=np.int64))
        return 100.0 * int(np.bitwise_count(a & b).sum(dtype=np.int64)) / union if union else 0.0

    def _seen_voxels(self, view_id: str) -> UInt8[np.ndarray, " bytes"]:
        if view_id not in self._voxels:
            present = self.sight(view_id).counts.mean(axis=0) >= 0.5
            seen = seen_voxels(self.surface, self._cloud, present, self.lens(view_id), self.rules)
            self._voxels[view_id] = np.packbits(seen)
        return self._voxels[view_id]
