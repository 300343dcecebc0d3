"""Questions with a number or a point for an answer, read as choices between bins of it.

A bin holds answers that score alike when one of them is guessed: a span of the logarithm of a number, a cell of the
canvas. What a text tells about the answer is then told by the same models as for options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from qa_generation.blind import scores
from qa_generation.blind.keys import ANSWER_KEYS, key_matrix
from qa_generation.blind.option_table import OptionTable
from qa_generation.blind.reading import code, read_question
from qa_generation.errors import InputError
from qa_generation.prompts import POINT_TYPES
from qa_generation.records import QARecord

BINS, SIDE = 12, 4


@dataclass(frozen=True, eq=False)
class Answers:
    """True answers of questions of one type.

    Attributes:
        value: (records, 1) numbers or (records, 2) pixels.
        canvas: (records, 2) size of the picture that points lie on, pixels.
        diagonal_px: of the true 2D box, for points; 0 for numbers.
    """

    value: Float[np.ndarray, "records dims"]
    canvas: Float[np.ndarray, "records 2"]
    diagonal_px: Float[np.ndarray, " records"]

    @classmethod
    def of(cls, records: Sequence[QARecord]) -> Answers:
        """Reads the ground truths; raises ``InputError`` naming the record whose answer is none."""
        return cls(
            np.array([parse_answer(record) for record in records], dtype=np.float64),
            np.array([record.coord_size for record in records], dtype=np.float64),
            np.array([record.bbox_2d_diag for record in records], dtype=np.float64),
        )

    @property
    def are_points(self) -> bool:
        """Whether they are pixels and not numbers."""
        return self.value.shape[1] == 2

    def only(self, rows: np.ndarray) -> Answers:
        """Those of some records."""
        return Answers(self.value[rows], self.canvas[rows], self.diagonal_px[rows])

    def score(self, guess: Float[np.ndarray, "records dims"]) -> Float[np.ndarray, " records"]:
        """MRA or MPA of a guess per record, 0-1."""
        if self.are_points:
            return scores.point_accuracy(guess, self.value, self.diagonal_px)
        return scores.relative_accuracy(guess[:, 0], self.value[:, 0])

    def constant(self) -> Float[np.ndarray, " dims"]:
        """The one guess that scores best on all of these."""
        if self.are_points:
            return scores.best_point(self.value, self.diagonal_px)
        return np.array([scores.best_constant(self.value[:, 0])])

    def guesses(self) -> Float[np.ndarray, "guesses dims"]:
        """What is worth guessing on answers like these."""
        if self.are_points:
            return scores.point_candidates(self.value)
        return scores.number_candidates(self.value[:, 0])[:, None]


def parse_answer(record: QARecord) -> tuple[float, ...]:
    """The number or pixel of a ground truth; raises ``InputError`` where there is none."""
    point = record.question_type in POINT_TYPES
    try:
        values = tuple(float(part) for part in record.ground_truth.strip("() ").split(","))
    except ValueError:
        values = ()
    if len(values) != (2 if point else 1):
        expected = "a point such as (120,45)" if point else "a number"
        raise InputError(f"record {record.id!r}: ground_truth is {record.ground_truth!r}, expected {expected}")
    return values


@dataclass(frozen=True, eq=False)
class Bins:
    """Where one bin of answers ends and the next begins: edges of log10 of a number, or of x and of y in shares."""

    edges: tuple[Float[np.ndarray, " edges"], ...]

    @classmethod
    def of(cls, answers: Answers, most: int = BINS, side: int = SIDE) -> Bins:
        """Bins of about equal numbers of answers; whole numbers that are few have a bin each."""
        plane = _plane(answers)
        return cls(tuple(_edges(column, side if answers.are_points else most) for column in plane.T))

    @property
    def number(self) -> int:
        """How many bins there are."""
        return int(np.prod([len(edges) + 1 for edges in self.edges]))

    def index(self, answers: Answers) -> Int[np.ndarray, " records"]:
        """The bin of every answer."""
        result = np.zeros(len(answers.value), dtype=np.int64)
        for column, edges in zip(_plane(answers).T, self.edges, strict=True):
            result = result * (len(edges) + 1) + np.searchsorted(edges, column, side="right")
        return result


def _plane(answers: Answers) -> Float[np.ndarray, "records dims"]:
    if answers.are_points:
        return answers.value / answers.canvas
    return np.log10(np.maximum(answers.value, 1e-3))


def _edges(column: Float[np.ndarray, " records"], most: int) -> Float[np.ndarray, " edges"]:
    values = np.unique(column)
    if len(values) <= most:
        return (values[1:] + values[:-1]) / 2
    return np.unique(np.quantile(column, np.linspace(0, 1, most + 1)[1:-1]))


def answer_table(records: Sequence[QARecord], bins: Bins, prior: Float[np.ndarray, " bins"]) -> OptionTable:
    """A row per question and bin.

    Args:
        records: of one type.
        bins: where they part.
        prior: share of the answers per bin.
    """
    index = bins.index(Answers.of(records))
    number, count = bins.number, len(records)
    questions = [read_question(record) for record in records]

    def tiled(values: Sequence[int]) -> np.ndarray:
        return np.repeat(np.array(values, dtype=np.int64), number).astype(np.uint64)

    rows = np.tile(np.arange(number), count)
    across = len(bins.edges[-1]) + 1
    names = [tuple(sorted((q.target, q.reference))) for q in questions]
    columns = {
        "bin": rows.astype(np.uint64) + np.uint64(1),
        "row": (rows % across).astype(np.uint64) + np.uint64(1),
        "column": (rows // across).astype(np.uint64) + np.uint64(1),
        "target": tiled([code(q.target) - (1 << 63) for q in questions]),
        "reference": tiled([code(q.reference) - (1 << 63) for q in questions]),
        "pair": tiled([code("|".join(pair)) - (1 << 63) for pair in names]),
        "frames": tiled([q.frames for q in questions]),
        "query": tiled([q.frame for q in questions]),
    }
    about = np.array([[q.frames, q.frame] for q in questions], dtype=np.float64)
    where = np.stack([rows, rows % across, rows // across], axis=1)
    return OptionTable(
        slot=np.arange(count * number),
        shape=(count, number),
        keys=key_matrix(columns, ANSWER_KEYS),
        numbers=np.concatenate([where, np.repeat(about, number, axis=0)], axis=1).astype(np.float64),
        position=rows,
        prior=np.tile(prior, count),
        truth=rows == np.repeat(index, number),
    )


@dataclass(frozen=True, eq=False)
class Guesser:
    """Turns probabilities of bins into the guess with the best expected score.

    Attributes:
        guesses: (guesses, dims) what is worth guessing.
        worth: (guesses, bins) mean score of each guess on the answers in a bin.
    """

    guesses: Float[np.ndarray, "guesses dims"]
    worth: Float[np.ndarray, "guesses bins"]

    @classmethod
    def of(cls, learned: Answers, bin_of: Int[np.ndarray, " learned"], bins: int) -> Guesser:
        """Learns what guesses are worth from answers and their bins."""
        guesses = learned.guesses()
        score = np.stack([learned.score(np.broadcast_to(guess, learned.value.shape)) for guess in guesses])
        member = np.zeros((len(bin_of), bins))
        member[np.arange(len(bin_of)), bin_of] = 1.0
        return cls(guesses, (score @ member) / np.maximum(member.sum(axis=0), 1.0))

    def guess(self, probability: Float[np.ndarray, "records bins"]) -> Float[np.ndarray, "records dims"]:
        """The best guess for every question."""
        return self.guesses[np.argmax(np.round(probability @ self.worth.T, 9), axis=1)]
