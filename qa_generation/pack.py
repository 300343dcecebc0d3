"""Packs a set for training from object storage: few large files that hold the pictures next to the questions.

    OUT/data/<split>-00000.parquet   one row per question, ``images`` holding the encoded pictures
    OUT/data/<split>-00000.tar       or WebDataset: one sample per view set, its pictures and all its questions
    OUT/README.md                    how ``datasets.load_dataset`` finds them

Questions about the same views stay together, and view sets of ``mix`` scenes are shuffled with each other, so that a
streaming reader with a small buffer still sees many places. The bytes follow from the set, the settings and the seed.
A shard appears under its name only when it is complete; a run that was stopped goes on with the first missing one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from tqdm import tqdm

from qa_generation.errors import InputError
from qa_generation.pack_formats import ROWS_PER_GROUP, ShardWriter, open_writer
from qa_generation.question_files import QuestionFile, question_files
from qa_generation.seeding import generator

CONTAINERS = ("parquet", "webdataset")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_MARK = "pack.json"


@dataclass(frozen=True)
class PackConfig:
    """How a set is packed.

    Attributes:
        shard_size: bytes of pictures after which a shard is closed; the last of a split is smaller.
        container: ``parquet`` or ``webdataset``.
        mix: scenes whose view sets are shuffled with each other.
        seed: of that shuffle.
    """

    shard_size: int = 500_000_000
    container: str = "parquet"
    mix: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise InputError(f"shard size is {self.shard_size} bytes, expected at least 1")
        if self.container not in CONTAINERS:
            raise InputError(f"format is {self.container!r}, expected parquet or webdataset")
        if self.mix < 1:
            raise InputError(f"mix is {self.mix} scenes, expected at least 1")


@dataclass(frozen=True)
class PackReport:
    """What was packed: files and records per split, bytes of all files, and how many files were there already."""

    files: dict[str, int]
    records: dict[str, int]
    size: int
    kept: int


@dataclass(frozen=True)
class Group:
    """The questions about one view set, with the pictures they share."""

    rows: pa.Table
    images: tuple[Path, ...]


def parse_bytes(text: str) -> int:
    """Bytes from ``500MB``; raises ``InputError`` for what is no whole number with B, KB, MB or GB."""
    number = text.strip().upper().rstrip("KMGB")
    unit = text.strip().upper()[len(number) :]
    if not number.strip().isdigit() or unit not in _UNITS or int(number) == 0:
        raise InputError(f"--shard-size is {text!r}, expected bytes such as 500MB or 2GB")
    return int(number) * _UNITS[unit]


def pack_dataset(
    out: Path,
    target: Path,
    *,
    config: PackConfig | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> PackReport:
    """Packs the set in ``out`` into the folder ``target`` and tells what was made.

    Args:
        out: a set that ``spatialvlm generate`` wrote, with its pictures.
        target: another folder; complete shards of the same set and settings in it are kept.
        config: size and kind of shards.
        overwrite: drop what an earlier packing with other settings left there.
        progress: show a bar on a terminal.

    Raises:
        InputError: no questions or a picture missing in ``out``, or ``target`` holds something else.
    """
    config = config or PackConfig()
    files = question_files(out)
    if any(file.path.parent == out / "data" for file in files):
        raise InputError(f"{out}: is packed already, expected a set that spatialvlm generate wrote")
    _written(target, partial(_prepare, out, target, config, _fingerprint(files, config), overwrite))
    splits = list(dict.fromkeys(file.split for file in files))
    totals = {split: _Totals() for split in splits}
    with tqdm(total=len(files), desc="pack", unit="scene", disable=None if progress else True) as bar:
        for split in splits:
            groups = _mixed_groups(out, [file for file in files if file.split == split], config, bar)
            _pack_split(groups, target, split, config, totals[split])
    _written(target, partial(_finish, out, target, config, files, splits))
    return PackReport(
        {split: each.files for split, each in totals.items()},
        {split: each.records for split, each in totals.items()},
        sum(path.stat().st_size for path in (target / "data").iterdir()),
        sum(each.kept for each in totals.values()),
    )


def _finish(out: Path, target: Path, config: PackConfig, files: list[QuestionFile], splits: list[str]) -> None:
    """The card, and the mark that all is there."""
    from qa_generation.dataset_card import write_packed_card

    write_packed_card(out, target, config.container, splits)
    (target / _MARK).write_text(_mark(_fingerprint(files, config), config, complete=True), encoding="utf-8")


@dataclass
class _Totals:
    files: int = 0
    records: int = 0
    kept: int = 0


def _fingerprint(files: list[QuestionFile], config: PackConfig) -> str:
    """Identifies the questions and the settings."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for file in files:
        digest.update(f"{file.split}/{file.path.name}\n".encode())
        with file.path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def _mark(fingerprint: str, config: PackConfig, complete: bool) -> str:
    return json.dumps({"fingerprint": fingerprint, "complete": complete, **asdict(config)}, indent=2) + "\n"


