"""The ``<scene>.txt`` of a ScanNet scan: ``key = value`` lines with the axis alignment and the calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file, check_pose, check_size


def read_info(path: Path) -> dict[str, str]:
    """All ``key = value`` lines of the file; raises ``SceneError`` where it is missing or not text."""
    check_file(path, "the scan's information in `key = value` lines")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: cannot be read as text ({error})") from error
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_matrix(path: Path) -> Float64[np.ndarray, "4 4"]:
    """The 4x4 matrix of a text file, finite or not; raises ``SceneError`` unless it holds 16 numbers."""
    check_file(path, "a 4x4 matrix as text")
    try:
        return parse_matrix(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise SceneError(f"{path}: cannot be read as text ({error})") from error


def parse_matrix(text: str, where: str) -> Float64[np.ndarray, "4 4"]:
    """The 4x4 matrix written as 16 numbers, row by row."""
    words = text.split()
    if len(words) != 16:
        raise SceneError(f"{where}: holds {len(words)} numbers, expected 16 (a 4x4 matrix, row by row)")
    try:
        return np.array([float(word) for word in words]).reshape(4, 4)
    except ValueError as error:
        raise SceneError(f"{where}: holds something that is no number ({error})") from error


def axis_alignment(info: Mapping[str, str], path: Path) -> Float64[np.ndarray, "4 4"]:
    """The transform from scan to aligned coordinates; identity where the scan gives none, as in the test split."""
    if "axisAlignment" not in info:
        return np.eye(4)
    where = f"{path}: axisAlignment"
    return nearest_rigid(check_pose(parse_matrix(info["axisAlignment"], where), where))


def calibrated_size(info: Mapping[str, str], camera: str, path: Path) -> tuple[int, int] | None:
    """(width, height) that the calibration of ``camera`` (``color`` or ``depth``) is made for, None when not told."""
    width, height = info.get(f"{camera}Width"), info.get(f"{camera}Height")
    if width is None or height is None:
        return None
    return check_size((width, height), f"{path}: {camera}Width and {camera}Height")


def camera_matrix(info: Mapping[str, str], camera: str, path: Path) -> Float64[np.ndarray, "3 3"] | None:
    """The pinhole matrix from fx, fy, mx, my of ``camera``, None when one of them is not told."""
    keys = [f"{name}_{camera}" for name in ("fx", "fy", "mx", "my")]
    if any(key not in info for key in keys):
        return None
    try:
        fx, fy, mx, my = (float(info[key]) for key in keys)
    except ValueError as error:
        raise SceneError(f"{path}: one of {', '.join(keys)} is no number ({error})") from error
    return np.array([[fx, 0.0, mx], [0.0, fy, my], [0.0, 0.0, 1.0]])


def nearest_rigid(pose: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """The pose with the rotation closest to its own (orthogonal Procrustes), which removes rounding."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    rigid = pose.copy()
    rigid[:3, :3] = left @ right
    rigid[3] = [0.0, 0.0, 0.0, 1.0]
    return rigid
