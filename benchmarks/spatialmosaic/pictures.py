"""Where the pictures of a question set are, checked before any model is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from benchmarks.spatialmosaic.listed import listed
from qa_generation.errors import InputError
from spatialvlm.images import MAX_PIXELS

_PROBES = 40  # how many pictures decide which folder is meant


def find_pictures(source: Path, table: pa.Table, image_root: Path | None) -> tuple[Path, pa.Table]:
    """The folder that holds all pictures, and the table with its ``images`` relative to it.

    A dataset folder holds them itself. For a file they are looked for as the authors lay them out, in
    ``<dataset>/<scene>/images`` beside the folder of the file, and in a few places nearby.

    Args:
        source: what the table was read from.
        table: rows of ``qa_generation.records.SCHEMA``.
        image_root: folder given by the user, or None.

    Raises:
        InputError: naming pictures that are missing or cannot be read.
    """
    bases = _bases(source, image_root)
    candidates = [(base, named) for named in _namings(table) for base in bases]
    probes = [sorted(set(pc.unique(pc.list_flatten(named["images"])).to_pylist())) for _, named in candidates]
    steps = [max(1, len(names) // _PROBES) for names in probes]
    found = [
        sum((base / name).is_file() for name in names[::step])
        for (base, _), names, step in zip(candidates, probes, steps, strict=True)
    ]
    best = max(range(len(candidates)), key=lambda index: (found[index], -index))
    root, table = candidates[best]
    _check(source, root, probes[best], bases)
    return root, table


def _bases(source: Path, image_root: Path | None) -> list[Path]:
    if image_root is not None:
        return [image_root]
    if source.is_dir():
        return [source]
    above = [source.parent, source.parent.parent, source.parent.parent.parent]
    return list(dict.fromkeys(folder for base in above for folder in (base, base / "images")))


def _namings(table: pa.Table) -> Iterator[pa.Table]:
    """The table as it is, and with the dataset's name before every relative picture."""
    yield table
    datasets, images = table["dataset"].to_pylist(), table["images"].to_pylist()
    if any(datasets):
        prefixed = [[_under(name, dataset) for name in names] for names, dataset in zip(images, datasets, strict=True)]
        place = table.schema.get_field_index("images")
        yield table.set_column(place, "images", pa.array(prefixed, type=table.schema.field("images").type))


def _under(name: str, dataset: str | None) -> str:
    return name if not dataset or name.startswith("/") else f"{dataset}/{name}"


def _check(source: Path, root: Path, names: Sequence[str], bases: Sequence[Path]) -> None:
    missing = [str(root / name) for name in names if not (root / name).is_file()]
    if missing:
        looked = "" if len(bases) == 1 else f"; looked in {', '.join(map(str, bases))} (--images names another folder)"
        raise InputError(f"{source}: {len(missing)} of {len(names)} pictures are missing: {listed(missing)}{looked}")
    damaged = [f"{root / name} ({reason})" for name in names if (reason := _damage(root / name))]
    if damaged:
        raise InputError(f"{source}: {len(damaged)} of {len(names)} pictures cannot be read: {listed(damaged)}")


def _damage(path: Path) -> str:
    """What is wrong with a picture, as far as its first bytes tell; empty for a good one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return type(error).__name__ if str(path) in str(error) else str(error)
    return f"{width} x {height} pixels, expected at most {MAX_PIXELS:,}" if width * height > MAX_PIXELS else ""
