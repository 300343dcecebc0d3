"""Options of the questions of one type as rows: codes of what they say, and numbers about them beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from qa_generation.blind.form import form_prior
from qa_generation.blind.keys import key_matrix, recipes_of
from qa_generation.blind.reading import OptionText, QuestionText, code, frame_number, read_option, read_question
from qa_generation.records import QARecord

GRID = 6
NO_NUMBER = -1.0


@dataclass(frozen=True, eq=False)
class OptionTable:
    """All options of questions of one type.

    Attributes:
        slot: position of every row in a (records, most options) grid.
        shape: of that grid.
        keys: codes of the combinations that `keys.OPTION_KEYS` names.
        numbers: what is compared: ranks, positions, distances; missing ones are -1.
        position: 0 for option A and so on.
        prior: probability of the option before its words are weighed, see `form.form_prior`.
        truth: whether the option is the true one.
    """

    slot: Int[np.ndarray, " rows"]
    shape: tuple[int, int]
    keys: UInt64[np.ndarray, "rows keys"]
    numbers: Float[np.ndarray, "rows numbers"]
    position: Int[np.ndarray, " rows"]
    prior: Float[np.ndarray, " rows"]
    truth: Bool[np.ndarray, " rows"]

    @property
    def record(self) -> Int[np.ndarray, " rows"]:
        """Record number of every row."""
        return self.slot // self.shape[1]

    @property
    def counts(self) -> Int[np.ndarray, " records"]:
        """Options per record."""
        return np.bincount(self.record, minlength=self.shape[0])

    def grid(self, values: Float[np.ndarray, " rows"], fill: float = np.nan) -> Float[np.ndarray, "records options"]:
        """Values of rows side by side for every record."""
        spread = np.full(self.shape[0] * self.shape[1], fill)
        spread[self.slot] = values
        return spread.reshape(self.shape)

    def rows(self, grid: Float[np.ndarray, "records options"]) -> Float[np.ndarray, " rows"]:
        """Values of a grid as rows again."""
        return grid.ravel()[self.slot]


def option_table(records: Sequence[QARecord]) -> OptionTable:
    """The table of questions that all have one type, and options."""
    most = max((len(record.options) for record in records), default=1)
    columns: dict[str, list[int]] = {}
    numbers: list[list[float]] = []
    slots: list[int] = []
    prior: list[float] = []
    truth: list[bool] = []
    for index, record in enumerate(records):
        question = read_question(record)
        options = [read_option(option) for option in record.options]
        shown = [frame_number(option, record.frames) for option in record.options]
        rows = _option_rows(question, options, shown, record.coord_size)
        prior += form_prior(options)
        for position, (codes, values) in enumerate(rows):
            for name, value in codes.items():
                columns.setdefault(name, []).append(value)
            numbers.append(values)
            slots.append(index * most + position)
            truth.append(record.options[position][:1] == record.mc_answer)
    slot = np.array(slots, dtype=np.int64)
    codes64 = {name: np.array(values, dtype=np.int64).astype(np.uint64) for name, values in columns.items()}
    return OptionTable(
        slot=slot,
        shape=(len(records), most),
        keys=key_matrix(codes64, recipes_of(records[0].question_type)),
        numbers=np.array(numbers, dtype=np.float64),
        position=slot % most,
        prior=np.array(prior, dtype=np.float64),
        truth=np.array(truth, dtype=bool),
    )


def _option_rows(
    question: QuestionText, options: Sequence[OptionText], shown: Sequence[int], canvas: tuple[int, int]
) -> list[tuple[dict[str, int], list[float]]]:
    """Codes and numbers of every option of one question."""
    point = question.point
    shared = {
        "target": _code(question.target),
        "reference": _code(question.reference),
        "direction": question.claim,
        "frames": question.frames,
        "query": question.frame,
        "place": 0 if point is None else 1 + int(3 * point[0]) * 10 + int(3 * point[1]),
        "set": _code("|".join(sorted({option.rest for option in options}))),
    }
    context = [float(question.frames), float(question.frame), *(point or (NO_NUMBER, NO_NUMBER))]
    counted = sorted({option.number for option in options})
    geometry, figure = _geometry(options, canvas)
    rows = []
    for index, option in enumerate(options):
        claims = option.claims or ((question.claim,) if option.kind == 1 else (-question.claim,))
        rank = counted.index(option.number)
        codes = {
            **shared,
            **figure,
            **geometry[index][0],
            "kind": option.kind,
            "rest": _code(option.rest),
            "claim": _code(str(sorted(claims))),
            "first": claims[0],
            "second": claims[-1],
            "number": option.number,
            "rank": rank,
            "shown": shown[index],
        }
        signed = [float(np.sign(claims[0])) * value for value in context[2:]] if point else [0.0, 0.0]
        near = [counted[rank] - counted[rank - 1] if rank else 0, counted[-1] - counted[0], option.number, rank]
        rows.append((codes, [*context, *signed, *map(float, near), float(shown[index]), *geometry[index][1]]))
    return rows


GEOMETRY_NUMBERS = 13


def _geometry(
    options: Sequence[OptionText], canvas: tuple[int, int]
) -> tuple[list[tuple[dict[str, int], list[float]]], dict[str, int]]:
    """How the points of the options lie among themselves and on the canvas, in shares of its width and height."""
    at = [index for index, option in enumerate(options) if option.point is not None]
    blank = {"cell": 0, "row": 0, "column": 0, "out_rank": 0, "x_rank": 0, "y_rank": 0, "digits": 0}
    if len(at) < 2:
        rows = [(dict(blank), [NO_NUMBER] * GEOMETRY_NUMBERS) for _ in options]
        return rows, {"size": 0, "middle": 0}
    pixels = np.array([options[index].point for index in at], dtype=np.float64)
    places = pixels / np.asarray(canvas)
    between = np.linalg.norm(pixels[:, None] - pixels[None], axis=-1)
    sides = between.sum(axis=1) / (len(at) - 1)
    size, center = float(between.max() / max(canvas)), places.mean(axis=0)
    out = np.linalg.norm(places - 0.5, axis=1)
    border = np.minimum(places, 1.0 - places).min(axis=1)
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (out, *places.T, sides)]
    nearest = np.where(between > 0, between, np.inf).min(axis=1)
    cells = np.clip((places * GRID).astype(np.int64), 0, GRID - 1)
    figure = {"size": 1 + int(8 * size), "middle": 1 + int(4 * center[0]) * 10 + int(4 * center[1])}
    whole = [size, *map(float, center), float(out.min()), float(out.max())]
    rows = [(dict(blank), [NO_NUMBER] * (GEOMETRY_NUMBERS - 5) + whole) for _ in options]
    for i, index in enumerate(at):
        x, y = (int(v) for v in cells[i])
        codes = {"cell": 1 + x * 10 + y, "row": 1 + y, "column": 1 + x}
        codes |= {"out_rank": 1 + int(ranks[0][i]), "x_rank": 1 + int(ranks[1][i]), "y_rank": 1 + int(ranks[2][i])}
        codes |= {"digits": 1 + int(pixels[i, 0]) % 2 + 2 * (int(pixels[i, 1]) % 2)}
        own = [*places[i], out[i], border[i], np.linalg.norm(places[i] - center), float(ranks[3][i])]
        own += [nearest[i] / max(between.max(), 1.0), sides[i] / max(sides.mean(), 1.0)]
        rows[index] = (codes, [*map(float, own), *whole])
    return rows, figure


def _code(text: str) -> int:
    """A signed 64-bit code, 0 for the empty text."""
    return code(text) - (1 << 63) if text else 0
