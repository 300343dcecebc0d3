"""Writes the iPhone depth of a ScanNet++ scene: ``depth.bin`` in its codings, or extracted PNG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32
from PIL import Image

# png: extracted files; stream: one deflate stream; lz4, deflate: a size and a block per frame; none: no depth at all
DepthCoding = Literal["png", "stream", "lz4", "deflate", "none"]
SIZE = (256, 192)


class DepthWriter:
    """Takes the depth maps of frames 0, 1, 2 ... and writes them below ``iphone/``."""

    def __init__(self, folder: Path, coding: DepthCoding) -> None:
        self.folder, self.coding = folder, coding
        self._written = 0
        self._deflate = zlib.compressobj(wbits=-15)
        self._parts: list[bytes] = []

    def add(self, depth_m: Float32[np.ndarray, "height width"]) -> None:
        """The next frame, metres, of any size with the camera's aspect."""
        if depth_m.shape != SIZE[::-1]:
            depth_m = np.asarray(Image.fromarray(depth_m).resize(SIZE, Image.Resampling.NEAREST))
        metres = depth_m.astype("<f4").tobytes()
        millimetres = np.rint(depth_m.astype(np.float64) * 1000).clip(0, 65535).astype("<u2")
        if self.coding == "png":
            path = self.folder / "depth" / f"frame_{self._written:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(millimetres).save(path)
        elif self.coding == "stream":
            self._parts.append(self._deflate.compress(metres))
        elif self.coding == "lz4":
            self._block(pa.compress(millimetres.tobytes(), codec="lz4_raw", asbytes=True))
        elif self.coding == "deflate":
            packer = zlib.compressobj(wbits=-15)
            self._block(packer.compress(metres) + packer.flush())
        self._written += 1

    def finish(self) -> None:
        """Writes ``depth.bin`` where the coding has one."""
        if self.coding == "stream":
            self._parts.append(self._deflate.flush())
        if self._parts:
            (self.folder / "depth.bin").write_bytes(b"".join(self._parts))

    def _block(self, data: bytes) -> None:
        self._parts.append(struct.pack("<I", len(data)) + data)
