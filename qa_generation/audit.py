"""Works out every answer of a dataset a second time, from the words of its records and the geometry of its scenes.

The path is apart from the generator's: nothing of `visibility`, its cached tables or `tasks` is used. Views are looked
at with jittered rays between the pixel centres (`oracle.sight`), names, directions and lengths are worked out by code
of their own. A record *agrees*, *disagrees*, or is *borderline*: its answer hangs on a threshold that lies within the
sampling tolerance of what is counted, so that a grid of the same density in another place might say otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from qa_generation.errors import InputError
from qa_generation.oracle import choice, invariants, numbers
from qa_generation.oracle.place import Place
from qa_generation.oracle.rules import Rules
from qa_generation.oracle.sources import SceneRecords, list_scenes
from qa_generation.oracle.truth import Case, Finding, Verdict
from qa_generation.oracle.wording import WordingError, read_options, read_question, split_type
from qa_generation.orbit.capture import ObjectCapture
from qa_generation.orbit.recheck import recheck_capture
from qa_generation.prompts import ORBIT_NUMERIC_TYPES, ORBIT_TYPES
from qa_generation.readers.base import SceneReader
from qa_generation.records import QARecord
from qa_generation.scene import Scene
from qa_generation.workers import run_all

MOST_LISTED = 10_000


@dataclass(frozen=True)
class AuditConfig:
    """Settings of the audit.

    Attributes:
        samples: rays per pixel of the counting grid along each side; 3 gives nine independent counts.
        max_side: longer side of the counting grid that the records were made with, pixels.
        margin_m: gap that decides a relation where it is not the documented one of the scene's kind.
        labels: also recompute occlusion, truncation and coverage.
        seed: of the jitter.
    """

    samples: int = 3
    max_side: int = 640
    margin_m: float | None = None
    labels: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.samples <= 8:
            raise InputError(f"samples is {self.samples}, expected 2 to 8 rays per pixel side")
        if not 16 <= self.max_side <= 8192:
            raise InputError(f"max_side is {self.max_side}, expected 16 to 8192 pixels")


@dataclass
class Tally:
    """Counts of one question type.

    Attributes:
        verdicts: of the answers.
        thresholds: what borderline answers hang on.
        rules: records with every invariant kept, one that hangs on a threshold, and one broken.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    thresholds: Counter[str] = field(default_factory=Counter)
    rules: Counter[Verdict] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.verdicts.total()


