"""One question of a neighbour, whatever file it came from, and how it is asked and scored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from benchmarks.neighbours.motions import MOTION_ACCURACY, motion_accuracy, parse_motions
from benchmarks.spatialmosaic.prompt import IMAGE
from benchmarks.spatialmosaic.repair import score_repaired
from benchmarks.spatialmosaic.results import ScoredAnswer
from benchmarks.spatialmosaic.scoring import is_parsed, parse_number, score_prediction
from qa_generation.prompts import POST_CHOICE, POST_NUMERIC, PREAMBLE
from spatialvlm.conversation import build_messages

Kind = Literal["choice", "number", "motion", "none"]
Record = Mapping[str, Any]

# the types of ours that are scored by the same rule: exact match of the letter, mean relative accuracy
_SCORED_AS = {"choice": "obj_count_occ", "number": "obj_count_occ_na"}
_OFFERED = re.compile(r"(?m)^\s*\(?([A-F])[.):]\s*\S|(?<=[\s;,])\(?([A-F])[.):]\s+\S")


def kind_of(record: Record) -> Kind:
    """How the answer is given, told from the answer itself; ``none`` where it cannot be told."""
    if record["mc_answer"]:
        return "choice"
    if parse_number(record["ground_truth"]) is not None:
        return "number"
    return "motion" if parse_motions(record["ground_truth"]) else "none"


def user_text(record: Record) -> str:
    """The user turn: views, then preamble, question, options and instruction as VSI-Bench has them, one per line.

    A question that brings its options along gets no second list of them; one that says how to answer, no instruction.
    """
    options = list(record["options"])
    question = str(record["question"]).replace(IMAGE, "").strip()
    listed = [] if not options or offered_letters(question) else ["Options:", *options]
    post = {"choice": POST_CHOICE, "number": POST_NUMERIC}.get(kind_of(record))
    parts = [PREAMBLE, question, *listed, *([post] if post and post not in question else [])]
    (message,) = build_messages(["" for _ in record["images"]], "\n".join(parts))
    return "".join(IMAGE if part["type"] == "image" else part["text"] for part in message["content"])


def surrogate(record: Record) -> dict[str, Any]:
    """The record of a choice or number under the type of ours that is scored by the same rule."""
    return {**record, "question_type": _SCORED_AS[kind_of(record)]}


def offered_letters(question: str) -> list[str]:
    """The letters that a question offers in its own text, as ``A. ...`` lines or in a row."""
    found = [line or inline for line, inline in _OFFERED.findall(question)]
    return sorted(set(found)) if len(set(found)) > 1 else []


def score(record: Record, prediction: str, response: str) -> ScoredAnswer:
    """The scored answer, by the published rules and leniently."""
    kind = kind_of(record)
    if kind in _SCORED_AS:
        asked = surrogate(record)
        metric, strict = score_prediction(asked, prediction, mode="safe")
        parsed = is_parsed(asked, prediction)
        lenient, readable = score_repaired(asked, prediction)
    else:
        metric, found = MOTION_ACCURACY, parse_motions(prediction)
        strict = lenient = motion_accuracy(found, parse_motions(record["ground_truth"]))
        parsed = readable = bool(found)
    return ScoredAnswer(
        id=str(record["id"]),
        dataset=str(record["dataset"]),
        scene_name=str(record["scene_name"]),
        question_type=str(record["question_type"]),
        views=len(record["images"]),
        target=record["mc_answer"] or record["ground_truth"],
        response=response,
        prediction=prediction,
        metric=metric,
        score=strict,
        parsed=parsed,
        score_repaired=lenient,
        parsed_repaired=readable,
    )
