"""Ways to spoil a folder of a dataset: each takes a file or folder in it and a generator that decides everything.

``outside`` is a folder beside the dataset (``root``) that links may lead to; nothing in it may ever change.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Mutation = Callable[[Path, np.random.Generator, Path], None]
ODD_NAMES = ("ünïcödé 場面", "a b\tc", "-rf", "'; drop", "🛋️", "x" * 200, ".hidden", "%2e%2e", "CON", "nul\u202egpj")
HUGE = (1e308, -1e308, float("nan"), float("inf"), 1e-320, -1.0, 0.0, 2**31, 2**63, 10**400, 1e20)
ODD_VALUES: tuple[Any, ...] = (None, True, "", "NaN", "../../../etc/passwd", "\u0000", [], {}, [[]], [1, "a"], *HUGE)
WORDS = ("nan", "inf", "-inf", "1e999", "9" * 400, "-1", "0", "", "abc", "½", "../..", "\x00", "1,5", "0x10")


def cut_off(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The file ends somewhere."""
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content) + 1))])


def cut_tail(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The file lacks its last few bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - int(rng.integers(1, 9)), 0)])


def emptied(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The file holds nothing."""
    path.write_bytes(b"")


def removed(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The file is not there."""
    path.unlink()


def made_folder(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A folder stands where the file was."""
    path.unlink()
    path.mkdir()


def flipped(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """Some bytes have other values."""
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    if len(content):
        count = int(rng.integers(1, 20))
        content[rng.integers(len(content), size=count)] = rng.integers(256, size=count)
    path.write_bytes(content.tobytes())


def stamped(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """Eight bytes, mostly in the header, are those of an extreme number."""
    content = bytearray(path.read_bytes())
    stamps = (
        b"\xff" * 8,
        b"\x00" * 8,
        b"\x7f" + b"\xff" * 7,
        struct.pack("<d", float("nan")),
        struct.pack("<d", 1e300),
    )
    reach = min(len(content), 256) if rng.random() < 0.7 else len(content)
    start = int(rng.integers(reach + 1))
    content[start : start + 8] = stamps[int(rng.integers(len(stamps)))]
    path.write_bytes(bytes(content))


def doubled(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The content stands there twice."""
    path.write_bytes(path.read_bytes() * 2)


def swapped(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The file has the content of another one of the folder."""
    root = outside.parent / "root"
    others = sorted(other for other in root.rglob("*") if other.is_file() and other != path) or [path]
    path.write_bytes(others[int(rng.integers(len(others)))].read_bytes())


def linked_outside(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A link leads out of the dataset, to a file, a folder, a device, itself or nowhere."""
    target = (outside / "file.txt", outside, Path("/dev/zero"), path, outside / "nowhere")[int(rng.integers(5))]
    path.unlink()
    path.symlink_to(target)


def made_pipe(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A named pipe, on which reading waits for ever."""
    path.unlink()
    os.mkfifo(path)


def renamed(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """File or folder has an odd name."""
    path.rename(path.with_name(str(rng.choice(ODD_NAMES)) + path.suffix))


def odd_neighbour(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A copy with an odd name stands beside it."""
    target = path.with_name(str(rng.choice(ODD_NAMES)) + path.suffix)
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copyfile(path, target)


def folder_linked(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The folder is a link to one outside of the dataset that holds the same."""
    kept = outside / f"moved-{path.name}"
    if not kept.exists():
        shutil.move(path, kept)
        path.symlink_to(kept, target_is_directory=True)


def folder_gone(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """The folder is missing, or a file."""
    shutil.rmtree(path)
    if rng.random() < 0.5:
        path.write_bytes(b"not a folder")


def json_value(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """One value anywhere in a JSON file is another."""
    content = json.loads(path.read_text(encoding="utf-8"))
    here, holders = content, []
    while isinstance(here, (dict, list)) and here:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = keys[int(rng.integers(len(keys)))]
        holders.append((here, key))
        here = here[key]
    if not holders:
        return
    holder, key = holders[int(rng.integers(len(holders)))]
    if rng.random() < 0.15:
        del holder[key]
    else:
        holder[key] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    path.write_text(json.dumps(content), encoding="utf-8")


def json_deep(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A JSON file is nested far deeper than anything reads, or is of another kind."""
    texts = (
        "[" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "null",
        "3",
        '"text"',
        "[]",
        "{}",
        "9" * 5000,
        "\ufeff{}",
    )
    path.write_text(texts[int(rng.integers(len(texts)))], encoding="utf-8")


def text_word(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """One word of a text file is another."""
    parts = re.split(r"([\s,;]+)", path.read_text(encoding="utf-8", errors="surrogateescape"))
    parts[2 * int(rng.integers((len(parts) + 1) // 2))] = str(rng.choice(WORDS))
    path.write_text("".join(parts), encoding="utf-8", errors="surrogateescape")


def text_lines(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """Lines of a text file are in another order, missing or twice there."""
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    lines = [lines[int(i)] for i in rng.integers(len(lines), size=len(lines))] if lines else []
    path.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")


def array_changed(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """An array of an npz file is missing, of another type, size or rank, or holds objects that need unpickling."""
    with np.load(path) as stored:
        arrays: dict[str, Any] = dict(stored)
    name = str(rng.choice(sorted(arrays)))
    spoiled = arrays[name]
    choice = int(rng.integers(7))
    if choice == 0:
        del arrays[name]
    elif choice == 1:
        arrays[name] = np.array([{"a": 1}, None], dtype=object)
    elif choice == 2:
        arrays[name] = spoiled[: int(rng.integers(len(spoiled)))]
    elif choice == 3:
        arrays[name] = spoiled.astype(str(rng.choice(["float16", "complex64", "uint8", "U8", "bool", "datetime64[s]"])))
    elif choice == 4:
        arrays[name] = spoiled.reshape(-1)
    else:
        flat = spoiled.reshape(-1)
        value = (
            (np.nan, 1e38, np.inf)[int(rng.integers(3))] if spoiled.dtype.kind == "f" else np.iinfo(spoiled.dtype).max
        )
        flat[rng.integers(len(flat), size=5)] = value
    np.savez(path, **arrays)


def table_changed(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A column of a parquet file is missing, of another type, or has an extreme value or a gap somewhere."""
    table = pq.read_table(path)
    place = int(rng.integers(table.num_columns))
    field, cells = table.schema.field(place), table.column(place).to_pylist()
    choice = int(rng.integers(6))
    if choice == 0:
        table = table.remove_column(place)
    elif choice == 1:
        table = table.set_column(place, field.name, pa.array([str(cell) for cell in cells], pa.string()))
    elif choice == 2:
        table = table.slice(0, int(rng.integers(table.num_rows + 1)))
    elif choice == 3:
        table = table.take(rng.permutation(table.num_rows))
    else:
        row = int(rng.integers(len(cells)))
        cells[row] = _odd_cell(cells[row], rng)
        table = table.set_column(place, field, pa.array(cells, field.type))
    pq.write_table(table, path)


def _odd_cell(cell: Any, rng: np.random.Generator) -> Any:
    if isinstance(cell, float):
        return HUGE[int(rng.integers(7))]
    if isinstance(cell, int):
        return int(rng.choice([-1, 0, 99, 127]))
    if isinstance(cell, list) and cell and rng.random() < 0.7:
        spoiled = list(cell)
        spoiled[int(rng.integers(len(cell)))] = _odd_cell(cell[0], rng)
        return spoiled
    if isinstance(cell, bytes):
        return cell[: int(rng.integers(len(cell) + 1))]
    return None


def picture_bomb(path: Path, rng: np.random.Generator, outside: Path) -> None:
    """A PNG whose header promises far more pixels than anybody has memory for, or a picture of another size or mode."""
    mode, side = (("L", 8), ("RGBA", 31), ("1", 640), ("I;16", 16), ("P", 5))[int(rng.integers(5))]
    buffer = io.BytesIO()
    Image.new(mode, (side, side)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    if rng.random() < 0.5:
        content[16:24] = struct.pack(">II", 60_000, 60_000)
        content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(bytes(content))


ON_FILES: tuple[Mutation, ...] = (
    cut_off, cut_tail, emptied, removed, made_folder, flipped, stamped, doubled, swapped, linked_outside, made_pipe,
    renamed, odd_neighbour,
)  # fmt: skip
ON_FOLDERS: tuple[Mutation, ...] = (folder_gone, folder_linked, renamed, odd_neighbour)
BY_ENDING: dict[str, tuple[Mutation, ...]] = {
    ".json": (json_value, json_value, json_value, json_deep),
    ".txt": (text_word, text_word, text_lines),
    ".csv": (text_word, text_lines),
    ".tsv": (text_word, text_lines),
    ".traj": (text_word, text_word, text_lines),
    ".pincam": (text_word, text_word),
    ".npz": (array_changed, array_changed, array_changed),
    ".parquet": (table_changed, table_changed, table_changed),
    ".png": (picture_bomb, picture_bomb),
    ".jpg": (picture_bomb, picture_bomb),
}


def spoil(root: Path, rng: np.random.Generator, outside: Path) -> list[str]:
    """Spoils one to three things below ``root``; tells what, e.g. ``cut_off scans/x/y.txt``."""
    told: list[str] = []
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        everything = sorted(path for path in root.rglob("*") if not path.is_symlink())
        files = [path for path in everything if path.is_file()]
        folders = [path for path in everything if path.is_dir()]
        on_folder = bool(folders) and (not files or rng.random() < 0.12)
        # a kind of file first, or the hundred pictures of a scene would get all the attention
        kinds = sorted({path.suffix for path in files})
        kind = str(rng.choice(kinds)) if kinds else ""
        places = folders if on_folder else [path for path in files if path.suffix == kind]
        if not places:
            return told
        path = places[int(rng.integers(len(places)))]
        own = BY_ENDING.get(path.suffix, ()) if not on_folder else ()
        choices = own if own and rng.random() < 0.6 else ON_FOLDERS if on_folder else ON_FILES
        mutation = choices[int(rng.integers(len(choices)))]
        told.append(f"{mutation.__name__} {path.relative_to(root)}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mutation(path, rng, outside)
        except Exception as error:
            # what an earlier mutation left here cannot always be spoiled in this way too
            told[-1] += f" (not possible: {type(error).__name__})"
    return told
