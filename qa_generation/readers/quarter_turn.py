"""Pictures, depth, intrinsics and poses turned by quarters together, so that what was up in the world is up in them."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image

from qa_generation.readers.checks import check_image
from qa_generation.readers.undistortion import encode_jpeg

# camera coordinates after the picture was turned clockwise by a quarter: x' = -y, y' = x
CLOCKWISE = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def uprightness(world_to_camera: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4"]:
    """How far world +z points up in the picture after 0, 1, 2, 3 clockwise quarter turns, each in -1 to 1."""
    across, down, _ = world_to_camera[:3, 2]
    return np.array([-down, -across, down, across])


def turn_pose(world_to_camera: Float64[np.ndarray, "4 4"], turns: int) -> Float64[np.ndarray, "4 4"]:
    """The pose of the camera whose pictures are turned clockwise by ``turns`` quarters."""
    return np.linalg.matrix_power(CLOCKWISE, turns % 4) @ world_to_camera


def turn_intrinsics(
    intrinsics: Float64[np.ndarray, "3 3"], size: tuple[int, int], turns: int
) -> Float64[np.ndarray, "3 3"]:
    """The pinhole matrix, without skew, of pictures of (width, height) ``size`` after clockwise quarter turns."""
    turned = np.array(intrinsics, dtype=np.float64)
    height = size[1]
    for number in range(turns % 4):
        center_x, center_y = turned[0, 2], turned[1, 2]
        turned[0, 0], turned[1, 1] = turned[1, 1], turned[0, 0]
        turned[0, 2], turned[1, 2] = height - 1 - center_y, center_x
        height = size[number % 2]
    return turned


def turn_size(size: tuple[int, int], turns: int) -> tuple[int, int]:
    """(width, height) after quarter turns."""
    return (size[1], size[0]) if turns % 2 else size


def turn_depth(depth_m: Float32[np.ndarray, "height width"], turns: int) -> Float32[np.ndarray, "rows columns"]:
    """The depth map after clockwise quarter turns; depth along the optical axis stays what it is."""
    return np.ascontiguousarray(np.rot90(depth_m, -turns))


def turn_picture(stored: bytes, size: tuple[int, int], turns: int, where: str) -> bytes:
    """The picture of ``size`` after clockwise quarter turns, as JPEG; ``SceneError`` for a broken one."""
    check_image(stored, size, where)
    with Image.open(io.BytesIO(stored)) as image:
        return encode_jpeg(np.ascontiguousarray(np.rot90(np.asarray(image.convert("RGB")), -turns)))
