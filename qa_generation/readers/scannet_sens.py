"""The frames of a ScanNet scan from its ``.sens`` container."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from qa_generation.errors import SceneError
from qa_generation.readers.captures import Capture, CapturedFrame, choose_stride
from qa_generation.readers.depth_grid import check_no_skew, resample_depth
from qa_generation.readers.sens import SensHeader, iter_sens_frames, read_sens_depth, read_sens_header
from qa_generation.scene import Blob


def open_sens_capture(path: Path, stride: int | None = None) -> Capture:
    """Every ``stride``-th frame of the container, pictures and depth maps left where they lie.

    Raises:
        SceneError: the container is missing, truncated, contradictory or of a coding that is not supported.
    """
    header = read_sens_header(path)
    if header.color_coding not in ("jpeg", "png"):
        raise SceneError(f"{path}: color compression {header.color_coding} is not supported, expected jpeg or png")
    check_no_skew(header.intrinsic_color, header.color_size, f"{path}: intrinsic_color")
    check_no_skew(header.intrinsic_depth, header.depth_size, f"{path}: intrinsic_depth")
    step = choose_stride(header.frame_count, stride)
    return Capture(
        path=path,
        total=header.frame_count,
        stride=step,
        size=header.color_size,
        intrinsics=header.intrinsic_color,
        intrinsics_source=f"{path}: intrinsic_color",
        frames=tuple(
            CapturedFrame(
                index=frame.index,
                where=f"{path}: frame {frame.index}",
                camera_to_world=frame.camera_to_world,
                image=frame.color,
                read_depth=partial(_read_depth, header, frame.depth) if frame.depth.length else None,
            )
            for frame in iter_sens_frames(header, step)
        ),
        notes=tuple(_moved_cameras(header)),
    )


def _read_depth(header: SensHeader, blob: Blob) -> Float32[np.ndarray, "height width"]:
    depth_m = read_sens_depth(blob, header.depth_coding, header.depth_size, header.depth_shift)
    return resample_depth(depth_m, header.intrinsic_depth, header.intrinsic_color, header.color_size)


def _moved_cameras(header: SensHeader) -> list[str]:
    extrinsics = {"color": header.extrinsic_color, "depth": header.extrinsic_depth}
    return [
        f"{header.path}: extrinsic_{camera} is not identity and is left out of account"
        for camera, matrix in extrinsics.items()
        if not np.allclose(matrix, np.eye(4), atol=1e-4)
    ]
