"""The golden files of RetrievalFuse: packed volumes, encoder pairs, scales, the toy scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.retrieval.encoders import ChunkEncoder, ChunkEncoderConfig
from geometry_encoders.retrieval.scale import GridScale
from tests.golden.conftest import Golden, golden_root
from tests.golden.refinement_files import retrieval_folder

FOLDER = "retrievalfuse"


def retrieval_golden() -> Golden:
    """The folder of RetrievalFuse's files; a skip where it is absent, an error under CI=true."""
    return Golden(retrieval_folder(), embedded=False)


def names_with(prefix: str, field: str) -> list[str]:
    """Names of the json files of that prefix which hold that field; none where the folder is absent."""
    root = golden_root() / FOLDER
    found = sorted(path.stem for path in root.glob(f"{prefix}*.json")) if root.is_dir() else []
    return [name for name in found if field in Golden(root, False).json(name)]


def volume(tensors: Mapping[str, Tensor], key: str, shape: list[int]) -> Tensor:
    """``key`` as float32, unpacked where it is stored as bits."""
    if key in tensors:
        return tensors[key].float()
    bits = np.unpackbits(tensors[f"{key}_bits"].numpy())[: int(np.prod(shape))]
    return torch.from_numpy(bits.reshape(shape).astype(np.float32))


def load_encoder(golden: Golden, name: str, scale: GridScale | None = None) -> ChunkEncoder:
    """The encoder pair of a file; its state dict has published names and is loaded strictly."""
    settings = golden.json(name)["retrieval_model"]
    config = ChunkEncoderConfig(**settings, scale=None if scale is None else asdict(scale))
    model = ChunkEncoder(config).eval()
    state = {key: value for key, value in golden.tensors(name).items() if key.startswith("fenc_")}
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    model.load_state_dict(state, strict=True)
    return model


def scale_of(settings: Mapping[str, Any], input_kind: str) -> GridScale:
    """The scale that a ``dataset_train`` block of a published configuration describes."""
    voxels = round(settings["target_chunk_size"] / settings["input_chunk_size"]) if input_kind == "distance" else 8
    return GridScale(
        settings["voxel_size_target"],
        voxels,  # type: ignore[arg-type]
        input_kind,  # type: ignore[arg-type]
        settings["input_mean"],
        settings["input_std"],
        settings["target_mean"],
        settings["target_std"],
        round_to_half=True,
        input_voxel_size=settings["voxel_size_input"] or None,
    )


def toy_scenes(golden: Golden) -> dict[str, dict[str, Float[Tensor, "z y x"]]]:
    """``target`` and ``input`` distances of every toy window, as in the files of the published layout."""
    settings, tensors = golden.json("toy_scenes"), golden.tensors("toy_scenes")
    truncation = {name: torch.tensor(value, dtype=torch.float32) for name, value in settings["trunc_file"].items()}
    return {
        name: {
            "target": tensors[f"scene/{name}/high_q"].float() / 255 * truncation["target"],
            "input": tensors[f"scene/{name}/low_q"].float() / 255 * truncation["input"],
        }
        for name in settings["all_scenes"]
    }
