"""Category names of a scene: which may be asked about, and which name the same kind of thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

_IRREGULAR = {"shelves": "shelf", "bookshelves": "bookshelf", "knives": "knife", "people": "person", "mice": "mouse"}


def normalised(category: str) -> str:
    """Lower case, single spaces and singular head noun, e.g. ``Office  Chairs`` gives ``office chair``."""
    words = category.lower().replace("_", " ").replace("-", " ").split()
    if not words:
        return ""
    return " ".join([*words[:-1], _singular(words[-1])])


def names_one_thing(category: str) -> bool:
    """Whether an instance of this label is one object; ``books`` and ``clothes`` label heaps, which are not counted."""
    return normalised(category) == " ".join(category.lower().replace("_", " ").replace("-", " ").split())


def _singular(noun: str) -> str:
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def same_kind(first: str, second: str) -> bool:
    """Whether one name may also stand for the other: equal, or one ends in the other (``office chair``, ``chair``)."""
    a, b = normalised(first).split(), normalised(second).split()
    shorter = min(len(a), len(b))
    return shorter > 0 and a[-shorter:] == b[-shorter:]


def kinship(categories: Sequence[str]) -> Bool[np.ndarray, "categories categories"]:
    """Matrix of `same_kind`; a question about one category must not be disturbed by instances of its kin."""
    return np.array([[same_kind(a, b) for b in categories] for a in categories], dtype=bool).reshape(
        len(categories), len(categories)
    )


def with_article(category: str) -> str:
    """``a chair``, ``an oven``, ``books``."""
    if not names_one_thing(category):
        return category
    return f"{'an' if category[:1].lower() in 'aeiou' else 'a'} {category}"
