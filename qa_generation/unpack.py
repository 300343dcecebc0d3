"""Writes the pictures of a packed set out again, for readers that want files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qa_generation.errors import InputError


def unpack_pictures(files: Sequence[Path], folder: Path) -> int:
    """Writes every picture of these packed Parquet files below ``folder`` that is not there yet; gives their number.

    A picture lies where ``image_paths`` names it. Several processes may do so at once. One row group is in memory.

    Raises:
        InputError: a file is no packed one, names a picture outside ``folder``, or ``folder`` cannot be written to.
    """
    written = 0
    for path in files:
        try:
            packed = pq.ParquetFile(path)
            named = pc.unique(pc.list_flatten(packed.read(columns=["image_paths"])["image_paths"])).to_pylist()
            if all(_place(folder, name, path).is_file() for name in named):
                continue
            for group in range(packed.num_row_groups):
                written += _unpack_group(packed.read_row_group(group, columns=["image_paths", "images"]), folder, path)
        except (KeyError, pa.ArrowException) as error:
            raise InputError(f"{path}: not readable as a file of spatialvlm pack ({error})") from error
        except OSError as error:
            raise InputError(f"{folder}: pictures of {path.name} cannot be written there ({error})") from error
    return written


def _unpack_group(table: pa.Table, folder: Path, source: Path) -> int:
    written = 0
    names = pc.list_flatten(table["image_paths"]).to_pylist()
    pictures = pc.struct_field(pc.list_flatten(table["images"]), "bytes").combine_chunks()
    seen: set[str] = set()
    for index, name in enumerate(names):
        place = _place(folder, name, source)
        if name in seen or place.is_file():
            continue
        seen.add(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{uuid4().hex}.partial")
        partial.write_bytes(pictures[index].as_py())
        partial.replace(place)
        written += 1
    return written


def _place(folder: Path, name: str, source: Path) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{source}: image {name!r} leaves the dataset folder, expected a path inside it")
    return folder / name
