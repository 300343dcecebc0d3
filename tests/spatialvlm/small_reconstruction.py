"""Rooms and a network on which the training of reconstruction networks runs in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from geometry_encoders.reconstruction import Dust3rConfig, Dust3rModel
from qa_generation.readers.base import READERS
from tests.spatialvlm.empty_rooms import write_rooms


def rooms_to_train_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four empty rooms under ``folder`` and a reader ``rooms`` for them, in a process ready for another recipe."""
    monkeypatch.setitem(READERS, "rooms", "tests.spatialvlm.empty_rooms:RoomReader")
    write_rooms(folder / "rooms", scenes=4)
    AcceleratorState._reset_state(reset_partial_state=True)  # one process runs several recipes here
    torch.set_num_threads(1)
    return folder / "rooms"


def small_dust3r(folder: Path, image_px: int) -> str:
    """The folder, with a DUSt3R small enough to train in seconds in it."""
    torch.manual_seed(0)
    sizes = {"enc_embed_dim": 32, "enc_depth": 1, "enc_num_heads": 2, "dec_embed_dim": 32, "dec_depth": 1}
    Dust3rModel(Dust3rConfig(image_size=(image_px, image_px), dec_num_heads=2, **sizes)).save_pretrained(folder)
    return str(folder)