@dataclass
class AuditReport:
    """What an audit found.

    Attributes:
        types: question type -> counts.
        not_audited: question type -> records of types that the audit does not know.
        disagreements: every record whose answer or invariants are wrong, at most ``MOST_LISTED``.
        borderline: records that hang on a threshold, at most ``MOST_LISTED``.
        failures: scene -> why its records could not be looked at.
        duplicates: ids that stand on several records.
    """

    types: dict[str, Tally] = field(default_factory=dict)
    not_audited: Counter[str] = field(default_factory=Counter)
    disagreements: list[Finding] = field(default_factory=list)
    borderline: list[Finding] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    scenes: int = 0

    def add(self, finding: Finding) -> None:
        """Counts one record."""
        tally = self.types.setdefault(finding.question_type, Tally())
        tally.verdicts[finding.verdict] += 1
        tally.thresholds.update(finding.thresholds)
        rules: Verdict = "disagree" if finding.broken_rules else "borderline" if finding.doubtful_rules else "agree"
        tally.rules[rules] += 1
        listed = self.disagreements if "disagree" in (finding.verdict, rules) else self.borderline
        if (finding.verdict, rules) != ("agree", "agree") and len(listed) < MOST_LISTED:
            listed.append(finding)

    def verdicts(self, kind: str = "all") -> Counter[Verdict]:
        """Counts over all types, or over ``choice`` or ``metric`` types alone."""
        total: Counter[Verdict] = Counter()
        for question_type, tally in self.types.items():
            metric = question_type in numbers.UNITS or question_type in ORBIT_NUMERIC_TYPES
            if kind == "all" or metric == (kind == "metric"):
                total += tally.verdicts
        return total

    def agreement(self, kind: str = "all") -> float:
        """Share of the decided answers, those not borderline, that agree; 1 where there is none."""
        verdicts = self.verdicts(kind)
        decided = verdicts["agree"] + verdicts["disagree"]
        return verdicts["agree"] / decided if decided else 1.0

    @property
    def broken(self) -> int:
        """Records with a broken invariant."""
        return sum(tally.rules["disagree"] for tally in self.types.values())

    def shortcomings(self, bar: float, most_borderline: float) -> list[str]:
        """Why the dataset does not pass; empty where it does."""
        found = []
        for kind in ("choice", "metric"):
            verdicts = self.verdicts(kind)
            if self.agreement(kind) < bar:
                found.append(f"{self.agreement(kind):.4%} of the {kind} answers agree, expected {bar:.2%}")
            if verdicts["borderline"] > most_borderline * verdicts.total():
                share = verdicts["borderline"] / verdicts.total()
                found.append(
                    f"{share:.2%} of the {kind} answers are borderline, expected at most {most_borderline:.2%}"
                )
        records = self.verdicts().total()
        if self.broken > (1.0 - bar) * records:
            found.append(f"{self.broken} of {records} records break a rule of records")
        if self.duplicates:
            found.append(f"the id {self.duplicates[0]} stands on several records")
        if self.failures:
            found.append(f"{len(self.failures)} of {self.scenes} scenes could not be looked at")
        if not records:
            found.append("no record was audited")
        return found

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "scenes": self.scenes,
            "types": {
                name: {
                    "answers": dict(tally.verdicts),
                    "rules": dict(tally.rules),
                    "borderline_thresholds": dict(tally.thresholds.most_common()),
                }
                for name, tally in sorted(self.types.items())
            },
            "agreement": {kind: self.agreement(kind) for kind in ("choice", "metric", "all")},
            "not_audited": dict(sorted(self.not_audited.items())),
            "failures": self.failures,
            "duplicate_ids": self.duplicates,
            "disagreements": [asdict(finding) for finding in self.disagreements],
            "borderline": [asdict(finding) for finding in self.borderline],
        }


def audit_dataset(
    source: Path,
    open_scenes: Callable[[str], SceneReader],
    config: AuditConfig | None = None,
    *,
    limit: int | None = None,
    workers: int = 1,
    progress: bool = False,
) -> AuditReport:
    """The audit of all records below ``source``, one scene at a time.

    Args:
        source: dataset folder with ``data/*/*.parquet``, one Parquet file, or a published JSON file.
        open_scenes: gives the reader for the dataset name that records carry.
        limit: only the first so many scenes.
        workers: processes; 0 works in this one.
        progress: show a bar on a terminal.

    Raises:
        InputError: nothing to audit. A scene that cannot be read does not raise: it is in the report.
    """
    scenes = list_scenes(source)[:limit]
    readers = {dataset: open_scenes(dataset) for dataset in sorted({records.dataset for records in scenes})}
    report, ids = AuditReport(scenes=len(scenes)), Counter[str]()
    work = partial(_audit_one, readers, config or AuditConfig())
    with tqdm(total=len(scenes), desc="audit", unit="scene", disable=None if progress else True) as bar:
        for outcome in run_all(work, scenes, workers):
            if outcome.result is None:
                report.failures[outcome.item.scene_id] = outcome.reason
            else:
                findings, unknown = outcome.result
                for finding in findings:
                    report.add(finding)
                report.not_audited.update(unknown)
                ids.update(finding.record_id for finding in findings)
            bar.update()
    report.duplicates = sorted(key for key, number in ids.items() if number > 1)
    # wrong answers first, then broken rules of records with right ones
    report.disagreements.sort(key=lambda finding: (finding.verdict != "disagree", finding.record_id))
    report.borderline.sort(key=lambda finding: finding.record_id)
    return report


