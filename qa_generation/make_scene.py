"""What one worker does for one scene in each round: survey it, make its pool of questions, settle its shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qa_generation import cache_files
from qa_generation.compose import compose, compose_warmup, image_path, scene_context
from qa_generation.errors import SceneError
from qa_generation.generation_config import GenerationConfig
from qa_generation.image_store import check_name, keep_only, store_image
from qa_generation.name_priors import NamePriors, Survey
from qa_generation.orbit.capture import ObjectCapture
from qa_generation.orbit.compose import compose_orbit
from qa_generation.prompts import WARMUP_TYPES
from qa_generation.readers.base import SceneReader, options_of
from qa_generation.records import QARecord
from qa_generation.scene import Scene, View
from qa_generation.settle import settle
from qa_generation.shards import read_shard, shard_path, write_shard
from qa_generation.splits import TRAIN, WARMUP
from qa_generation.survey import survey
from qa_generation.tasks.context import SceneContext

if TYPE_CHECKING:
    from qa_generation.blind.plan import BlindPlan


@dataclass(frozen=True)
class SceneJob:
    """All that a worker needs besides the scene id.

    Attributes:
        reader, out, cache_dir, config, seed: as given to `generate_dataset`.
        assigned: split of every scene.
        names: what was learned over all scenes in the first round.
        stage: how many plans the pool of a scene has passed, ``made_by`` the last of them.
        plan: which questions of that pool give themselves away; ``plan_id`` names what it was fitted to.
    """

    reader: SceneReader
    out: Path
    cache_dir: Path
    config: GenerationConfig
    seed: int
    assigned: Mapping[str, str]
    names: NamePriors | None = None
    stage: int = 0
    made_by: str = "plain"
    plan: BlindPlan | None = None
    plan_id: str = "plain"

    @property
    def state_dir(self) -> Path:
        """Where this dataset's rounds leave what the next needs; tables of ``cache_dir`` may serve other datasets."""
        return self.out / ".cache"

    @cached_property
    def settings(self) -> str:
        """Identifies settings, seed and the reader's options."""
        return self.config.fingerprint(self.seed, options_of(self.reader))

    @property
    def pool_fingerprint(self) -> str:
        """What the bytes of the present pool depend on besides the scene."""
        return f"{self._asked}.{self.made_by}"

    @property
    def fingerprint(self) -> str:
        """What the bytes of what the plan leaves depend on besides the scene."""
        return f"{self._asked}.{self.plan_id}"

    @cached_property
    def _asked(self) -> str:
        return f"{self.settings}.{self.names.digest() if self.names else 'plain'}"

    def passed(self) -> SceneJob:
        """The job whose pool is what this one's plan leaves."""
        return replace(self, stage=self.stage + 1, made_by=self.plan_id, plan=None)

    def pool_path(self, scene_id: str) -> Path:
        """Where the questions wait that may still be left out."""
        return self.state_dir / "pools" / str(self.stage) / f"{scene_id}.parquet"


def survey_scene(job: SceneJob, scene_id: str) -> Survey:
    """What names tell about answers in one scene, kept for the next run.

    Raises:
        SceneError: it cannot be read or annotated.
    """
    scene = job.reader.read(scene_id)
    # a single object has no neighbours and no count that its name could give away
    found = Survey({}, {}) if isinstance(scene, ObjectCapture) else survey(_context(job, scene))
    cache_files.write_survey(job.state_dir, scene_id, job.settings, found)
    return found


def pool_scene(job: SceneJob, scene_id: str) -> int:
    """Writes the pool of one scene and the pictures it needs; gives the number of questions.

    Raises:
        SceneError: the scene cannot be read or annotated, or has fewer than two views.
    """
    scene = job.reader.read(scene_id)
    if isinstance(scene, ObjectCapture):
        records = compose_orbit(scene, job.config, job.seed)
    else:
        context = _context(job, scene)
        records = compose(context, job.seed)
        if job.config.warmup and job.assigned[scene_id] == TRAIN:
            records += compose_warmup(context, job.seed)
    _store_images(job, scene.dataset, scene_id, scene.views, records)
    write_shard(job.pool_path(scene_id), records, job.pool_fingerprint)
    return len(records)


def sift_scene(job: SceneJob, scene_id: str) -> int:
    """Writes what the plan leaves of a scene's pool as the pool of the next stage; gives its number of questions."""
    assert job.plan is not None
    kept, _ = job.plan.keep(list(read_shard(job.pool_path(scene_id))))
    write_shard(job.passed().pool_path(scene_id), kept, job.fingerprint)
    return len(kept)


def settle_scene(job: SceneJob, scene_id: str) -> int:
    """Writes the shards of one scene from its pool; gives the number of records that are no warm-up."""
    pool = list(read_shard(job.pool_path(scene_id)))
    asked = [record for record in pool if record.question_type not in WARMUP_TYPES]
    shards = {job.assigned[scene_id]: settle(asked, job.plan, job.config, job.seed)}
    if job.config.warmup and job.assigned[scene_id] == TRAIN:
        shards[WARMUP] = [record for record in pool if record.question_type in WARMUP_TYPES]
    for split, content in shards.items():
        write_shard(shard_path(job.out, split, scene_id), content, job.fingerprint)
    if pool:
        used = {path for records in shards.values() for record in records for path in record.images}
        keep_only(job.out, (job.out / pool[0].images[0]).parent, used)
    return len(shards[job.assigned[scene_id]])


def _store_images(
    job: SceneJob, dataset: str, scene_id: str, views: Sequence[View], records: Sequence[QARecord]
) -> None:
    by_id = {view.view_id: view for view in views}
    for view_id in sorted({view_id for record in records for view_id in record.frames}):
        store_image(by_id[view_id], job.out / image_path(dataset, scene_id, view_id))


def _context(job: SceneJob, scene: Scene) -> SceneContext:
    """The annotated scene with its view sets."""
    check_name("dataset", scene.dataset)
    for view in scene.views:
        check_name("view id", view.view_id)
    if len(scene.views) < 2:
        raise SceneError(f"scene {scene.scene_id} has {len(scene.views)} view, expected at least 2")
    # the ray caster is heavy to import and needed by the workers only
    from qa_generation.visibility import VisibilityConfig
    from qa_generation.visibility_cache import load_or_annotate

    config = VisibilityConfig.for_questions(scene.kind, max_side=job.config.visibility_max_side)
    table = load_or_annotate(scene, job.cache_dir, config)
    return scene_context(scene, table, job.config, job.seed, job.names)
