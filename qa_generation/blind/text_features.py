"""Texts as hashed words and pairs of words, for a classifier that knows nothing about how questions are made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import FeatureHasher

from qa_generation.blind.reading import read_option
from qa_generation.records import QARecord

BITS = 18
# words that nearly all questions of a type have tell nothing
COMMON_SHARE = 0.95
# nor do features met on fewer rows than this
LEAST_ROWS = 4
_WORDS = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")


def ngrams(text: str) -> list[str]:
    """Different words and pairs of neighbouring words of a lower-case text, sorted."""
    words = _WORDS.findall(text.lower())
    return sorted({*words, *(f"{first} {second}" for first, second in pairwise(words))})


def option_matrix(records: Sequence[QARecord]) -> csr_matrix:
    """One row per option: its words, letter and rank, alone and crossed with those of the question."""
    return _hashed(
        crossed
        for record, question in zip(records, _telling(records), strict=True)
        for crossed in (_with(own, question) for own in _options(record))
    )


def bin_matrix(records: Sequence[QARecord], bins: int) -> csr_matrix:
    """One row per question and bin of its answer: the bin crossed with the words of the question."""
    return _hashed(_with([f"bin {b}"], question) for question in _telling(records) for b in range(bins))


def _telling(records: Sequence[QARecord]) -> list[list[str]]:
    """The words of every question that not all share."""
    texts = [[f"{len(record.frames)} frames", *ngrams(record.question)] for record in records]
    common = Counter(word for words in texts for word in words)
    return [[word for word in words if common[word] < COMMON_SHARE * len(records)] for words in texts]


def _options(record: QARecord) -> list[list[str]]:
    numbers = sorted({read_option(option).number for option in record.options})
    return [
        [
            f"letter {index} of {len(record.options)}",
            f"rank {numbers.index(read_option(option).number)} of {len(numbers)}",
            *ngrams(option[2:]),
        ]
        for index, option in enumerate(record.options)
    ]


def _with(own: list[str], question: list[str]) -> list[str]:
    return own + [f"{name} | {word}" for name in own for word in question]


def _hashed(rows: Iterable[list[str]]) -> csr_matrix:
    matrix = FeatureHasher(1 << BITS, input_type="string", alternate_sign=False).transform(rows)
    met = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return matrix[:, np.flatnonzero(met >= LEAST_ROWS)]
