"""Metrics and alignment of the reconstruction benchmark, on answers whose errors are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.reconstruction.alignment import MedianFrame, align_medians, transform_points, with_normals
from benchmarks.reconstruction.baselines import ConstantDepth, GroundTruth
from benchmarks.reconstruction.evaluate import Prediction, SequenceResult, evaluate, read_frames
from benchmarks.reconstruction.frames import FrameChoice, PosedFrame
from benchmarks.reconstruction.metrics import Cloud, CloudMetrics, compare_clouds
from benchmarks.reconstruction.protocols import PROTOCOLS
from qa_generation.errors import InputError
from tests.benchmarks import reconstruction_layouts as layouts

PX = 32
RULES = PROTOCOLS["synthetic"]
UP = np.array([[0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[PosedFrame]:
    """Three frames of the empty room as a dataset gives them."""
    root = tmp_path_factory.mktemp("rooms")
    layouts.write_room(root, layouts.room_frames(3, (64, 48), 50.0))
    (capture,) = RULES.captures(root)
    return read_frames(capture, FrameChoice(1), PX)


def plane(z: float, normal: np.ndarray = UP) -> Cloud:
    x, y = np.meshgrid(np.arange(5.0), np.arange(4.0))
    points = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3)
    return Cloud(points, np.repeat(normal, len(points), axis=0))


def test_metrics_of_two_parallel_planes() -> None:
    tilted = np.array([[math.sin(math.pi / 3), 0.0, -math.cos(math.pi / 3)]])  # 60 degrees, pointing the other way
    prediction = plane(0.1, tilted)
    half = Cloud(prediction.points[:10], prediction.normals[:10])  # two of four rows, so one row is 1 away, one 2
    found = compare_clouds(half, plane(0.0), threshold=0.2)
    assert found.accuracy == pytest.approx(0.1) and found.accuracy_median == pytest.approx(0.1)
    assert found.completion == pytest.approx((0.1 + 0.1 + math.hypot(1, 0.1) + math.hypot(2, 0.1)) / 4)
    assert found.completion_median == pytest.approx((0.1 + math.hypot(1, 0.1)) / 2)
    assert found.completion_ratio == 0.5
    assert found.normal_consistency == pytest.approx(0.5) and found.normal_consistency_2_median == pytest.approx(0.5)
    assert found.chamfer == pytest.approx((found.accuracy + found.completion) / 2)


@pytest.mark.parametrize(("bad", "message"), [(np.nan, "not finite"), (None, "no points")])
def test_metrics_refuse_broken_clouds(bad: float | None, message: str) -> None:
    cloud = plane(0.0)
    points = cloud.points[:0] if bad is None else np.where(cloud.points == 4, bad, cloud.points)
    with pytest.raises(InputError, match=message):
        compare_clouds(Cloud(points, cloud.normals[: len(points)]), plane(0.0), 0.1)


def test_medians_are_the_lower_ones() -> None:
    points = np.array([[0.0, 0, 1], [0, 0, 2], [0, 0, 4], [0, 0, 8]])
    assert MedianFrame.of(points) == MedianFrame(depth=2.0, scale=1.0)  # distances from (0, 0, 2): 1, 0, 2, 6


def test_scale_and_depth_shift_are_undone() -> None:
    truth = np.random.default_rng(0).normal(size=(2, 5, 6, 3)) + np.array([0, 0, 4])
    valid = np.ones((2, 5, 6), bool)
    aligned, _, _ = align_medians(truth * 7 + [0, 0, 3], truth, valid)
    np.testing.assert_allclose(aligned, truth, atol=1e-12)


def test_tiny_predictions_are_enlarged_a_thousand_times_at_most() -> None:
    truth = np.random.default_rng(0).normal(size=(1, 5, 6, 3))
    aligned, own, true = align_medians(truth * 1e-6, truth, np.ones((1, 5, 6), bool))
    spread = MedianFrame.of(aligned.reshape(-1, 3)).scale
    assert spread == pytest.approx(own.scale * true.scale / 1e-3)


def test_normals_of_a_plane() -> None:
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), [3.0]), -1).reshape(-1, 3)
    np.testing.assert_allclose(np.abs(with_normals(grid).normals), np.repeat(UP, 144, axis=0), atol=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.37, 0.0), (5.0, 2.0)])
def test_ground_truth_up_to_scale_and_shift_has_no_error(frames: list[PosedFrame], scale: float, shift: float) -> None:
    found = evaluate(GroundTruth(PX, scale, shift), "room", frames, RULES)
    assert found.metrics.accuracy < 2e-5 and found.metrics.completion < 2e-5
    assert found.metrics.normal_consistency > 0.999 and found.metrics.completion_ratio == 1.0
    assert found.scale == pytest.approx(1 / scale, rel=1e-5)
    assert found.frames == 3 and found.points == sum(int(frame.valid.sum()) for frame in frames)


@dataclass(frozen=True)
class MovedTruth:
    """The ground truth in the camera of another frame, turned a little."""

    reference: int
    turn_deg: float = 0.0
    name: str = "moved"
    image_px: int = PX

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        to_camera = np.linalg.inv(frames[self.reference].camera_to_world)
        turn = Rotation.from_euler("y", self.turn_deg, degrees=True).as_matrix()
        points = np.stack([transform_points(frame.world_points(), to_camera) @ turn.T for frame in frames])
        return Prediction(points.astype(np.float32), self.reference)


def test_any_frame_may_be_the_reference(frames: list[PosedFrame]) -> None:
    assert evaluate(MovedTruth(2), "room", frames, RULES).metrics.accuracy < 2e-5


def test_icp_takes_a_small_turn_away(frames: list[PosedFrame]) -> None:
    turned = evaluate(MovedTruth(0, 1.0), "room", frames, RULES)
    unaligned = evaluate(MovedTruth(0, 1.0), "room", frames, replace(RULES, icp_distance=1e-9))
    assert turned.metrics.accuracy < 0.25 * unaligned.metrics.accuracy
    assert turned.icp_fitness > 0.95


def test_noise_gives_the_accuracy_it_must(frames: list[PosedFrame]) -> None:
    """Well below the spacing of points, the nearest true point is one's own: the mean length is 2 sigma sqrt(2/pi)."""
    sigma = 0.002
    found = evaluate(GroundTruth(PX, noise=sigma), "room", frames, RULES).metrics
    assert found.accuracy == pytest.approx(2 * sigma * math.sqrt(2 / math.pi), rel=0.05)
    assert found.completion == pytest.approx(found.accuracy, rel=0.05)


