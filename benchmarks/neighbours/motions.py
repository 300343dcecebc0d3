"""Camera motions as texts, ``move_right:0.3,rotate_up:20``: the answers of SPAR-Bench's view change task."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.spatialmosaic.scoring import relative_accuracy

MOTION_ACCURACY = "MRA over motions"

# a motion and its opposite are one number with a sign
_AXES = {
    "move_right": ("move x", 1.0),
    "move_left": ("move x", -1.0),
    "move_up": ("move y", 1.0),
    "move_down": ("move y", -1.0),
    "move_forward": ("move z", 1.0),
    "move_backward": ("move z", -1.0),
    "rotate_right": ("rotate x", 1.0),
    "rotate_left": ("rotate x", -1.0),
    "rotate_up": ("rotate y", 1.0),
    "rotate_down": ("rotate y", -1.0),
}
_MOTION = re.compile(r"\b((?:move|rotate)[_ ][a-z]+)\s*[:=]\s*([-+]?(?:\d++(?:\.\d*+)?|\.\d++))")


def parse_motions(text: str) -> dict[str, float]:
    """The amount of every motion in a text, opposites as negative amounts of one axis; empty where there is none."""
    amounts: dict[str, float] = {}
    for name, amount in _MOTION.findall(text.lower()):
        if (axis := _AXES.get(name.replace(" ", "_"))) is not None:
            amounts[axis[0]] = axis[1] * float(amount)
    return amounts


def motion_accuracy(prediction: Mapping[str, float], target: Mapping[str, float]) -> float:
    """The mean relative accuracy over the axes that the target names, 0-1; 0 where the direction is wrong.

    Our reading of a measure that the paper gives in words: an amount of 0 asks for equality.
    """
    if not target:
        return 0.0
    return sum(_one(prediction.get(axis), value) for axis, value in target.items()) / len(target)


def _one(found: float | None, value: float) -> float:
    if found is None:
        return 0.0
    if value == 0.0:
        return float(found == 0.0)
    # signs cancel: what is compared is how much of the true motion was said
    return relative_accuracy(found / value, 1.0)
