"""``.sens`` containers packed here by hand: the reader is held against the format, not against our writer."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from qa_generation.errors import SceneError
from qa_generation.readers.scannet_sens import open_sens_capture
from qa_generation.readers.sens import iter_sens_frames, read_sens_depth, read_sens_header

INTRINSIC = [[4.0, 0.0, 1.5, 0.0], [0.0, 5.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
IDENTITY = np.eye(4).tolist()
SIZE = (4, 3)


@dataclass(frozen=True)
class Packed:
    """Fields of a container in file order; every test changes the one it is about."""

    version: int = 4
    name: bytes = b"StructureSensor"
    color_coding: int = 2
    depth_coding: int = 1
    color_size: tuple[int, int] = SIZE
    depth_size: tuple[int, int] = SIZE
    depth_shift: float = 1000.0
    frames: int = 3
    stated_frames: int | None = None
    depth_blob: bytes | None = None
    color_bytes: int | None = None
    imu: bytes = struct.pack("<Q", 1) + bytes(128)

    def pack(self) -> bytes:
        out = struct.pack("<IQ", self.version, len(self.name)) + self.name
        for matrix in (INTRINSIC, IDENTITY, INTRINSIC, IDENTITY):
            out += struct.pack("<16f", *np.ravel(matrix))
        out += struct.pack("<ii", self.color_coding, self.depth_coding)
        out += struct.pack("<IIII", *self.color_size, *self.depth_size) + struct.pack("<f", self.depth_shift)
        out += struct.pack("<Q", self.frames if self.stated_frames is None else self.stated_frames)
        return out + b"".join(self.frame(index) for index in range(self.frames)) + self.imu

    def frame(self, index: int) -> bytes:
        pose = [[1, 0, 0, index], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
        color = jpeg(SIZE, grey=40 * index % 256)
        depth = zlib.compress(millimetres(index)) if self.depth_blob is None else self.depth_blob
        sizes = (len(color) if self.color_bytes is None else self.color_bytes, len(depth))
        return struct.pack("<16f", *np.ravel(pose)) + struct.pack("<4Q", 7, 8, *sizes) + color + depth


def jpeg(size: tuple[int, int], grey: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, "JPEG")
    return buffer.getvalue()


def millimetres(index: int) -> bytes:
    """4 x 3 depths of the frame: 1000 * index + 0, 1, 2 ... 11, row by row."""
    return struct.pack("<12H", *[1000 * (index % 60) + number for number in range(12)])


def write(path: Path, packed: Packed) -> Path:
    path.write_bytes(packed.pack())
    return path


def test_header_of_known_bytes(tmp_path: Path) -> None:
    packed = Packed(color_size=(1296, 968), depth_size=(640, 480), color_coding=1, depth_coding=0, depth_shift=500)
    header = read_sens_header(write(tmp_path / "a.sens", packed))
    assert (header.version, header.sensor_name, header.frame_count) == (4, "StructureSensor", 3)
    assert (header.color_size, header.depth_size, header.depth_shift) == ((1296, 968), (640, 480), 500.0)
    assert (header.color_coding, header.depth_coding) == ("png", "raw_ushort")
    np.testing.assert_array_equal(header.intrinsic_depth, [[4, 0, 1.5], [0, 5, 1], [0, 0, 1]])


def test_frames_of_known_bytes(tmp_path: Path) -> None:
    header = read_sens_header(write(tmp_path / "a.sens", Packed()))
    frames = list(iter_sens_frames(header))
    assert [frame.index for frame in frames] == [0, 1, 2]
    np.testing.assert_array_equal(frames[2].camera_to_world, [[1, 0, 0, 2], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    assert np.asarray(Image.open(io.BytesIO(frames[2].color.read()))).mean() == pytest.approx(80, abs=1)
    depth = read_sens_depth(frames[2].depth, header.depth_coding, SIZE, header.depth_shift)
    np.testing.assert_allclose(depth, 2 + np.arange(12).reshape(3, 4) / 1000, rtol=1e-6)


def test_raw_depth_and_version_three(tmp_path: Path) -> None:
    packed = Packed(version=3, depth_coding=0, depth_blob=millimetres(1), imu=b"")
    header = read_sens_header(write(tmp_path / "a.sens", packed))
    frames = list(iter_sens_frames(header, stride=2))
    assert [frame.index for frame in frames] == [0, 2]
    depth = read_sens_depth(frames[0].depth, header.depth_coding, SIZE, header.depth_shift)
    assert depth[0, 3] == pytest.approx(1.003)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (Packed(version=1), "version is 1, expected 3 or 4"),
        (Packed(version=0x20796C70), "is it a ScanNet .sens file"),
        (Packed(name=b"x" * 5000), "sensor name has 5000 bytes"),
        (Packed(color_coding=9), "color compression is 9"),
        (Packed(depth_size=(0, 3)), "depth: size is 0x3"),
        (Packed(color_size=(20_000, 20_000)), "color: size is 20000x20000"),
        (Packed(depth_shift=0.0), "depth shift is 0.0"),
        (Packed(depth_shift=float("nan")), "depth shift is nan"),
        (Packed(stated_frames=10**15), "truncated in the frames"),
    ],
)
def test_bad_header_is_named(tmp_path: Path, packed: Packed, message: str) -> None:
    path = write(tmp_path / "a.sens", packed)
    with pytest.raises(SceneError, match=message) as caught:
        read_sens_header(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (Packed(stated_frames=4, imu=b""), "truncated in frame 3 of 4"),
        (Packed(stated_frames=4, imu=b"\xff" * 136), "frame 3 of 4: color has 18446744073709551615 bytes"),
        (Packed(color_bytes=2**62), "frame 0 of 3: color has 4611686018427387904 bytes"),
        (Packed(imu=b""), "truncated in the IMU block"),
        (Packed(imu=struct.pack("<Q", 2**40)), "truncated in the IMU block"),
    ],
)
def test_bad_frame_is_named(tmp_path: Path, packed: Packed, message: str) -> None:
    header = read_sens_header(write(tmp_path / "a.sens", packed))
    with pytest.raises(SceneError, match=message):
        list(iter_sens_frames(header))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (Packed(depth_blob=b"no zlib"), "is not a zlib stream"),
        (Packed(depth_blob=zlib.compress(bytes(23))), "holds 23 bytes, expected 24 for 4x3"),
        (Packed(depth_blob=zlib.compress(bytes(25))), "holds 25 bytes, expected 24"),
        (Packed(depth_blob=zlib.compress(bytes(50_000_000))), "does not end after the 24 bytes"),
        (Packed(depth_blob=zlib.compress(bytes(24))[:-3]), "does not end after the 24 bytes"),
        (Packed(depth_coding=0, depth_blob=bytes(30)), "holds 30 bytes, expected 24"),
        (Packed(depth_coding=2), "compression occi_ushort is not supported"),
    ],
)
def test_bad_depth_is_named_when_it_is_read(tmp_path: Path, packed: Packed, message: str) -> None:
    header = read_sens_header(write(tmp_path / "a.sens", packed))
    frame = next(iter(iter_sens_frames(header)))
    with pytest.raises(SceneError, match=message):
        read_sens_depth(frame.depth, header.depth_coding, header.depth_size, header.depth_shift)


def test_raw_colour_is_not_supported(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="color compression raw is not supported, expected jpeg or png"):
        open_sens_capture(write(tmp_path / "a.sens", Packed(color_coding=0)))


def test_frame_without_depth_has_none(tmp_path: Path) -> None:
    capture = open_sens_capture(write(tmp_path / "a.sens", Packed(depth_blob=b"")))
    assert [frame.read_depth for frame in capture.frames] == [None, None, None]


def test_long_captures_are_thinned_to_every_tenth_frame(tmp_path: Path) -> None:
    short = open_sens_capture(write(tmp_path / "short.sens", Packed(frames=300)))
    long = open_sens_capture(write(tmp_path / "long.sens", Packed(frames=301)))
    wanted = open_sens_capture(tmp_path / "long.sens", stride=100)
    assert (short.stride, len(short.frames)) == (1, 300)
    assert (long.stride, [frame.index for frame in long.frames][:3], len(long.frames)) == (10, [0, 10, 20], 31)
    assert [frame.index for frame in wanted.frames] == [0, 100, 200, 300]


def test_every_truncation_is_told(tmp_path: Path) -> None:
    whole = Packed(frames=2).pack()
    path = tmp_path / "a.sens"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SceneError, match=re.escape("a.sens: ")):
            open_sens_capture(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_frames_or_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(replace(Packed(), frames=2).pack())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.sens"
    path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
    try:
        capture = open_sens_capture(path)
        depths = [frame.read_depth() for frame in capture.frames if frame.read_depth is not None]
        assert all(depth.shape == capture.size[::-1] for depth in depths)
    except SceneError as error:
        assert "a.sens" in str(error)
