"""The reconstruction itself: checks of its fields, its point cloud, its file."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.result import Reconstruction


@pytest.fixture
def result() -> Reconstruction:
    rng = np.random.default_rng(0)
    sizes = [(3, 4), (5, 2)]
    return Reconstruction(
        names=("a.jpg", "b.jpg"),
        images=tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes),
        pointmaps=tuple(rng.normal(size=(*size, 3)).astype(np.float32) for size in sizes),
        confidence=tuple(np.full(size, 2, dtype=np.float32) for size in sizes),
        camera_to_world=np.stack([np.eye(4), np.eye(4)]),
        intrinsics=np.stack([np.diag([10.0, 10.0, 1.0])] * 2),
    )


def changed(values: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    values = values.copy()
    values[index] = value
    return values


def test_point_cloud_keeps_what_is_above_the_threshold(result: Reconstruction) -> None:
    confidence = (changed(result.confidence[0], (1, 2), 5), changed(result.confidence[1], (4, 1), 6))
    cloud = replace(result, confidence=confidence).point_cloud(min_confidence=2)
    assert len(cloud) == 2
    np.testing.assert_array_equal(cloud.points, [result.pointmaps[0][1, 2], result.pointmaps[1][4, 1]])
    np.testing.assert_array_equal(cloud.colours, [result.images[0][1, 2], result.images[1][4, 1]])
    assert cloud.confidence.tolist() == [5, 6]
    assert cloud.view.tolist() == [0, 1]
    assert cloud.pixels.tolist() == [[2, 1], [1, 4]]


def test_point_cloud_may_be_empty(result: Reconstruction) -> None:
    cloud = result.point_cloud(min_confidence=10)
    assert len(cloud) == 0
    assert cloud.points.shape == (0, 3)
    assert cloud.pixels.shape == (0, 2)


def test_a_pixel_without_point_has_confidence_zero(result: Reconstruction) -> None:
    points = (changed(result.pointmaps[0], (0, 0), np.nan), result.pointmaps[1])
    with pytest.raises(InputError, match=r"a\.jpg: 1 points are not finite"):
        replace(result, pointmaps=points)
    confidence = (changed(result.confidence[0], (0, 0), 0), result.confidence[1])
    cloud = replace(result, pointmaps=points, confidence=confidence).point_cloud()
    assert len(cloud) == 3 * 4 + 5 * 2 - 1
    assert np.isfinite(cloud.points).all()


def test_file_round_trip(result: Reconstruction, tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    for original in (result, replace(result, camera_to_world=None, intrinsics=None, metric=True)):
        original.save(path)
        loaded = Reconstruction.load(path)
        assert loaded.names == original.names
        assert loaded.metric == original.metric
        for field in ("images", "pointmaps", "confidence"):
            for ours, theirs in zip(getattr(original, field), getattr(loaded, field), strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)
        for field in ("camera_to_world", "intrinsics"):
            if getattr(original, field) is None:
                assert getattr(loaded, field) is None
            else:
                np.testing.assert_array_equal(getattr(original, field), getattr(loaded, field))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text", pickle.dumps({"names": ["a"]})])
def test_what_is_no_reconstruction_is_said_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or no reconstruction"):
        Reconstruction.load(path)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "scene.npz"
    np.savez(path, names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle"):
        Reconstruction.load(path)
    with pytest.raises(InputError, match="no such file"):
        Reconstruction.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("names", (), "no views"),
        ("names", ("a.jpg",), "2 images for 1 names"),
        ("images", (np.zeros((3, 4, 3)), np.zeros((5, 2, 3))), "image float64"),
        ("pointmaps", (np.zeros((4, 3, 3), np.float32),) * 2, r"expected float32 \(3, 4, 3\)"),
        ("confidence", (np.full((3, 4), np.nan, np.float32),) * 2, "12 confidences are not finite"),
        ("camera_to_world", np.zeros((2, 4, 4)), "not a rotation"),
        ("camera_to_world", np.stack([np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0])]), "view 1: not a rotation"),
        ("camera_to_world", np.eye(4)[None], r"expected float64 \(2, 4, 4\)"),
        ("intrinsics", np.zeros((2, 3, 3)), "positive focal"),
    ],
)
def test_fields_that_do_not_fit(result: Reconstruction, field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(result, **{field: value})