def test_a_flat_wall_is_worse_than_noise(frames: list[PosedFrame]) -> None:
    wall = evaluate(ConstantDepth(PX), "room", frames, RULES).metrics
    noisy = evaluate(GroundTruth(PX, noise=0.02), "room", frames, RULES).metrics
    assert wall.accuracy > 3 * noisy.accuracy and wall.completion > 3 * noisy.completion


def test_same_numbers_twice(frames: list[PosedFrame]) -> None:
    def once() -> SequenceResult:
        return replace(evaluate(GroundTruth(PX, noise=0.02), "room", frames, RULES), seconds=0.0)

    assert once() == once()


@dataclass(frozen=True)
class Fixed:
    """Says what it is told to say."""

    pointmaps: np.ndarray
    name: str = "fixed"
    image_px: int = PX

    def reconstruct(self, frames: Sequence[PosedFrame]) -> Prediction:
        return Prediction(self.pointmaps)


def test_bad_predictions_are_errors(frames: list[PosedFrame]) -> None:
    broken = np.ones((3, PX, PX, 3), np.float32)
    broken[1, 20, 20] = np.nan
    with pytest.raises(InputError, match=r"1 of \d+ predicted points are not finite"):
        evaluate(Fixed(broken), "room", frames, RULES)
    with pytest.raises(InputError, match="pointmaps are"):
        evaluate(Fixed(np.ones((2, PX, PX, 3), np.float32)), "room", frames, RULES)


def test_sequences_that_cannot_be_measured(frames: list[PosedFrame], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least 2"):
        evaluate(GroundTruth(PX), "room", frames[:1], RULES)
    blind = [replace(frame, view=replace(frame.view, depth=np.zeros_like(frame.view.depth))) for frame in frames]
    with pytest.raises(InputError, match="no frame has valid depth"):
        evaluate(GroundTruth(PX), "room", blind, RULES)


def test_all_metrics_are_reported() -> None:
    values = CloudMetrics(*map(float, range(12))).to_json()
    assert list(values.values()) == list(map(float, range(12)))
