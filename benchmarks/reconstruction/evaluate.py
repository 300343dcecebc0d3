"""One sequence: frames in, prediction aligned with the measured surface, metrics out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float32

from benchmarks.reconstruction.alignment import IcpResult, align_medians, icp, transform_points, with_normals
from benchmarks.reconstruction.frames import Capture, FrameChoice, PosedFrame
from benchmarks.reconstruction.metrics import CloudMetrics, compare_clouds
from benchmarks.reconstruction.protocols import Fit, Protocol
from geometry_encoders.reconstruction.cropping import crop_and_resize, squeeze
from qa_generation.errors import InputError


@dataclass(frozen=True, eq=False)
class Prediction:
    """Pointmaps of all frames in one frame of reference, in any unit.

    Attributes:
        pointmaps: numbered as the frames were given.
        reference: number of the frame whose camera they are in.
    """

    pointmaps: Float32[np.ndarray, "frames height width 3"]
    reference: int = 0


class Reconstructor(Interface):
    """Anything that says where the pixels of some frames are; only oracles look at depth and poses."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    @property
    def image_px(self) -> int:
        """Side of the square pictures it is shown."""
        ...

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        """Pointmaps of the frames."""
        ...


@dataclass(frozen=True)
class SequenceResult:
    """What was measured for one sequence; ``seconds`` (of reconstructing) is the only part that may vary.

    Attributes:
        capture_id: the sequence.
        frames: how many were shown.
        points: valid pixels, so the size of both clouds.
        metrics: in the dataset's unit.
        scale: factor from the encoder's unit to the dataset's.
        icp_fitness: share of predicted points with a true point within the distance of the protocol.
        seconds: time of reconstructing.
    """

    capture_id: str
    frames: int
    points: int
    metrics: CloudMetrics
    scale: float
    icp_fitness: float
    seconds: float


def read_frames(capture: Capture, choice: FrameChoice, image_px: int, fit: Fit = "crop") -> list[PosedFrame]:
    """The chosen frames as squares; raises `SceneError` naming the file that is wrong."""
    if capture.error is not None:
        raise InputError(capture.error)
    names = choice.choose(capture.frames)
    resize = crop_and_resize if fit == "crop" else squeeze
    found = []
    for name in names:
        frame = capture.read(name)
        try:
            found.append(replace(frame, view=resize(frame.view, (image_px, image_px))))
        except ValueError as error:
            raise InputError(f"{capture.capture_id}, frame {name}: {error}") from error
    return found


def evaluate(
    reconstructor: Reconstructor, capture_id: str, frames: Sequence[PosedFrame], protocol: Protocol
) -> SequenceResult:
    """Runs the reconstructor on the frames and measures what it says.

    Every valid pixel counts, whatever the confidence. Alignment: median depth and size, then ICP (`alignment`).

    Raises:
        InputError: fewer than two frames, no valid depth, a prediction of another shape or one that is not finite.
    """
    if len(frames) < 2:
        raise InputError(f"{capture_id}: {len(frames)} frame chosen, expected at least 2 (use a smaller --step)")
    valid = np.stack([frame.valid for frame in frames])
    if not valid.any():
        raise InputError(f"{capture_id}: no frame has valid depth, expected measured surface")
    start = time.perf_counter()
    prediction = reconstructor.reconstruct(frames)
    seconds = time.perf_counter() - start
    if prediction.pointmaps.shape != (*valid.shape, 3):
        raise InputError(f"{capture_id}: pointmaps are {prediction.pointmaps.shape}, expected {(*valid.shape, 3)}")
    truth = np.stack([frame.world_points() for frame in frames]).astype(np.float64)
    camera_to_world = frames[prediction.reference].camera_to_world
    local_truth = transform_points(truth, np.linalg.inv(camera_to_world))
    aligned, own, true = align_medians(prediction.pointmaps.astype(np.float64), local_truth, valid)
    predicted_points, true_points = transform_points(aligned, camera_to_world)[valid], truth[valid]
    moved = icp(predicted_points, true_points, protocol.icp_distance)
    metrics = compare_clouds(
        with_normals(transform_points(predicted_points, moved.transform)),
        with_normals(true_points),
        protocol.completion_threshold,
    )
    return _result(
        capture_id, len(frames), int(valid.sum()), metrics, true.scale / max(own.scale, 1e-3), moved, seconds
    )


def _result(
    capture_id: str, frames: int, points: int, metrics: CloudMetrics, scale: float, moved: IcpResult, seconds: float
) -> SequenceResult:
    return SequenceResult(capture_id, frames, points, metrics, scale, moved.fitness, seconds)
