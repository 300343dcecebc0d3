"""RetrievalFuse: detailed geometry from low-resolution or sparse input by retrieving chunks of known scenes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geometry_encoders.retrieval.chunk_index import IndexSettings
    from geometry_encoders.retrieval.database import ChunkDatabase
    from geometry_encoders.retrieval.database_header import DatabaseSettings
    from geometry_encoders.retrieval.encoders import ChunkEncoder, ChunkEncoderConfig
    from geometry_encoders.retrieval.refinement import RetrievalFuseConfig, RetrievalFuseModel
    from geometry_encoders.retrieval.retrieved import RetrievedWindows, retrieve, retrieve_windows
    from geometry_encoders.retrieval.scale import PRESETS, GridScale
    from geometry_encoders.retrieval.window_store import MemoryWindows, WindowDataset, WindowStore

_HOMES = {
    "ChunkDatabase": "database",
    "ChunkEncoder": "encoders",
    "ChunkEncoderConfig": "encoders",
    "DatabaseSettings": "database_header",
    "GridScale": "scale",
    "IndexSettings": "chunk_index",
    "MemoryWindows": "window_store",
    "PRESETS": "scale",
    "RetrievalFuseConfig": "refinement",
    "RetrievalFuseModel": "refinement",
    "RetrievedWindows": "retrieved",
    "WindowDataset": "window_store",
    "WindowStore": "window_store",
    "retrieve": "retrieved",
    "retrieve_windows": "retrieved",
}
__all__ = [
    "PRESETS",
    "ChunkDatabase",
    "ChunkEncoder",
    "ChunkEncoderConfig",
    "DatabaseSettings",
    "GridScale",
    "IndexSettings",
    "MemoryWindows",
    "RetrievalFuseConfig",
    "RetrievalFuseModel",
    "RetrievedWindows",
    "WindowDataset",
    "WindowStore",
    "retrieve",
    "retrieve_windows",
]


def __getattr__(name: str) -> Any:  # torch and datasets take seconds to import, so they wait until they are needed
    if name in _HOMES:
        return getattr(importlib.import_module(f"geometry_encoders.retrieval.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
