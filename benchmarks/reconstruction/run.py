"""A whole run: every method on every sequence, skipping what an earlier run has done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from benchmarks.reconstruction.evaluate import Reconstructor, evaluate, read_frames
from benchmarks.reconstruction.frames import Capture, FrameChoice
from benchmarks.reconstruction.journal import Journal, Line
from benchmarks.reconstruction.protocols import Fit, Protocol


@dataclass(frozen=True)
class Reading:
    """How frames are chosen and made square."""

    choice: FrameChoice
    image_px: int
    fit: Fit = "crop"


def run(
    methods: Sequence[Reconstructor],
    captures: Sequence[Capture],
    protocol: Protocol,
    reading: Reading,
    journal: Journal,
) -> list[Line]:
    """The lines of all methods and sequences, sequence by sequence; reasons of failures are lines too."""
    lines = []
    for capture in tqdm(captures, desc=protocol.name, unit="sequence", disable=None):
        missing = [method for method in methods if (method.name, capture.capture_id) not in journal]
        for line in _measure(missing, capture, protocol, reading):
            journal.add(line)
        lines += [journal.lines[method.name, capture.capture_id] for method in methods]
    return lines


def _measure(
    methods: Sequence[Reconstructor], capture: Capture, protocol: Protocol, reading: Reading
) -> Iterator[Line]:
    """Lines as they come, so that an interrupted run loses one measurement at most."""
    if not methods:
        return
    try:
        frames = read_frames(capture, reading.choice, reading.image_px, reading.fit)
    except ValueError as error:  # the InputError of any package
        yield from (Line(method.name, capture.capture_id, error=str(error)) for method in methods)
        return
    for method in methods:
        try:
            yield Line(method.name, capture.capture_id, evaluate(method, capture.capture_id, frames, protocol))
        except ValueError as error:
            yield Line(method.name, capture.capture_id, error=str(error))
