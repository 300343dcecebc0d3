"""The three rounds over the scenes, each of which the next one needs whole:

1. survey: every scene is annotated and tells what names give away in it;
2. pool: with what was learned from all surveys, every scene makes more questions than are wanted;
3. settle: every scene keeps those that do not give themselves away, by a plan fitted to a sample of the pools; what a
   first plan leaves is sifted by a second, which sees as many questions and finds what the first could not.

What a round makes of a scene is a file, so a run that was interrupted goes on, and several runs (``--shard i/n``) that
each work on their own scenes meet in the folder: a run stops before a round that still waits for another.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any

from tqdm import tqdm

from qa_generation import cache_files
from qa_generation.blind_sample import draw_sample, sample_groups
from qa_generation.errors import OutputError
from qa_generation.make_scene import SceneJob, pool_scene, settle_scene, sift_scene, survey_scene
from qa_generation.name_priors import MIN_SCENES, Learner, NamePriors
from qa_generation.prompts import ALL_CHOICE_TYPES, ALL_TYPES
from qa_generation.seeding import stable_int
from qa_generation.shards import shard_fingerprint, shard_path
from qa_generation.splits import TRAIN, WARMUP
from qa_generation.workers import Outcome

Backend = Callable[[Callable[[str], Any], Iterable[str]], Iterator[Outcome[str, Any]]]
# the plan looks at so many questions of a type, from no more scenes than this, whatever the set's size
MOST_SAMPLED, MOST_SCENES = 12_000, 1_000
# plans one after the other: the second sees as many questions as the first, but only of those that it left
SIFTINGS = 2


class Runner:
    """Runs a function over scenes by some backend, with a bar, and keeps the reasons of those that fail."""

    def __init__(
        self,
        run_all: Backend,
        progress: bool,
    ) -> None:
        self._run_all = run_all
        self._progress = progress

    def each(
        self,
        function: Callable[[str], object],
        scene_ids: Sequence[str],
        title: str,
        failed: Callable[[str, str], object],
    ) -> None:
        """Does the work; ``failed`` takes a scene and its reason.

        Raises:
            OutputError: when one of them could not write, since none could then.
        """
        if not scene_ids:
            return
        # disable=None hides the bar where stderr is no terminal
        with tqdm(total=len(scene_ids), desc=title, unit="scene", disable=None if self._progress else True) as bar:
            for outcome in self._run_all(function, scene_ids):
                if outcome.fatal:
                    raise OutputError(outcome.reason)
                if outcome.result is None:
                    bar.write(f"scene {outcome.item} skipped: {outcome.reason}", file=sys.stderr)
                    failed(outcome.item, outcome.reason)
                bar.update()


@dataclass
class Rounds:
    """The rounds of one run.

    Attributes:
        job: settings; names and plan are filled in between the rounds.
        scene_ids: all scenes of the dataset.
        mine: those this run works on.
        runner: how work is done.
        failures: scene -> reason, of all runs once ``go`` has ended.
        waiting: what another run has to do first; empty when all rounds are done.
    """

    job: SceneJob
    scene_ids: Sequence[str]
    mine: Sequence[str]
    runner: Runner
    failures: dict[str, str] = field(default_factory=dict)
    waiting: str = ""

    def go(self) -> None:
        """Does as many rounds as can be done."""
        for scene_id in self.mine:
            cache_files.forget_failure(self.job.state_dir, scene_id)
        if self._survey() and self._pool():
            self._settle()

    def _each(self, function: Callable[[SceneJob, str], object], scene_ids: Sequence[str], title: str) -> None:
        self.runner.each(partial(function, self.job), scene_ids, title, self._failed)

    def _failed(self, scene_id: str, reason: str) -> None:
        self.failures[scene_id] = reason
        cache_files.write_failure(self.job.state_dir, scene_id, self.job.settings, reason)

    def _alive(self, scene_ids: Sequence[str]) -> list[str]:
        return [scene_id for scene_id in scene_ids if scene_id not in self.failures]

    def _others_done(self, done: Callable[[str], bool], scene_ids: Sequence[str], title: str) -> bool:
        """Whether no scene is missing for want of another run; notes their failures, or what is waited for."""
        missing = []
        for scene_id in self._alive(scene_ids):
            if not done(scene_id):
                reason = cache_files.read_failure(self.job.state_dir, scene_id, self.job.settings)
                if reason is None:
                    missing.append(scene_id)
                else:
                    self.failures[scene_id] = reason
        if missing:
            self.waiting = f"{title} of {len(missing)} scenes by other shards, e.g. {missing[0]}"
        return not missing

    # --- survey ---------------------------------------------------------------------------------------------------

    def _survey(self) -> bool:
        job = self.job
        if not job.config.name_balance or len(self.scene_ids) < MIN_SCENES:
            return True

        def done(scene_id: str) -> bool:
            return cache_files.read_survey(job.state_dir, scene_id, job.settings) is not None

        self._each(survey_scene, [s for s in self.mine if not done(s)], "annotate")
        if not self._others_done(done, self.scene_ids, "annotation"):
            return False
        self.job = replace(job, names=self._learned())
        return True

    def _learned(self) -> NamePriors | None:
        learner = Learner()
        for scene_id in self._alive(self.scene_ids):
            survey = cache_files.read_survey(self.job.state_dir, scene_id, self.job.settings)
            if survey is not None:
                learner.add(survey)
        return learner.learned()

    # --- pool -----------------------------------------------------------------------------------------------------

    def _pool(self) -> bool:
        # scenes that joined later change what is learned, and then the others are made anew
        self._each(pool_scene, [s for s in self._alive(self.mine) if not self._pooled(s)], "questions")
        if self.job.config.blind is None:
            return True
        return all(self._sift(last=number == SIFTINGS) for number in range(1, SIFTINGS + 1))

    def _sift(self, last: bool) -> bool:
        """Fits a plan to the pools; has it applied to them, or leaves that to the last round."""
        sampled = self._sampled()
        if sampled is None:
            return False
        self.job = replace(self.job, plan_id=self._plan_id(sampled))
        after = self.job.passed()

        def done(scene_id: str) -> bool:
            return shard_fingerprint(after.pool_path(scene_id)) == after.pool_fingerprint

        todo = self._unsettled() if last else [s for s in self._alive(self.mine) if not done(s)]
        if todo:
            # scikit-learn is heavy to import and not needed where all is settled
            from qa_generation.blind.fit import fit_groups

            config = self.job.config.blind
            plan = fit_groups(sample_groups(self._sample(sampled)), config, self.job.seed + self.job.stage)
            cache_files.write_summary(self.job.state_dir, self.job.plan_id, self._summary(plan.summary()))
            self.job = replace(self.job, plan=plan)
        if last:
            return True
        self._each(sift_scene, todo, "sift")
        self.job = after
        return self._others_done(done, self.scene_ids, "sifting")

    def _summary(self, now: Mapping[str, Any]) -> Mapping[str, Any]:
        """What this plan found, together with those before it."""
        earlier = cache_files.read_summary(self.job.state_dir, self.job.made_by)
        if earlier is None:
            return now
        joined = {name: _joined(earlier["types"].get(name), of) for name, of in now["types"].items()}
        return {**now, "types": {**earlier["types"], **joined}}

    def _pooled(self, scene_id: str) -> bool:
        return shard_fingerprint(self.job.pool_path(scene_id)) == self.job.pool_fingerprint

    def _sampled(self) -> list[str] | None:
        """The scenes that a plan is fitted to, in an order that says nothing about them; None where some wait."""
        ranked = sorted(self.scene_ids, key=lambda s: (stable_int(self.job.seed, "blind sample", s), s))[:MOST_SCENES]
        if not self._others_done(self._pooled, ranked, "questions"):
            return None
        return self._alive(ranked)

    def _sample(self, scene_ids: Sequence[str]) -> list[bytes]:
        """A few questions of every type from each scene."""
        of_each = max(1, ceil(MOST_SAMPLED / max(len(scene_ids), 1)))
        # lengths and points are even after one plan, and a second would leave few of them
        types = ALL_CHOICE_TYPES if self.job.stage else ALL_TYPES
        return draw_sample((self.job.pool_path(s) for s in scene_ids), types, of_each, self.job.seed)

    def _plan_id(self, scene_ids: Sequence[str]) -> str:
        text = json.dumps([self.job.stage, self.job.pool_fingerprint, sorted(scene_ids)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # --- settle ---------------------------------------------------------------------------------------------------

    def _settled(self, scene_id: str) -> bool:
        return settled_with(self.job, scene_id) == self.job.fingerprint

    def _unsettled(self) -> list[str]:
        return [s for s in self._alive(self.mine) if not self._settled(s)]

    def _settle(self) -> None:
        self._each(settle_scene, self._unsettled(), "settle")
        self._others_done(self._settled, self.scene_ids, "questions")


def _joined(earlier: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Mapping[str, Any]:
    """What two plans, one after the other, did to one type."""
    if not earlier or "before" not in earlier:
        return now
    if "after" not in now:
        return earlier
    kept = earlier["kept"] * now["kept"] / max(now["records"], 1)
    return {**earlier, "kept": round(kept), "after": now["after"], "baseline": now["baseline"]}


def settled_with(job: SceneJob, scene_id: str) -> str | None:
    """Fingerprint of the scene's complete shards, None where one is missing."""
    split = job.assigned[scene_id]
    wanted = [split, WARMUP] if split == TRAIN and job.config.warmup else [split]
    found = {shard_fingerprint(shard_path(job.out, name, scene_id)) for name in wanted}
    return found.pop() if len(found) == 1 else None
