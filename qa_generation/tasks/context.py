"""Everything the question families need to know about one scene, worked out once as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from qa_generation.errors import SceneError
from qa_generation.generation_config import GenerationConfig
from qa_generation.name_priors import SIMILAR_STRENGTH, NamePriors
from qa_generation.options import NumberOptions
from qa_generation.prompts import QUESTION_TYPES, frame_name
from qa_generation.sampling import ViewSet
from qa_generation.scene import Scene
from qa_generation.scene_settings import SETTINGS, SceneSettings
from qa_generation.tasks.categories import kinship, names_one_thing, normalised
from qa_generation.tasks.relations import AXES, relation_tensor
from qa_generation.visibility_table import VisibilityTable

if TYPE_CHECKING:
    from qa_generation.distances import SurfaceDistances

# two references of one category are told apart by (x,y) only when their centres differ by this many canvas pixels
DISTINCT_CENTERS_PX = 16.0
# about a second of video of a slow walk
NEAR_VIEW_M, NEAR_VIEW_DEG = 0.25, 15.0


@dataclass(frozen=True, eq=False)
class SetFacts:
    """Visibility inside one view set; rows are its frames in the order shown.

    Attributes:
        view_set: the views.
        members: their row numbers in the table.
        visible, ambiguous, absent: per frame and instance, exactly one of the three is true.
        seen: instances of which some frame shows at least one pixel.
        shown: instances visible in some frame.
        alone: shown instances whose kind has no other instance with a pixel anywhere in the set.
    """

    view_set: ViewSet
    members: Int[np.ndarray, " frames"]
    visible: Bool[np.ndarray, "frames instances"]
    ambiguous: Bool[np.ndarray, "frames instances"]
    absent: Bool[np.ndarray, "frames instances"]
    seen: Bool[np.ndarray, " instances"]
    shown: Bool[np.ndarray, " instances"]
    alone: Bool[np.ndarray, " instances"]


@dataclass(eq=False)
class SceneContext:
    """One scene with its view sets and settings; columns are the table's instances throughout."""

    scene: Scene
    table: VisibilityTable
    view_sets: Sequence[ViewSet]
    config: GenerationConfig
    # pairs of names and counts that may be asked, see `name_priors`; all where nothing was learned
    names: NamePriors | None = None
    coin_seed: int = 0
    # appearances of categories as truth and as wrong option, so that neither gives itself away
    tally: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    # question type -> how often each answer class was chosen in this scene
    answer_counts: dict[str, Counter[int]] = field(default_factory=dict)
    # question type -> its number options, fitted to the counts above
    number_options: dict[str, NumberOptions] = field(default_factory=dict, repr=False)
    _relations: dict[int, Int8[np.ndarray, "3 instances instances"]] = field(default_factory=dict, repr=False)
    _crowded: dict[int, Bool[np.ndarray, " instances"]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        missing = [i for i in self.table.instance_ids if i not in self.scene.instances]
        if missing:
            raise SceneError(f"scene {self.scene.scene_id}: visibility lists unknown instance {missing[0]}")
        self._views = [self.scene.view(view_id) for view_id in self.table.view_ids]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Category of every column, as the capture spells it."""
        return tuple(self.scene.instances[i].category for i in self.table.instance_ids)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def category_of(self) -> Int[np.ndarray, " instances"]:
        """Index into ``categories`` of every column."""
        index = {category: i for i, category in enumerate(self.categories)}
        return np.array([index[label] for label in self.labels], dtype=np.int64)

    @cached_property
    def askable(self) -> Bool[np.ndarray, " instances"]:
        """Columns whose category may be asked about."""
        excluded = {normalised(category) for category in self.config.excluded_categories} | {""}
        return np.array([normalised(label) not in excluded for label in self.labels], dtype=bool)

    @cached_property
    def countable(self) -> Bool[np.ndarray, " categories"]:
        """Categories whose instances are single objects that may be asked about."""
        askable = (self.members_of & self.askable[None]).any(axis=1)
        return askable & np.array([names_one_thing(category) for category in self.categories], dtype=bool)

    @cached_property
    def category_kin(self) -> Bool[np.ndarray, "categories categories"]:
        return kinship(self.categories)

    @cached_property
    def members_of(self) -> Bool[np.ndarray, "categories instances"]:
        """Instances of exactly this category."""
        return np.arange(len(self.categories))[:, None] == self.category_of[None]

    @cached_property
    def kin_of(self) -> Bool[np.ndarray, "categories instances"]:
        """Instances of this category or its kin."""
        return self.category_kin[:, self.category_of]

    @cached_property
    def kin(self) -> Bool[np.ndarray, "instances instances"]:
        return self.kin_of[self.category_of]

    @cached_property
    def same(self) -> Bool[np.ndarray, "instances instances"]:
        """Pairs of the same category."""
        return self.members_of[self.category_of]

    @cached_property
    def sets(self) -> tuple[SetFacts, ...]:
        return tuple(self._facts(view_set) for view_set in self.view_sets)

    def _facts(self, view_set: ViewSet) -> SetFacts:
        members = np.asarray(view_set.views)
        visible, absent = self.table.visible[members], self.table.absent[members]
        seen, shown = (~absent).any(axis=0), visible.any(axis=0)
        alone = shown & (self.kin.astype(np.int32) @ seen.astype(np.int32) == 1)
        return SetFacts(view_set, members, visible, ~visible & ~absent, absent, seen, shown, alone)

    def relations(self, row: int) -> Int8[np.ndarray, "3 instances instances"]:
        """Relation signs of `relations.AXES` in the camera of table row ``row``; computed once per view."""
        if row not in self._relations:
            boxes = [self.scene.instances[i].obb for i in self.table.instance_ids]
            self._relations[row] = relation_tensor(self._views[row], boxes, self.settings.margin_m)
        return self._relations[row]

    @cached_property
    def settings(self) -> SceneSettings:
        """Thresholds for a scene of this kind."""
        return SETTINGS[self.scene.kind]

    @cached_property
    def _surfaces(self) -> SurfaceDistances:
        # the ray caster is heavy to import and needed by the workers only
        from qa_generation.distances import SurfaceDistances

        return SurfaceDistances(self.scene)

    @cached_property
    def camera_distance_m(self) -> Float[np.ndarray, "views instances"]:
        """Distance from every camera centre to the nearest point of every instance, metres."""
        centers = np.stack([view.camera_center for view in self._views])
        distances = [self._surfaces.from_points(i, centers) for i in self.table.instance_ids]
        return np.stack(distances, axis=1).astype(np.float64)

    @cached_property
    def near_views(self) -> Bool[np.ndarray, "views views"]:
        """Views that take nearly the same picture: cameras near each other that look nearly the same way."""
        centers = np.stack([view.camera_center for view in self._views])
        axes = np.stack([view.world_to_camera[2, :3] for view in self._views])
        apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
        return (apart < NEAR_VIEW_M) & (axes @ axes.T > np.cos(np.radians(NEAR_VIEW_DEG)))

    @cached_property
    def box_gaps_m(self) -> Float[np.ndarray, "instances instances"]:
        """Distance between the axis-aligned boxes around every two instances, metres."""
        from qa_generation.distances import box_gaps

        return box_gaps(self._surfaces.bounds(self.table.instance_ids))

    def object_distance_m(self, first: int, second: int) -> float:
        """Smallest distance between the surfaces of two columns, metres."""
        return self._surfaces.between(self.table.instance_ids[first], self.table.instance_ids[second])

    @cached_property
    def longest_side_cm(self) -> Float[np.ndarray, " instances"]:
        """Longest side of every instance's oriented box, centimetres."""
        return np.array([100.0 * self.scene.instances[i].obb.extents.max() for i in self.table.instance_ids])

    @cached_property
    def fair_pairs(self) -> Bool[np.ndarray, "3 2 categories categories"]:
        """For `relations.AXES` and a negative or positive sign: which (target, reference) names may be asked."""
        number = len(self.categories)
        if self.names is None:
            return np.ones((len(AXES), 2, number, number), dtype=bool)
        coins = np.random.default_rng([self.coin_seed, 0]).random((len(AXES), number, number))
        return np.stack([self.names.fair_pairs(axis, self.categories, c) for axis, c in zip(AXES, coins, strict=True)])

    def similar(self, axis: str) -> Bool[np.ndarray, "categories categories"]:
        """Categories whose names promise about the same on the axis."""
        if self.names is None:
            return np.ones((len(self.categories), len(self.categories)), dtype=bool)
        strength = self.names.strength(axis, self.categories)
        return np.abs(strength[:, None] - strength[None]) <= SIMILAR_STRENGTH

    def fair(
        self,
        axis: str,
        target: Int[np.ndarray, " pairs"],
        reference: Int[np.ndarray, " pairs"],
        sign: Int8[np.ndarray, " pairs"],
    ) -> Bool[np.ndarray, " pairs"]:
        """Whether the names of target and reference may be asked about, given the true sign."""
        side = (sign > 0).astype(np.int64)
        return self.fair_pairs[AXES.index(axis), side, self.category_of[target], self.category_of[reference]]

    def fair_choice(self, axis: str, sign: int, truth: int, wrong: Sequence[int]) -> bool:
        """Whether to ask which of these categories is on that side, given the true one; a coin per scene and names."""
        if self.names is None:
            return True
        coin = np.random.default_rng([self.coin_seed, 100 + AXES.index(axis), sign + 1, truth, *sorted(wrong)]).random()
        return coin < self.names.fair_choice(axis, sign, [self.categories[c] for c in (truth, *wrong)])

    def fair_counts(self, question_type: str) -> Bool[np.ndarray, "categories counts"]:
        """Which (category, count) may be asked in this type."""
        shape = (len(self.categories), self.config.max_count + 1)
        if self.names is None:
            return np.ones(shape, dtype=bool)
        coins = np.random.default_rng([self.coin_seed, 1 + QUESTION_TYPES.index(question_type)]).random(shape)
        return self.names.fair_counts(question_type, self.categories, coins)

    def references(self, facts: SetFacts, frame: int) -> Bool[np.ndarray, " instances"]:
        """Instances that a question seen from this frame can name: visible, askable and not to be confused.

        Either nothing else of its kind has a pixel in the frame, or all visible ones of its category have centres far
        enough apart for ``(x,y)`` to tell them apart, none of its kind being ambiguous.
        """
        visible, ambiguous = facts.visible[frame], facts.ambiguous[frame]
        doubtful = (self.kin & ambiguous[None]).any(axis=1)
        kin_visible = (self.kin & visible[None]).sum(axis=1)
        single = kin_visible == 1
        several = (self.same & visible[None]).sum(axis=1) >= 2
        return visible & self.askable & ~doubtful & (single | (several & ~self._crowded_in(int(facts.members[frame]))))

    def _crowded_in(self, row: int) -> Bool[np.ndarray, " instances"]:
        """Whether another visible instance of the category has its centre too near, per column."""
        if row not in self._crowded:
            centers = self.centers[row].astype(np.float64)
            near = np.hypot(*(centers[:, None] - centers[None]).transpose(2, 0, 1)) < DISTINCT_CENTERS_PX
            np.fill_diagonal(near, False)
            self._crowded[row] = (near & self.same & self.table.visible[row][None]).any(axis=1)
        return self._crowded[row]

    @cached_property
    def boxes(self) -> Int[np.ndarray, "views instances 4"]:
        """Visible boxes [x0, y0, x1, y1] in pixels of the canvas, x1 and y1 exclusive; -1 where nothing is seen."""
        scale = np.tile(np.array(self.config.coord_size) / self.table.sizes, 2)
        scaled = np.rint(self.table.boxes * scale[:, None]).astype(np.int64)
        scaled[self.table.boxes[..., 2] <= 0] = -1
        return scaled

    @cached_property
    def centers(self) -> Int[np.ndarray, "views instances 2"]:
        """Centres of `boxes`, canvas pixels."""
        return (self.boxes[..., :2] + self.boxes[..., 2:]) // 2

    @cached_property
    def partly_hidden(self) -> Bool[np.ndarray, "views instances"]:
        """Whether a view shows an instance that is partly hidden there, but not too much."""
        low, high = self.config.occlusion_window
        occlusion = np.nan_to_num(self.table.occlusion, nan=1.0)
        return self.table.visible & (occlusion >= low) & (occlusion <= high)

    @cached_property
    def placed(self) -> Bool[np.ndarray, "views instances"]:
        """Whether a view shows an instance partly hidden and nothing else of its kind, so that its name has one box."""
        return self.partly_hidden & ((~self.table.absent).astype(np.int32) @ self.kin.astype(np.int32) == 1)

    def frame(self, facts: SetFacts, frame: int) -> str:
        """How the question calls a frame of the set."""
        view_id = self.table.view_ids[int(facts.members[frame])]
        return frame_name(self.config.frame_naming, frame, view_id)

    def reference_text(self, facts: SetFacts, frame: int, reference: int) -> str:
        """Name of the reference, with ``(x,y)`` attached where the frame shows more of its category."""
        name = self.labels[reference]
        if int((self.same[reference] & facts.visible[frame]).sum()) < 2:
            return name
        x, y = self.centers[int(facts.members[frame]), reference]
        return f"{name}({x},{y})"

    def well_seen(self, facts: SetFacts) -> Bool[np.ndarray, " instances"]:
        """Instances partly hidden in some frame of the set: the interesting targets."""
        return self.partly_hidden[facts.members].any(axis=0)
