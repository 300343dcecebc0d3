"""Writes a reconstruction to a folder in several formats at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from PIL import Image

from geometry_encoders.errors import InputError
from geometry_encoders.exports.colmap import write_colmap
from geometry_encoders.exports.glb import write_glb
from geometry_encoders.exports.nerfstudio import write_transforms
from geometry_encoders.exports.originals import ExportedPictures
from geometry_encoders.exports.ply import write_ply
from geometry_encoders.reconstruction.result import Reconstruction

FORMATS = ("ply", "glb", "colmap", "colmap-text", "nerfstudio", "npz")
WITH_CAMERAS = ("colmap", "colmap-text", "nerfstudio")
PICTURES = "images"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        files: per format the file or folder to open.
        points: in the point clouds.
        skipped: per format that could not be written, why.
    """

    files: dict[str, Path]
    points: int
    skipped: dict[str, str]


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats in a comma-separated list; raises ``InputError`` for a name that does not exist."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise InputError(f"formats {text!r}: expected some of {', '.join(FORMATS)}")
    return names


def write_all(
    result: Reconstruction,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    min_confidence: float = 0.0,
    pictures: ExportedPictures | None = None,
) -> Written:
    """Writes ``points.ply``, ``scene.glb``, ``sparse/0`` (COLMAP), ``transforms.json`` and ``reconstruction.npz``.

    Formats that need cameras are skipped where there are none. nerfstudio brings the PLY along; it and COLMAP bring
    the pictures, in ``images``.

    Args:
        folder: made if needed.
        min_confidence: points above it are written.
        pictures: full-size picture files that lie in the folder already; by default the pictures as the network saw
            them are written.

    Raises:
        InputError: an unknown format, or no point above the confidence.
    """
    parse_formats(",".join(formats))
    cloud = result.point_cloud(min_confidence)
    if not len(cloud):
        highest = max(float(values.max()) for values in result.confidence)
        raise InputError(f"confidence {min_confidence:g}: no point is above it, expected a value below {highest:.4g}")
    folder.mkdir(parents=True, exist_ok=True)
    has_cameras = result.camera_to_world is not None and result.intrinsics is not None
    skipped = {} if has_cameras else {name: "no cameras were found" for name in formats if name in WITH_CAMERAS}
    wanted = [name for name in formats if name not in skipped]
    files: dict[str, Path] = {}
    if "ply" in wanted or "nerfstudio" in wanted:
        files["ply"] = folder / "points.ply"
        write_ply(cloud, files["ply"])
    if "glb" in wanted:
        files["glb"] = folder / "scene.glb"
        write_glb(cloud, files["glb"], cameras_of=result)
    if "npz" in wanted:
        files["npz"] = folder / "reconstruction.npz"
        result.save(files["npz"])
    if any(name in WITH_CAMERAS for name in wanted):
        pictures = pictures or write_pictures(result, folder)
        files |= _write_cameras(result, folder, wanted, min_confidence, pictures)
    return Written(files, len(cloud), skipped)


def _write_cameras(
    result: Reconstruction, folder: Path, wanted: Sequence[str], min_confidence: float, pictures: ExportedPictures
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    bare = replace(pictures, files=tuple(PurePosixPath(file).name for file in pictures.files))  # relative to images/
    if "colmap" in wanted:
        files["colmap"] = folder / "sparse" / "0"
        write_colmap(result, files["colmap"], bare, min_confidence, "binary")
    if "colmap-text" in wanted:
        files["colmap-text"] = folder / "sparse" / "text"
        write_colmap(result, files["colmap-text"], bare, min_confidence, "text")
    if "nerfstudio" in wanted:
        files["nerfstudio"] = folder / "transforms.json"
        write_transforms(result, files["nerfstudio"], pictures, ply_file="points.ply")
    return files


def write_pictures(result: Reconstruction, folder: Path) -> ExportedPictures:
    """Writes the pictures as the network saw them to ``images`` and tells where they are."""
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    files = tuple(f"{PICTURES}/{Path(name).stem}.png" for name in result.names)
    if len(set(files)) != len(files):
        raise InputError("names of views: some differ in their ending only, expected one picture file per view")
    for file, image in zip(files, result.images, strict=True):
        Image.fromarray(image).save(folder / file)
    return ExportedPictures.as_seen(result, files)
