"""The verb ``spatialvlm reconstruct``: photos or a video in, point clouds and cameras out."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from geometry_encoders.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from geometry_encoders.exports.write import Written
    from geometry_encoders.reconstruction.pictures import Picture
    from geometry_encoders.reconstruction.pipeline import Outcome, PipelineConfig
    from geometry_encoders.reconstruction.result import Reconstruction

SUMMARY = "summary.json"
DEFAULT_KEPT = 0.8


def reconstruct(
    images: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, or videos, of one place.")],
    encoder: Annotated[str, typer.Option(help="Folder, published .pth file, or 'tiny' for the packaged one.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    formats: Annotated[str, typer.Option(help="Of ply, glb, colmap, colmap-text, nerfstudio, npz.")] = (
        "ply,glb,colmap,nerfstudio"
    ),
    every: Annotated[int, typer.Option(help="Take every k-th picture or frame.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Take so many at most.")] = None,
    size: Annotated[int | None, typer.Option(help="Long edge in pixels; by default what the encoder knows.")] = None,
    order: Annotated[str, typer.Option(help="Spann3R: online (as they come) or offline (finds an order).")] = "online",
    restart_every: Annotated[
        int | None, typer.Option(help="Spann3R, long videos: start its memory anew after so many frames.")
    ] = None,
    align: Annotated[str, typer.Option(help="DUSt3R: auto, none or global.")] = "auto",
    scene_graph: Annotated[
        str | None, typer.Option(help="DUSt3R, pairs of 'global': complete, swin-5, logwin-4, oneref-0 ...")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Keep points above it, in the encoder's range; by default the surest 80 %.")
    ] = None,
    metric_distance: Annotated[
        tuple[str, str, float] | None,
        typer.Option(
            help="Two pixels NAME:X,Y of the original pictures and their distance in metres.", metavar="A B M"
        ),
    ] = None,
    metric_positions: Annotated[
        Path | None, typer.Option(help="JSON: picture name to camera position x, y, z in metres.")
    ] = None,
    full_size: Annotated[
        bool, typer.Option(help="Cameras for the full-size pictures, which are copied along.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier reconstruction in OUT.")] = False,
) -> None:
    """Reconstruct a place from photos or a video: point clouds and cameras for other tools.

    Example: spatialvlm reconstruct photos --encoder spann3r.pth --out scene
    """
    from geometry_encoders.exports.write import parse_formats, write_all
    from geometry_encoders.loading import load_encoder
    from geometry_encoders.reconstruction.pipeline import default_framing, reconstruct_pictures

    started = time.monotonic()
    wanted, config = parse_formats(formats), _config(order, restart_every, align, scene_graph)
    _check_target(out, overwrite)
    model = load_encoder(encoder)
    out.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    partial = workshop / out.name  # appears under its name only when it is whole
    partial.mkdir()
    try:
        pictures = _read(images, default_framing(model, size), every, limit, partial if full_size else None)
        outcome = reconstruct_pictures(pictures, model, config, progress=True)
        result = _metric(outcome.reconstruction, pictures, metric_distance, metric_positions)
        threshold = _threshold(result) if confidence is None else confidence
        originals = _full_size_pictures(pictures) if full_size else None
        written = write_all(result, partial, wanted, threshold, originals)
        outcome = replace(outcome, reconstruction=result)
        summary = _summary(outcome, written, threshold, partial, encoder) | {"seconds": time.monotonic() - started}
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    _report(summary, out)


def _config(order: str, restart_every: int | None, align: str, scene_graph: str | None) -> PipelineConfig:
    from geometry_encoders.reconstruction.pipeline import PipelineConfig

    if order not in ("online", "offline"):
        raise InputError(f"--order {order}: expected online or offline")
    if align not in ("auto", "none", "global"):
        raise InputError(f"--align {align}: expected auto, none or global")
    return PipelineConfig(
        order=cast(Literal["online", "offline"], order),
        restart_every=restart_every,
        align=cast(Literal["auto", "none", "global"], align),
        scene_graph=scene_graph,
    )


def _check_target(out: Path, overwrite: bool) -> None:
    """Refuses to touch anything that is not an earlier reconstruction, and that too unless told to."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / SUMMARY).is_file():
        raise InputError(f"{out}: exists and is no earlier reconstruction, expected a new folder")
    if not overwrite:
        raise InputError(f"{out}: holds a reconstruction already, expected a new folder or --overwrite")


