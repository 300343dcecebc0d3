"""How one question with its true answer is written down for training: as a letter, in words, or words then letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from qa_generation.prompts import ALL_TYPES, POST_NUMERIC, PREAMBLE, is_choice, question_prompt
from qa_generation.records import QARecord

AnswerStyle = Literal["letter", "words", "words_then_letter", "every_letter"]
ANSWER_STYLES: tuple[str, ...] = get_args(AnswerStyle)


@dataclass(frozen=True)
class Exchange:
    """One question as the model reads it and the answer it shall give.

    Attributes:
        question_id: id of the record.
        question_type: one of the 17 published ids.
        question: text of the user's turn after the views.
        answer: text of the assistant's turn.
        candidates: answer texts of all options in the same style, the true one included; empty without options.
        letter_only: of the answer only what follows the thought is learned.
    """

    question_id: str
    question_type: str
    question: str
    answer: str
    candidates: tuple[str, ...] = ()
    letter_only: bool = False

    def candidate_exchanges(self) -> list[Exchange]:
        """The same question once with each candidate as its answer."""
        return [replace(self, answer=candidate, candidates=()) for candidate in self.candidates]

    def every_letter(self) -> list[Exchange]:
        """The same with each option as the thought; where it is not the true one, only its letter is learned."""
        others = self.candidate_exchanges() or [self]
        return [replace(other, letter_only=other.answer != self.answer) for other in others]


def option_text(option: str) -> str:
    """``A. red chair`` -> ``red chair``."""
    return option.partition(". ")[2]


def write_exchange(record: QARecord, style: AnswerStyle) -> Exchange:
    """The record in one style.

    ``letter`` is the published form (only the letter). ``words`` shows no options and wants the words of the answer;
    they begin with a space, so that they are the same tokens as in the middle of a text. ``words_then_letter`` shows
    the options and answers ``<think>words</think>letter``; with ``every_letter`` `TrainingViewSets` does so with every
    option as the thought (`Exchange.every_letter`). Published numbers and points are answered as they are in every
    style, auxiliary questions in words.
    """
    if not is_choice(record.question_type):
        text = question_prompt(record.question_type, record.question, ())
        published = record.question_type in ALL_TYPES
        return Exchange(record.id, record.question_type, text, f"{'' if published else ' '}{record.ground_truth}")
    letters = [option.partition(". ")[0] for option in record.options]
    words = [f" {option_text(option)}" for option in record.options]
    if style == "words":
        text = "\n".join([PREAMBLE, record.question, POST_NUMERIC])
        candidates = words
    else:
        text = question_prompt(record.question_type, record.question, record.options)
        candidates = letters
        if style in ("words_then_letter", "every_letter"):
            candidates = [f"<think>{word}</think>{letter}" for word, letter in zip(words, letters, strict=True)]
    answer = candidates[letters.index(record.mc_answer)]
    return Exchange(record.id, record.question_type, text, answer, tuple(candidates))


def shuffle_options(record: QARecord, rng: np.random.Generator) -> QARecord:
    """The same record with its options in another order, lettered anew."""
    if not record.options:
        return record
    order = rng.permutation(len(record.options)).tolist()
    letters = [option.partition(". ")[0] for option in record.options]
    options = tuple(f"{letters[i]}. {option_text(record.options[j])}" for i, j in enumerate(order))
    return replace(record, options=options, mc_answer=letters[order.index(letters.index(record.mc_answer))])


def draw_style(shares: dict[str, float], rng: np.random.Generator) -> AnswerStyle:
    """One style, drawn by its share."""
    names = sorted(shares)
    weights = np.array([shares[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]  # type: ignore[return-value]


def check_shares(shares: dict[str, float], key: str) -> None:
    """Raises ``ValueError`` naming the key unless every name is a style and the shares are sensible."""
    unknown = [name for name in shares if name not in ANSWER_STYLES]
    if unknown or not shares:
        raise ValueError(f"{key} holds {unknown or 'nothing'}, expected shares of {', '.join(ANSWER_STYLES)}")
    if min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"{key} is {shares}, expected shares that are not negative and not all 0")


def prompt_texts(records: Sequence[QARecord]) -> list[str]:
    """All texts a model may read or write about these records, for training a tokenizer."""
    texts: list[str] = []
    for record in records:
        exchange = write_exchange(record, "words_then_letter")
        texts += [exchange.question, *exchange.candidates, exchange.answer]
    return texts
