"""DTU test scans (Jensen et al., CVPR 2014) in the layout of MVSNet, with depth maps and object masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.ndimage import binary_erosion

from benchmarks.reconstruction.datasets.files import check_root, check_same_size, read_grey, read_picture
from benchmarks.reconstruction.frames import Capture, PosedFrame, listed
from geometry_encoders.reconstruction.cropping import CameraImage, resize_nearest
from qa_generation.errors import InputError, SceneError
from qa_generation.readers.checks import check_file, check_intrinsics, check_pose

_EROSION = np.ones((10, 10), dtype=bool)
_SUFFIXES = (".jpg", ".png")


def captures(root: Path) -> list[Capture]:
    """Every scan folder that holds ``cams``.

    Layout: ``SCAN/images/00000000.jpg``, ``SCAN/cams/00000000_cam.txt`` (world to camera and intrinsics as MVSNet
    writes them), ``SCAN/depths/00000000.npy`` (millimetres along z, size of the picture, 0 = missing) and
    ``SCAN/binary_masks/00000000.png`` (the object).

    Raises:
        InputError: no such folder or no scan in it.
    """
    check_root(root, "the folder with the scans of DTU")
    scans = sorted(path.parent for path in root.glob("*/cams") if path.is_dir())
    if not scans:
        raise InputError(f"{root}: no scan with a folder cams, expected folders such as scan1/cams")
    return [listed(scan.name, partial(_capture, scan)) for scan in scans]


def _capture(scan: Path) -> Capture:
    pictures = sorted(path for path in (scan / "images").glob("*") if path.suffix in _SUFFIXES)
    if not pictures:
        raise SceneError(f"{scan / 'images'}: no pictures, expected files such as 00000000.jpg")
    by_name = {path.stem: path for path in pictures}
    if len(by_name) < len(pictures):
        raise SceneError(f"{scan / 'images'}: two pictures share a name, expected one per camera")
    return Capture(scan.name, tuple(by_name), partial(_read, scan, by_name))


def _read(scan: Path, pictures: dict[str, Path], name: str) -> PosedFrame:
    image = read_picture(pictures[name])
    size = image.shape[1], image.shape[0]
    camera_to_world, intrinsics = read_camera(scan / "cams" / f"{name}_cam.txt", size)
    depth_path = scan / "depths" / f"{name}.npy"
    depth = _read_depth(depth_path)
    check_same_size(depth, size, depth_path, "as the picture")
    depth = np.where(read_mask(scan / "binary_masks" / f"{name}.png", size), depth, np.float32(0))
    return PosedFrame(name, CameraImage(image, depth, intrinsics.astype(np.float32)), camera_to_world)


def read_camera(path: Path, size: tuple[int, int]) -> tuple[Float64[np.ndarray, "4 4"], Float64[np.ndarray, "3 3"]]:
    """Camera-to-world pose and intrinsics from a camera file of MVSNet; raises `SceneError` where it is none."""
    words = check_file(path, "a camera file of MVSNet").read_text(encoding="utf-8", errors="replace").split()
    try:
        at, then = words.index("extrinsic"), words.index("intrinsic")
        world_to_camera = np.array(words[at + 1 : at + 17], dtype=np.float64).reshape(4, 4)
        intrinsics = np.array(words[then + 1 : then + 10], dtype=np.float64).reshape(3, 3)
    except ValueError:
        raise SceneError(
            f"{path}: expected 'extrinsic' with 16 numbers and 'intrinsic' with 9, as MVSNet writes"
        ) from None
    pose = np.linalg.inv(check_pose(world_to_camera, f"{path}: extrinsic"))
    return pose, check_intrinsics(intrinsics, size, f"{path}: intrinsic")


def _read_depth(path: Path) -> Float32[np.ndarray, "height width"]:
    check_file(path, "a depth map in .npy form")
    try:
        depth = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise SceneError(f"{path}: cannot be read ({error}), expected a depth map in .npy form") from None
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise SceneError(f"{path}: not a height x width array of numbers, expected a depth map in millimetres")
    return np.nan_to_num(depth.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def read_mask(path: Path, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Where the object is, at (width, height), less a rim: pixels with something else within 10 x 10 are left out."""
    stored = read_grey(path, "a mask of the object")
    share = stored.astype(np.float32) / (255 if stored.max(initial=0) > 1 else 1)
    return binary_erosion(resize_nearest(share > 0.5, size), _EROSION, border_value=1)
