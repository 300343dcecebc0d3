"""Keys: numbers that stand for "this name with this direction", "this category with this count" and the like.

A key joins columns of 64-bit codes into one code. Which columns are joined says what habits are looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt64

from qa_generation.blind.reading import code

Codes = UInt64[np.ndarray, " rows"]
Recipe = tuple[str, ...]

# of each family: combinations of columns of an option (see `option_table`) that may be true more often than chance
OPTION_KEYS: Mapping[str, tuple[Recipe, ...]] = {
    "obj_existence_occ": (
        ("claim",),
        ("kind",),
        ("claim", "kind"),
        ("claim", "target"),
        ("claim", "reference"),
        ("claim", "target", "reference"),
        ("kind", "target"),
        ("kind", "reference"),
        ("kind", "target", "reference"),
        ("claim", "kind", "target", "reference"),
        ("claim", "frames", "query"),
        ("claim", "place"),
        ("claim", "place", "reference"),
        ("claim", "place", "target"),
    ),
    "obj_attribute_occ": (
        ("rest",),
        ("rest", "direction"),
        ("rest", "reference"),
        ("rest", "reference", "direction"),
        ("rest", "direction", "place"),
        ("rest", "frames"),
        ("rest", "set"),
        ("rest", "set", "direction"),
    ),
    "obj_spatial_occ": (
        ("claim",),
        ("first",),
        ("second",),
        ("claim", "set"),
        ("claim", "target"),
        ("claim", "reference"),
        ("claim", "target", "reference"),
        ("claim", "target", "set"),
        ("claim", "reference", "set"),
        ("first", "target"),
        ("first", "reference"),
        ("first", "target", "reference"),
        ("second", "target"),
        ("second", "reference"),
        ("second", "target", "reference"),
        ("claim", "frames", "query"),
        ("claim", "place"),
        ("claim", "place", "reference"),
        ("claim", "place", "target"),
    ),
    "obj_count_occ": (
        ("number",),
        ("rank",),
        ("number", "set"),
        ("number", "target"),
        ("rank", "target"),
        ("number", "target", "set"),
        ("number", "frames"),
        ("number", "target", "frames"),
        ("rank", "frames"),
    ),
    "bestview_count_occ": (
        ("number",),
        ("rank",),
        ("number", "set"),
        ("number", "target"),
        ("number", "target", "set"),
        ("number", "frames"),
        ("number", "target", "frames"),
        ("shown",),
        ("shown", "frames"),
        ("shown", "target"),
        ("number", "shown"),
        ("number", "shown", "target"),
    ),
    "obj_localization_occ": (
        ("kind",),
        ("kind", "target"),
        ("kind", "query", "frames"),
        ("kind", "size"),
        ("kind", "size", "target"),
        ("kind", "middle"),
        ("kind", "middle", "target"),
        ("cell",),
        ("cell", "target"),
        ("row", "target"),
        ("column", "target"),
        ("row", "size", "target"),
        ("out_rank",),
        ("x_rank",),
        ("y_rank",),
        ("y_rank", "target"),
        ("digits",),
    ),
    "": (("rest",), ("rest", "target"), ("rest", "reference"), ("rest", "target", "reference"), ("rest", "direction")),
}

# of the bins of an answer that is a number or a point (see `answer_table`)
ANSWER_KEYS: tuple[Recipe, ...] = (
    ("bin",),
    ("bin", "target"),
    ("bin", "reference"),
    ("bin", "pair"),
    ("bin", "frames"),
    ("bin", "frames", "query"),
    ("bin", "target", "frames"),
    ("bin", "target", "query"),
    ("row", "target"),
    ("column", "target"),
)


def recipes_of(question_type: str) -> tuple[Recipe, ...]:
    """Which keys are looked at for the options of this type."""
    family = question_type if question_type in OPTION_KEYS else question_type.rpartition("_")[0]
    return OPTION_KEYS.get(family, OPTION_KEYS[""])


def mixed(columns: Sequence[Codes], recipe: Recipe) -> Codes:
    """One code per row from several, the recipe's name mixed in; multiplications wrap around."""
    result = np.full(len(columns[0]), code(" x ".join(recipe)), dtype=np.uint64)
    for column in columns:
        result = (result ^ column) * np.uint64(0x9E3779B97F4A7C15)
        result ^= result >> np.uint64(29)
    return result


def key_matrix(columns: Mapping[str, Codes], recipes: Sequence[Recipe]) -> UInt64[np.ndarray, "rows keys"]:
    """The keys of every row, one column per recipe."""
    return np.stack([mixed([columns[name] for name in recipe], recipe) for recipe in recipes], axis=1)
