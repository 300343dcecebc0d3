"""What a chunk database says about itself: settings, encoder, files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunk_index import IndexSettings
from geometry_encoders.retrieval.chunk_shards import ChunkDtype
from geometry_encoders.retrieval.chunks import ChunkLayout
from geometry_encoders.retrieval.scale import GridScale
from geometry_encoders.whole_files import whole_file

HEADER = "database.json"
_FORMAT = 1


@dataclass(frozen=True)
class DatabaseSettings:
    """How a database keeps its chunks.

    Attributes:
        index: exact or approximate search.
        chunk_dtype: ``float16`` takes 8 KiB per chunk, ``float32`` loses nothing.
        keep_empty: whether chunks without any surface nearby get a row (the published database leaves them out).
        empty_feature: what the encoder sees for the one row that stands for emptiness: ``ones`` as published, or the
            ``truncation`` distance, what empty space really looks like.
        windows_per_shard: windows per Arrow file; a killed build goes on behind the last whole one.
    """

    index: IndexSettings = field(default_factory=IndexSettings)
    chunk_dtype: ChunkDtype = "float16"
    keep_empty: bool = False
    empty_feature: Literal["ones", "truncation"] = "ones"
    windows_per_shard: int = 256


@dataclass(frozen=True)
class DatabaseHeader:
    """The contents of ``database.json``: ``shards`` are (file, rows), ``index`` the stem of the index files."""

    encoder: str
    scale: GridScale
    layout: ChunkLayout
    latent_dim: int
    settings: DatabaseSettings
    shards: tuple[tuple[str, int], ...] = ()
    index: str | None = None

    @property
    def rows(self) -> int:
        """Chunks in all files."""
        return sum(count for _, count in self.shards)


def read_header(folder: Path) -> DatabaseHeader:
    """The header of a database folder; raises ``InputError`` where there is none that can be read."""
    path = folder / HEADER
    if not path.is_file():
        raise InputError(f"{folder}: no {HEADER}, expected a chunk database")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise InputError(f"{path}: format {content['format']}, expected {_FORMAT}")
        settings = dict(content["settings"])
        shards = tuple((str(name), int(count)) for name, count in content["shards"])
        header = DatabaseHeader(
            content["encoder"],
            GridScale(**content["scale"]),
            ChunkLayout(**content["layout"]),
            int(content["latent_dim"]),
            DatabaseSettings(**(settings | {"index": IndexSettings(**settings["index"])})),
            shards,
            content["index"],
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the header of a chunk database ({error!r})") from error
    for name in (*(name for name, _ in shards), header.index or "index"):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path}: names {name!r}, expected a file inside of the folder")
    return header


def write_header(folder: Path, header: DatabaseHeader) -> None:
    """Replaces the header in one move."""
    content = {"format": _FORMAT, **asdict(header)}
    with whole_file(folder / HEADER) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