def _read(sources: list[Path], framing: Any, every: int, limit: int | None, keep_in: Path | None) -> list[Picture]:
    """The pictures at the size of the network; the full-size ones are written to ``keep_in`` as they go by."""
    from tqdm import tqdm

    from geometry_encoders.reconstruction.pictures import read_pictures

    def keep(name: str, original: Any) -> None:
        assert keep_in is not None
        target = keep_in / _full_size_file(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        original.save(target, quality=95)

    stream = read_pictures(sources, framing, every, limit, keep if keep_in is not None else None)
    return list(tqdm(stream, desc="pictures", unit="", disable=None))


def _full_size_file(name: str) -> str:
    return f"images/{Path(name).stem}.jpg"


def _full_size_pictures(pictures: list[Picture]) -> Any:
    import numpy as np

    from geometry_encoders.exports.originals import ExportedPictures

    return ExportedPictures(
        tuple(_full_size_file(picture.name) for picture in pictures),
        tuple(picture.original_size for picture in pictures),
        np.stack([picture.original_from_view for picture in pictures]),
    )


def _metric(
    result: Reconstruction,
    pictures: list[Picture],
    distance: tuple[str, str, float] | None,
    positions: Path | None,
) -> Reconstruction:
    from geometry_encoders.reconstruction import metric_scale

    if distance is not None and positions is not None:
        raise InputError("--metric-distance and --metric-positions: expected one of them")
    if distance is not None:
        first, second, metres = distance
        pixels = _parse_pixel(first, pictures), _parse_pixel(second, pictures)
        return metric_scale.rescale(result, metric_scale.scale_from_distance(result, *pixels, metres))
    if positions is not None:
        known = _read_positions(positions, result.names)
        return metric_scale.rescale(result, metric_scale.scale_from_positions(result, known))
    return result


def _parse_pixel(text: str, pictures: list[Picture]) -> tuple[int, int, int]:
    """(view, column, row) at the size of the network from NAME:X,Y in the original picture."""
    import numpy as np

    name, _, pixel = text.rpartition(":")
    try:
        x, y = (float(value) for value in pixel.split(","))
    except ValueError as error:
        raise InputError(f"--metric-distance {text!r}: expected NAME:X,Y, e.g. IMG_1.jpg:120,80") from error
    names = [picture.name for picture in pictures]
    if name not in names:
        raise InputError(f"--metric-distance {text!r}: no picture {name!r}, expected one of {', '.join(names[:5])} ...")
    picture = pictures[names.index(name)]
    column, row, _ = np.rint(np.linalg.inv(picture.original_from_view) @ (x, y, 1)).astype(int).tolist()
    height, width = picture.image.shape[:2]
    if not (0 <= column < width and 0 <= row < height):
        raise InputError(f"--metric-distance {text!r}: outside the part of {name} that the network sees")
    return names.index(name), column, row


def _read_positions(path: Path, names: tuple[str, ...]) -> np.ndarray:
    import numpy as np

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return np.array([content[name] for name in names], dtype=np.float64)
    except KeyError as error:
        raise InputError(f"{path}: no position of {error}, expected one for every picture") from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable ({error}), expected JSON like {{'a.jpg': [0, 0, 1.5]}}") from error


def _threshold(result: Reconstruction) -> float:
    import numpy as np

    confidence = np.concatenate([values[values > 0] for values in result.confidence])
    if not len(confidence):
        raise InputError("no pixel has any confidence left, expected pictures of one place")
    threshold = float(np.quantile(confidence, 1 - DEFAULT_KEPT))
    return threshold if threshold < confidence.max() else 0.0  # all alike: keep all


def _summary(outcome: Outcome, written: Written, threshold: float, folder: Path, encoder: str) -> dict[str, Any]:
    import numpy as np

    result, errors = outcome.reconstruction, outcome.median_error_px
    focals = None if result.intrinsics is None else result.intrinsics[:, 0, 0].round(3).tolist()
    confidence = np.concatenate([values.ravel() for values in result.confidence])
    return {
        "encoder": encoder,
        "method": outcome.method,
        "views": list(result.names),
        "sizes": [f"{width}x{height}" for height, width in result.sizes],
        "metric": result.metric,
        "frame": "first camera, OpenCV axes (x right, y down, z forward)",
        "points": written.points,
        "confidence_threshold": threshold,
        "confidence_range": [float(confidence.min()), float(confidence.max())],
        "focal_px": focals,
        "camera_median_error_px": None
        if errors is None
        else [float(value) if np.isfinite(value) else None for value in errors.round(3)],
        "files": {name: path.relative_to(folder).as_posix() for name, path in written.files.items()},
        "skipped": written.skipped,
        "warnings": list(outcome.warnings),
    }


def _report(summary: dict[str, Any], out: Path) -> None:
    unit = "metres" if summary["metric"] else "no metric scale"
    print(f"{len(summary['views'])} views, {summary['points']:,} points, {summary['method']}, {unit}")
    for warning in summary["warnings"][:5]:
        typer.echo(f"warning: {warning}", err=True)
    if len(summary["warnings"]) > 5:
        typer.echo(f"warning: {len(summary['warnings']) - 5} more in {out / SUMMARY}", err=True)
    for name, reason in summary["skipped"].items():
        typer.echo(f"not written: {name} ({reason})", err=True)
    for name, path in summary["files"].items():
        print(f"{name:12} {out / path}")
    print(f"{'summary':12} {out / SUMMARY}")