def _prepare(out: Path, target: Path, config: PackConfig, fingerprint: str, overwrite: bool) -> None:
    """Makes sure that ``target`` is empty or holds shards of the same packing."""
    if target.resolve() == out.resolve() or (out / "data").resolve() in [target.resolve(), *target.resolve().parents]:
        raise InputError(f"{target}: is the set itself, expected another folder to pack into")
    mark = target / _MARK
    if overwrite and mark.is_file():
        shutil.rmtree(target / "data", ignore_errors=True)
    elif mark.is_file():
        try:
            found = json.loads(mark.read_text(encoding="utf-8"))["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{mark}: not readable as the mark of a packed set; use --overwrite") from error
        if found != fingerprint:
            raise InputError(f"{target}: holds another set or other settings; use --overwrite or another folder")
    elif target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target}: is not empty and not a packed set, expected a new folder")
    (target / "data").mkdir(parents=True, exist_ok=True)
    mark.write_text(_mark(fingerprint, config, complete=False), encoding="utf-8")


def _mixed_groups(out: Path, files: list[QuestionFile], config: PackConfig, bar: tqdm) -> Iterator[Group]:
    """All view sets of a split; only those of ``mix`` scenes are in memory at a time."""
    rng = generator(config.seed, "pack", files[0].split)
    order = rng.permutation(len(files))
    for start in range(0, len(order), config.mix):
        window = [files[index] for index in order[start : start + config.mix]]
        table = pa.concat_tables([file.read() for file in window]).combine_chunks()
        groups = _view_sets(table)
        for index in rng.permutation(len(groups)):
            rows = table.take(pa.array(groups[index]))
            yield Group(rows, tuple(_picture(out, name) for name in rows["images"][0].as_py() or ()))
        bar.update(len(window))


def _view_sets(table: pa.Table) -> list[Int64[np.ndarray, " rows"]]:
    """Row numbers of the questions that show the same pictures in the same order."""
    codes: dict[tuple[str, ...], int] = {}
    shown = zip(table["view_set_id"].to_pylist(), table["images"].to_pylist(), strict=True)
    labels = np.array([codes.setdefault((name, *(paths or ())), len(codes)) for name, paths in shown], dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []


def _picture(out: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{out}: image {name!r} leaves the dataset folder, expected a path inside it")
    path = out / name
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected every picture of the questions")
    return path


def _pack_split(groups: Iterator[Group], target: Path, split: str, config: PackConfig, total: _Totals) -> None:
    """Fills shard after shard; a complete one is passed over without reading a picture."""
    writer: ShardWriter | None = None
    filled = 0
    for group in groups:
        if writer is None:
            name = f"{split}-{total.files:05d}.{'parquet' if config.container == 'parquet' else 'tar'}"
            writer, filled = open_writer(config.container, target / "data" / name), 0
            total.kept += writer.exists
            total.files += 1
        _written(target, partial(writer.add, group.rows, group.images))
        total.records += group.rows.num_rows
        # a view set of many questions is cut into row groups, and each holds the pictures
        copies = -(-group.rows.num_rows // ROWS_PER_GROUP) if config.container == "parquet" else 1
        filled += copies * sum(path.stat().st_size for path in group.images)
        if filled >= config.shard_size:
            _written(target, writer.close)
            writer = None
    if writer is not None:
        _written(target, writer.close)


def _written(target: Path, act: Callable[[], None]) -> None:
    """Runs a step that writes; a full disk becomes a sentence and loses nothing that was complete."""
    try:
        act()
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror or error}); complete shards stay, run again to go on"
        ) from error
