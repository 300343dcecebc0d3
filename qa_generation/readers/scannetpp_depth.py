"""The depth of ScanNet++'s iPhone: extracted PNG files, or ``depth.bin`` in either of its two codings.

``depth.bin`` is one raw deflate stream of float32 metres for all frames; or for each frame a uint32 size and a block:
LZ4 of uint16 millimetres, or raw deflate of float32 metres.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file
from qa_generation.readers.depth_grid import read_png_depth

WIDTH, HEIGHT = 256, 192
METRE_BYTES, MILLIMETRE_BYTES = 4 * WIDTH * HEIGHT, 2 * WIDTH * HEIGHT
UNITS_PER_METRE = 1000.0
CHUNK_BYTES = 1 << 16

RawDepth = Float32[np.ndarray, "height width"]
ReadFrame = Callable[[int], RawDepth]


def open_depth(folder: Path) -> Callable[[int], Callable[[], RawDepth] | None]:
    """A look-up from frame number to what reads its depth map in metres, None for frames without one.

    ``folder`` is the scene's ``iphone/``; extracted files win over ``depth.bin``. A frame that turns out to be missing
    from ``depth.bin``, or broken, raises ``SceneError`` when it is read.
    """
    pictures = folder / "depth"
    if pictures.is_dir():
        return partial(_extracted, pictures)
    path = folder / "depth.bin"
    if not path.is_file():
        return lambda number: None
    check_file(path, "the depth of all frames")
    blocks = _block_spans(path)
    if blocks is None:
        return partial(partial, DeflatedDepth(path).frame)
    return lambda number: partial(_read_block, path, number, *blocks[number]) if number < len(blocks) else None


class DeflatedDepth:
    """Frames out of one deflate stream; in rising order they cost one pass, any other order more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: BinaryIO | None = None
        self._next = 0

    def frame(self, number: int) -> RawDepth:
        """Depth map ``number`` from 0, metres; raises ``SceneError`` where the stream is broken or ends before it."""
        if self._stream is None or number < self._next:
            self.close()
            self._stream, self._inflate = self.path.open("rb"), zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        data = b""
        try:
            while self._next <= number:
                data = self._take(self._stream)
                self._next += 1
        except (zlib.error, EOFError) as error:
            reached = self._next
            self.close()
            raise SceneError(
                f"{self.path}: breaks off in frame {reached} ({error}), expected one deflate stream of float32, or a "
                f"size and a block for each frame, up to frame {number}"
            ) from None
        return _from_metres(data)

    def close(self) -> None:
        """Lets go of the file; the next frame opens it anew."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._next = None, 0

    def _take(self, stream: BinaryIO) -> bytes:
        parts: list[bytes] = []
        wanted = METRE_BYTES
        while wanted:
            packed = self._inflate.unconsumed_tail or stream.read(CHUNK_BYTES)
            if not packed or self._inflate.eof:
                raise EOFError("no more data")
            parts.append(self._inflate.decompress(packed, wanted))
            wanted -= len(parts[-1])
        return b"".join(parts)


def _extracted(folder: Path, number: int) -> Callable[[], RawDepth] | None:
    path = folder / f"frame_{number:06d}.png"
    return partial(read_png_depth, path, UNITS_PER_METRE) if path.is_file() else None


def _block_spans(path: Path) -> list[tuple[int, int]] | None:
    """Offset and length of every frame's block, None where the file is no list of sizes and blocks."""
    end, position = path.stat().st_size, 0
    spans: list[tuple[int, int]] = []
    with path.open("rb") as stream:
        while position < end:
            stream.seek(position)
            head = stream.read(4)
            if len(head) < 4:
                return None
            (length,) = struct.unpack("<I", head)
            if not 0 < length <= end - position - 4:
                return None
            spans.append((position + 4, length))
            position += 4 + length
    return spans


def _read_block(path: Path, number: int, offset: int, length: int) -> RawDepth:
    with path.open("rb") as stream:
        stream.seek(offset)
        block = stream.read(length)
    metres = _inflated(block)
    if metres is not None:
        return _from_metres(metres)
    millimetres = _unpacked(block)
    if millimetres is None:
        raise SceneError(
            f"{path}: block of frame {number} is neither LZ4 of {MILLIMETRE_BYTES} bytes nor deflate of {METRE_BYTES}"
        )
    values = np.frombuffer(millimetres, dtype="<u2").reshape(HEIGHT, WIDTH)
    return values.astype(np.float32) / np.float32(UNITS_PER_METRE)


def _inflated(block: bytes) -> bytes | None:
    inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = inflate.decompress(block, METRE_BYTES)
        rest = inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error:
        return None
    return data if len(data) == METRE_BYTES and not rest and inflate.eof else None


def _unpacked(block: bytes) -> bytes | None:
    """An LZ4 block of just the right size. Arrow does not tell how much it wrote, so one byte less has to fail."""
    try:
        data = pa.decompress(block, MILLIMETRE_BYTES, codec="lz4_raw", asbytes=True)
    except (OSError, ValueError):
        return None
    try:
        pa.decompress(block, MILLIMETRE_BYTES - 1, codec="lz4_raw", asbytes=True)
    except (OSError, ValueError):
        return bytes(data)
    return None


def _from_metres(data: bytes) -> RawDepth:
    metres = np.frombuffer(data, dtype="<f4").reshape(HEIGHT, WIDTH).astype(np.float32)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))
