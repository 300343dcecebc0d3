"""How each dataset is measured: frames, picture size, units and thresholds, as published with Spann3R."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.reconstruction.datasets import dtu, nrgbd, seven_scenes, synthetic
from benchmarks.reconstruction.frames import Capture, FrameChoice
from qa_generation.errors import InputError

Views = Literal["full", "few"]
Fit = Literal["crop", "squeeze"]


@dataclass(frozen=True)
class Protocol:
    """One dataset's rules.

    Attributes:
        name: as on the command line.
        full, few: the frames shown; ``few`` is a handful per sequence, for methods that cannot take more.
        unit: of all lengths.
        icp_distance: farthest partner in the final alignment.
        completion_threshold: how near a predicted point must be for a true point to count as found.
        image_px: side of the square pictures; None = what the encoder was trained at.
        captures: lists the sequences of a dataset folder.
    """

    name: str
    full: FrameChoice
    few: FrameChoice
    unit: str
    icp_distance: float
    completion_threshold: float
    image_px: int | None
    captures: Callable[[Path], list[Capture]]

    def frames(self, views: Views, step: int | None = None) -> FrameChoice:
        """The choice of frames; ``step`` replaces the protocol's."""
        choice = self.few if views == "few" else self.full
        return choice if step is None else replace(choice, step=step)


# Sparse steps 200 and 500 are those that later work compares sparse views at; five frames elsewhere are our choice.
PROTOCOLS: dict[str, Protocol] = {
    "7scenes": Protocol("7scenes", FrameChoice(20), FrameChoice(200), "m", 0.1, 0.05, 224, seven_scenes.captures),
    "nrgbd": Protocol("nrgbd", FrameChoice(40), FrameChoice(500), "m", 0.1, 0.05, 224, nrgbd.captures),
    "dtu": Protocol(
        "dtu",
        FrameChoice(5, reverse=True),
        FrameChoice(5, reverse=True, at_most=5),
        "mm",
        100.0,
        5.0,
        224,
        dtu.captures,
    ),
    "synthetic": Protocol(
        "synthetic", FrameChoice(1), FrameChoice(1, at_most=5), "m", 0.1, 0.05, None, synthetic.captures
    ),
}


def get_protocol(name: str, compat: bool = True) -> Protocol:
    """The protocol of that name.

    Args:
        name: one of `PROTOCOLS`.
        compat: as the published numbers were made: DTU from its last view to its first, NRGBD frames without pose taken
            as standing at the origin. Without it DTU is visited forwards and such frames are left out.

    Raises:
        InputError: for an unknown name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"--protocol {name!r} is unknown, expected one of {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if compat:
        return protocol
    if name == "nrgbd":
        protocol = replace(protocol, captures=partial(nrgbd.captures, nan_pose_as_identity=False))
    forwards = {field: replace(getattr(protocol, field), reverse=False) for field in ("full", "few")}
    return replace(protocol, **forwards)
