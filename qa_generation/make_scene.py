"""One scene's share of a dataset: visibility, records, pictures, shard. Runs inside the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa_generation.compose import compose, compose_warmup, image_path, scene_context
from qa_generation.errors import SceneError
from qa_generation.generation_config import GenerationConfig
from qa_generation.image_store import check_name, store_image
from qa_generation.name_priors import NamePriors, Survey
from qa_generation.readers.base import SceneReader, options_of
from qa_generation.shards import shard_path, write_shard
from qa_generation.splits import TRAIN, WARMUP
from qa_generation.survey import survey
from qa_generation.tasks.context import SceneContext


@dataclass(frozen=True)
class SceneJob:
    """All that a worker needs besides the scene id; ``assigned`` gives the split of every scene."""

    reader: SceneReader
    out: Path
    cache_dir: Path
    config: GenerationConfig
    seed: int
    assigned: Mapping[str, str]
    names: NamePriors | None = None

    @property
    def fingerprint(self) -> str:
        """What the bytes of a shard depend on besides the scene."""
        settings = self.config.fingerprint(self.seed, options_of(self.reader))
        return f"{settings}.{self.names.digest() if self.names else 'plain'}"


def survey_scene(job: SceneJob, scene_id: str) -> Survey:
    """What names tell about answers in one scene; raises ``SceneError`` where it cannot be annotated."""
    return survey(_context(job, scene_id))


def make_scene(job: SceneJob, scene_id: str) -> int:
    """Writes the shard of one scene and the pictures it needs; gives the number of records.

    Raises:
        SceneError: the scene cannot be read or annotated, or has fewer than two views.
    """
    context = _context(job, scene_id)
    scene = context.scene
    records = compose(context, job.seed)
    shards = {job.assigned[scene_id]: records}
    if job.config.warmup and job.assigned[scene_id] == TRAIN:
        shards[WARMUP] = compose_warmup(context, job.seed)
    for view_id in sorted({view_id for shard in shards.values() for record in shard for view_id in record.frames}):
        store_image(scene.view(view_id), job.out / image_path(scene.dataset, scene.scene_id, view_id))
    fingerprint = job.fingerprint
    for split, content in shards.items():
        write_shard(shard_path(job.out, split, scene_id), content, fingerprint)
    return len(records)


def _context(job: SceneJob, scene_id: str) -> SceneContext:
    """The annotated scene with its view sets."""
    scene = job.reader.read(scene_id)
    check_name("dataset", scene.dataset)
    for view in scene.views:
        check_name("view id", view.view_id)
    if len(scene.views) < 2:
        raise SceneError(f"scene {scene_id} has {len(scene.views)} view, expected at least 2")
    # the ray caster is heavy to import and needed by the workers only
    from qa_generation.visibility import VisibilityConfig
    from qa_generation.visibility_cache import load_or_annotate

    table = load_or_annotate(scene, job.cache_dir, VisibilityConfig(max_side=job.config.visibility_max_side))
    return scene_context(scene, table, job.config, job.seed, job.names)