def _audit_one(
    readers: Mapping[str, SceneReader], config: AuditConfig, records: SceneRecords
) -> tuple[list[Finding], Counter[str]]:
    unknown: Counter[str] = Counter()
    scene = readers[records.dataset].read(records.scene_id)
    findings = list(audit_scene(scene, _known(records.read(), unknown), config))
    return findings, unknown


def _known(records: Iterable[QARecord], unknown: Counter[str]) -> Iterator[QARecord]:
    for record in records:
        if auditable(record.question_type):
            yield record
        else:
            unknown[record.question_type] += 1


def auditable(question_type: str) -> bool:
    """Whether the audit knows the type."""
    if question_type in ORBIT_TYPES:
        return True
    family, _ = split_type(question_type)
    return family in choice.FAMILIES or family in numbers.FAMILIES


def audit_scene(
    scene: Scene | ObjectCapture, records: Iterable[QARecord], config: AuditConfig | None = None
) -> Iterator[Finding]:
    """One finding per record, all of which are about this scene or object."""
    if isinstance(scene, ObjectCapture):
        return recheck_capture(scene, records)
    place = place_of(scene, config)
    labels = config is None or config.labels
    return (audit_record(record, place, labels=labels) for record in records)


def place_of(scene: Scene, config: AuditConfig | None = None) -> Place:
    """The scene ready to be looked at."""
    config = config or AuditConfig()
    rules = Rules.of(scene.kind)
    changed: dict[str, Any] = {"max_side": config.max_side}
    if config.margin_m is not None:
        changed["margin_m"] = config.margin_m
    return Place(scene, Rules(**(asdict(rules) | changed)), config.samples, config.seed)


def audit_record(record: QARecord, place: Place, *, labels: bool = True) -> Finding:
    """What is found of one record of the place's scene."""
    answer, rules = Case(), Case()
    invariants.check_form(rules, record)
    if not invariants.check_frames(rules, place, record):
        answer.wrong.append("a frame of the record is not in the scene")
    else:
        try:
            _judge(answer, rules, record, place)
        except WordingError as error:
            answer.wrong.append(str(error))
        invariants.check_overlap(rules, place, record)
        if labels:
            invariants.check_labels(rules, place, record)
    claimed = record.mc_answer if record.options else record.ground_truth
    return Finding(
        record_id=record.id,
        question_type=record.question_type,
        verdict=answer.verdict,
        claimed=claimed,
        recomputed=answer.found,
        why=answer.why,
        thresholds=answer.thresholds,
        broken_rules=tuple(rules.wrong),
        doubtful_rules=tuple(doubt.text for doubt in rules.doubts),
    )


def _judge(answer: Case, rules: Case, record: QARecord, place: Place) -> None:
    asked = read_question(record.question_type, record.question, record.frames)
    invariants.check_names(rules, place, record, asked)
    scope = choice.Scope(asked, record.frames, tuple(record.coord_size))  # type: ignore[arg-type]
    if asked.family in numbers.FAMILIES:
        numbers.judge(answer, place, scope, record)
        return
    texts = read_options(record.options)
    choice.judge(answer, place, scope, texts, record.mc_answer)
    if asked.family == "obj_attribute_occ" and record.mc_answer in texts:
        choice.hidden_answer(answer, place, scope, texts[record.mc_answer])


def write_report(path: Path, report: AuditReport) -> None:
    """The report as JSON; the name appears only when it is complete."""
    partial_path = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path.write_text(json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial_path.replace(path)


def same_reader(reader: SceneReader) -> Callable[[str], SceneReader]:
    """For `audit_dataset`: this reader whatever the records call their dataset."""
    return lambda dataset: reader


__all__: Sequence[str] = (
    "AuditConfig",
    "AuditReport",
    "audit_dataset",
    "audit_record",
    "audit_scene",
    "auditable",
    "place_of",
    "same_reader",
    "write_report",
)
