"""`QARecord`, the one schema of a question with its checked answer, and its Arrow form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class QARecord:
    """One question about 2-5 views of one scene.

    The first block has the published test fields (SpatialMosaic, specs 1.2), the second is our superset.

    Attributes:
        id: stable, unique in the dataset, same for the same seed and inputs.
        dataset: reader's dataset name, e.g. ``scannet``.
        scene_name: scene id.
        question_type: one of the 17 published ids, or an id of our own (`prompts.ORBIT_TYPES`, `WARMUP_TYPES`).
        frames: 2-5 view ids in the order shown; not sorted in time.
        question: one line without the options.
        options: ``"A. text"`` strings; empty for numeric and point types.
        mc_answer: letter of the true option, empty for numeric and point types.
        ground_truth: text of the true answer (option text without its letter, number, or ``(x,y)``).
        overlap_avg: mean pairwise view overlap, percent; overlap_max: largest pair, percent.
        occlusion_avg: mean combined occlusion of the asked instances over the frames that show them, 0-1.
        occ_level, overlap_level, vis_level, gt_scenario: labels (specs 4.7).
        bbox_2d: visible box of the target in the query frame, pixels of ``coord_size``; empty where not asked.
        bbox_2d_diag: its diagonal, pixels; 0 where there is no box.
        images: picture of each frame, relative to the dataset root.
        view_set_id: same for all questions about the same views in the same order.
        frame_naming: ``stem`` or ``index``: how the question calls its frames.
        query_frame: view id the question is seen from, empty where there is none.
        target_category, reference_category: labels asked about; reference may be empty.
        target_ids, reference_ids: instance ids that decide the answer.
        coord_size: (width, height) of the canvas that coordinates in texts refer to, pixels.
        answer_value: the answer of a numeric question before rounding, in ``unit``; null for the others.
        unit: ``m``, ``cm`` or ``objects`` for numeric questions, ``px`` for points, else empty.
        truncation_avg: mean share of the asked instances' silhouettes that the frame cuts off, over the frames that
            show them, 0-1; ``trunc_level`` its label.
        bias_score: how likely a reader of the question alone finds the answer, 0-1 (`blind`); null where not audited.
        evidence: JSON list of ``{"frame", "instance_id", "role", "box"}``; boxes in pixels of ``coord_size``.
    """

    id: str
    dataset: str
    scene_name: str
    question_type: str
    frames: tuple[str, ...]
    question: str
    options: tuple[str, ...]
    mc_answer: str
    ground_truth: str
    overlap_avg: float
    occlusion_avg: float
    occ_level: str
    overlap_level: str
    vis_level: str
    gt_scenario: str
    bbox_2d: tuple[int, ...] = ()
    bbox_2d_diag: float = 0.0

    images: tuple[str, ...] = ()
    view_set_id: str = ""
    overlap_max: float = 0.0
    frame_naming: str = "stem"
    query_frame: str = ""
    target_category: str = ""
    reference_category: str = ""
    target_ids: tuple[int, ...] = ()
    reference_ids: tuple[int, ...] = ()
    coord_size: tuple[int, int] = (512, 512)
    answer_value: float | None = None
    unit: str = ""
    truncation_avg: float = 0.0
    trunc_level: str = ""
    bias_score: float | None = None
    evidence: str = "[]"

    @classmethod
    def from_row(cls, row: dict[str, Any], known: dict[Any, Any] | None = None) -> QARecord:
        """A record from one row of our Parquet files (lists become tuples; unknown columns are ignored).

        ``known`` collects values, so that equal ones of many records (names, options) take memory once.
        """
        names = {f.name for f in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in names}
        if known is not None:
            values = {k: known.setdefault((type(v), v), v) for k, v in values.items()}
        return cls(**values)


def _list(item: pa.DataType) -> pa.DataType:
    return pa.list_(item)


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("scene_name", pa.string()),
        ("question_type", pa.string()),
        ("frames", _list(pa.string())),
        ("question", pa.string()),
        ("options", _list(pa.string())),
        ("mc_answer", pa.string()),
        ("ground_truth", pa.string()),
        ("overlap_avg", pa.float64()),
        ("occlusion_avg", pa.float64()),
        ("occ_level", pa.string()),
        ("overlap_level", pa.string()),
        ("vis_level", pa.string()),
        ("gt_scenario", pa.string()),
        ("bbox_2d", _list(pa.int64())),
        ("bbox_2d_diag", pa.float64()),
        ("images", _list(pa.string())),
        ("view_set_id", pa.string()),
        ("overlap_max", pa.float64()),
        ("frame_naming", pa.string()),
        ("query_frame", pa.string()),
        ("target_category", pa.string()),
        ("reference_category", pa.string()),
        ("target_ids", _list(pa.int64())),
        ("reference_ids", _list(pa.int64())),
        ("coord_size", _list(pa.int64())),
        ("answer_value", pa.float64()),
        ("unit", pa.string()),
        ("truncation_avg", pa.float64()),
        ("trunc_level", pa.string()),
        ("bias_score", pa.float64()),
        ("evidence", pa.string()),
    ]
)


def to_records(table: pa.Table) -> Iterator[QARecord]:
    """The records of a table of ``SCHEMA``; columns that it lacks keep their defaults."""
    known: dict[Any, Any] = {}
    for row in table.to_pylist():
        yield QARecord.from_row(row, known)


def to_table(records: Iterable[QARecord]) -> pa.Table:
    """All records as one Arrow table of ``SCHEMA``, in the given order."""
    return pa.Table.from_pylist([asdict(record) for record in records], schema=SCHEMA)
