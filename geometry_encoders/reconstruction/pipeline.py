"""From pictures to a reconstruction with cameras, by DUSt3R or Spann3R."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.cameras import estimate_cameras
from geometry_encoders.reconstruction.dust3r import Dust3rModel
from geometry_encoders.reconstruction.dust3r.inference import reconstruct_pairs
from geometry_encoders.reconstruction.global_alignment import AlignmentConfig, reconstruct_views, view_pair
from geometry_encoders.reconstruction.global_alignment.pair_graph import read_predictions
from geometry_encoders.reconstruction.metric_scale import transform
from geometry_encoders.reconstruction.pictures import Framing, Picture, read_pictures
from geometry_encoders.reconstruction.registration import Similarity
from geometry_encoders.reconstruction.result import Reconstruction
from geometry_encoders.reconstruction.spann3r import Spann3rModel

Encoder = Dust3rModel | Spann3rModel
SURE_CONFIDENCE = 3.0  # of DUSt3R, raw
COMPLETE_GRAPH_VIEWS = 16  # 240 directed pairs; beyond that a sparse graph grows with n log n
LARGE_ERROR = 0.04  # of the longer side


@dataclass(frozen=True)
class PipelineConfig:
    """How a reconstruction is made.

    Attributes:
        order: of Spann3R: ``online`` takes pictures as they come, ``offline`` finds an order of unordered photos.
        restart_every: of Spann3R online: frames after which its memory starts anew, fragments being joined.
        align: of DUSt3R: ``global`` optimises all views together, ``none`` pairs every view with the first one and
            leaves it at that, ``auto`` is the pair viewer for two views and ``global`` for more.
        scene_graph: which pairs ``global`` uses, see `dust3r.pairs.make_pairs`; by default ``complete`` up to 16
            views, ``logwin-5`` beyond.
        alignment: settings of the global alignment.
        batch_size: pairs or frames that are computed at a time.
    """

    order: Literal["online", "offline"] = "online"
    restart_every: int | None = None
    align: Literal["auto", "none", "global"] = "auto"
    scene_graph: str | None = None
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    batch_size: int = 4


@dataclass(frozen=True)
class Outcome:
    """A reconstruction and what there is to say about it.

    Attributes:
        method: what made it, in words.
        median_error_px: of each view, median distance between its pixels and the projections of their points by its
            camera; None where cameras were optimised together with the points.
        warnings: whole sentences.
    """

    reconstruction: Reconstruction
    method: str
    median_error_px: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def reconstruct(
    sources: Path | str | Sequence[Path | str],
    encoder: Encoder | str | Path,
    size: int | None = None,
    config: PipelineConfig | None = None,
    progress: bool = False,
) -> Reconstruction:
    """The scene in some photos or a video, with cameras where they could be found.

    Example: ``reconstruct("photos", "spann3r.pth").save(Path("scene.npz"))``.

    Args:
        sources: a folder, a video, or several pictures.
        encoder: a model, or what `load_encoder` takes.
        size: see `default_framing`.

    Raises:
        InputError: pictures or an encoder that cannot be used.
    """
    from geometry_encoders.loading import load_encoder

    model = load_encoder(encoder) if isinstance(encoder, str | Path) else encoder
    paths = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    pictures = list(read_pictures(paths, default_framing(model, size)))
    return reconstruct_pictures(pictures, model, config, progress).reconstruction


def default_framing(model: Encoder, size: int | None = None) -> Framing:
    """The framing the weights were trained with, or the nearest to it at another ``size``.

    Models trained on squares below 512 pixels (the 224 DUSt3R, Spann3R, our tiny ones) get squares; the 512 models
    keep the shape of the pictures, square ones included (the original program cuts those to 4:3).
    """
    height, width = model.config.image_size
    trained = max(height, width)
    return Framing(size or trained, square=height == width and trained < 512 and (size or trained) < 512)


def reconstruct_pictures(
    pictures: Sequence[Picture], model: Encoder, config: PipelineConfig | None = None, progress: bool = False
) -> Outcome:
    """The scene in some pictures, in the frame of the first camera (without cameras: of the view visited first).

    Args:
        pictures: at least one; Spann3R wants all of one size. A single picture is paired with itself.
        progress: show bars when stderr is a terminal.

    Raises:
        InputError: no pictures, all of them blank, options that do not fit the model, or a network whose output is not
            finite.
    """
    config = config or PipelineConfig()
    if not pictures:
        raise InputError("no pictures, expected at least one")
    blank = [picture.name for picture in pictures if picture.is_blank]
    if len(blank) == len(pictures):
        raise InputError(f"{blank[0]}: one colour only, as are all pictures; expected some that show something")
    warnings = [f"{name} has one colour only, its points mean nothing" for name in blank]
    if isinstance(model, Spann3rModel):
        outcome = _by_spann3r(pictures, model, config, progress)
    else:
        outcome = _by_dust3r(pictures, model, config, progress)
    return replace(outcome, warnings=(*warnings, *outcome.warnings))


def _by_spann3r(pictures: Sequence[Picture], model: Spann3rModel, config: PipelineConfig, progress: bool) -> Outcome:
    if config.align == "global":
        raise InputError("align global: works on pairs of DUSt3R; expected auto or none for Spann3R")
    if config.scene_graph is not None:
        raise InputError(f"scene_graph {config.scene_graph}: belongs to DUSt3R, expected none for Spann3R")
    found = model.reconstruct(
        [picture.image for picture in pictures],
        config.order,
        restart_every=config.restart_every,
        chunk_frames=config.batch_size,
        progress=progress,
    )
    plain = _result(pictures, list(found.pointmaps), list(found.confidence))
    joints = f", {len(found.joints)} joints" if found.joints else ""
    return _with_cameras(plain, found.order[0], f"Spann3R {config.order}{joints}")


def _by_dust3r(pictures: Sequence[Picture], model: Dust3rModel, config: PipelineConfig, progress: bool) -> Outcome:
    if config.restart_every is not None or config.order != "online":
        raise InputError("order offline and restart_every belong to Spann3R; expected neither for DUSt3R")
    views, names = [_view(picture, number) for number, picture in enumerate(pictures)], _names(pictures)
    if len(views) == 1 or config.align == "none":
        return _anchored(pictures, views, model, config, progress)
    if len(views) == 2 and config.align == "auto":
        output = reconstruct_pairs(model, views, [(0, 1), (1, 0)], config.batch_size, progress)
        sure = min(SURE_CONFIDENCE, *(float(np.median(c)) for p in read_predictions(output) for c in p.confidence))
        result = in_first_camera(view_pair(output, names, min_confidence=0.999 * sure))
        return _checked_poses(Outcome(result, "DUSt3R, pair viewer"))
    graph = config.scene_graph or ("complete" if len(views) <= COMPLETE_GRAPH_VIEWS else "logwin-5")
    result = reconstruct_views(
        model, views, graph, names, config=config.alignment, batch_size=config.batch_size, progress=progress
    )
    return _checked_poses(Outcome(result, f"DUSt3R, global alignment over {graph}"))


def _anchored(
    pictures: Sequence[Picture], views: list[dict[str, Any]], model: Dust3rModel, config: PipelineConfig, progress: bool
) -> Outcome:
    """Every view from its pair with the first one; the first view from its pair with the second."""
    pairs = [(0, number) for number in range(1, len(views))] or [(0, 0)]
    output = reconstruct_pairs(model, views, pairs, config.batch_size, progress)
    points = [output["pred1"]["pts3d"][0], *output["pred2"]["pts3d_in_other_view"]][: len(views)]
    confidence = [output["pred1"]["conf"][0], *output["pred2"]["conf"]][: len(views)]
    plain = _result(pictures, [_map(value, 3) for value in points], [_map(value, 2) for value in confidence])
    method = "DUSt3R, one picture paired with itself" if len(views) == 1 else "DUSt3R, every view paired with the first"
    return _with_cameras(plain, 0, method)


def _map(value: torch.Tensor, axes: int) -> np.ndarray:
    """A map without the batch axis that results of pictures of different sizes have."""
    return value.reshape(value.shape[-axes:]).numpy()


def _view(picture: Picture, number: int) -> dict[str, Any]:
    values = torch.from_numpy(picture.image).permute(2, 0, 1).float() / 255
    return {
        "img": ((values - 0.5) / 0.5).unsqueeze(0),
        "true_shape": torch.tensor([picture.image.shape[:2]], dtype=torch.int32),
        "idx": number,
        "instance": str(number),
    }


def _names(pictures: Sequence[Picture]) -> tuple[str, ...]:
    return tuple(picture.name for picture in pictures)


def _result(
    pictures: Sequence[Picture], points: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> Reconstruction:
    images = tuple(picture.image for picture in pictures)
    return Reconstruction(_names(pictures), images, tuple(points), tuple(confidence))


def _with_cameras(plain: Reconstruction, reference: int, method: str) -> Outcome:
    """Adds estimated cameras; a view that no camera explains leaves the reconstruction without, with a warning."""
    try:
        cameras = estimate_cameras(plain.pointmaps, plain.confidence, plain.names, reference=reference)
    except InputError as error:
        return Outcome(plain, method, warnings=(f"no cameras: {error}",))
    result = replace(plain, camera_to_world=cameras.camera_to_world, intrinsics=cameras.intrinsics)
    sides = np.array([max(size) for size in plain.sizes])
    off = cameras.median_error_px > LARGE_ERROR * sides
    warnings: tuple[str, ...] = ()
    if off.any():
        worst = plain.names[int(np.argmax(cameras.median_error_px / sides))]
        warnings = (
            f"the cameras of {int(off.sum())} of {len(plain)} views do not explain their points (median error above "
            f"{LARGE_ERROR:.0%} of the longer side, worst in {worst}): expect little of these cameras",
        )
    result = in_first_camera(result) if reference else result
    return Outcome(result, method, cameras.median_error_px, warnings)


def _checked_poses(outcome: Outcome) -> Outcome:
    poses = outcome.reconstruction.camera_to_world
    if poses is not None and len(poses) > 1 and np.allclose(poses, poses[0]):
        sentence = "all cameras stand in one place: the views are the same, or nothing told how they lie to each other"
        return replace(outcome, warnings=(*outcome.warnings, sentence))
    return outcome


def in_first_camera(result: Reconstruction) -> Reconstruction:
    """The reconstruction moved so that its first camera is the frame; raises ``InputError`` without poses."""
    if result.camera_to_world is None:
        raise InputError("the reconstruction has no camera poses, expected them")
    motion = np.linalg.inv(result.camera_to_world[0])
    return transform(result, Similarity(1.0, motion[:3, :3], motion[:3, 3]), metric=result.metric)
