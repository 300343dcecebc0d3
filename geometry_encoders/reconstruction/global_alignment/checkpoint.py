"""Where an interrupted alignment goes on."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import AlignmentConfig, KnownCameras
from geometry_encoders.reconstruction.global_alignment.pair_graph import PairGraph

UNLIKE = {"device", "storage", "chunk_points", "clean", "sky", "first_camera_identity"}  # do not change the way


@dataclass
class Progress:
    """How far an alignment has come: tensors and numbers only, so that reading it back runs nothing."""

    parameters: dict[str, torch.Tensor]
    start: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    losses: list[float]
    learning_rates: list[float]


def fingerprint(graph: PairGraph, config: AlignmentConfig, known: KnownCameras) -> str:
    """Equal for alignments of the same pairs with the same settings."""
    digest = hashlib.sha256()
    settings = [(entry.name, getattr(config, entry.name)) for entry in fields(config) if entry.name not in UNLIKE]
    digest.update(repr((graph.edges, graph.sizes, settings)).encode())
    digest.update(graph.mean_confidence.tobytes())
    for cameras in (known.camera_to_world, known.intrinsics, known.focals):
        for view in sorted(cameras):
            digest.update(repr(view).encode() + np.asarray(cameras[view], dtype=np.float64).tobytes())
    return digest.hexdigest()


def save_progress(path: Path, mark: str, progress: Progress) -> None:
    """Writes the file in one go, so that an interruption leaves the one before."""
    unfinished = path.with_name(path.name + ".part")
    torch.save({"fingerprint": mark} | vars(progress), unfinished)
    unfinished.replace(path)


def load_progress(path: Path, mark: str) -> Progress | None:
    """What `save_progress` wrote, None where there is no file.

    Raises:
        InputError: a damaged file, or one of another alignment.
    """
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        found = stored.pop("fingerprint")
        progress = Progress(**stored)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not readable as the state of an alignment, expected one or no file") from error
    if found != mark:
        raise InputError(f"{path}: the state of another alignment, expected the same pairs, settings and known cameras")
    return progress
