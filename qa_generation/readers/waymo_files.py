"""The parquet files of Waymo Open v2: which segments there are, and single rows of their files.

A file may hold hundreds of megabytes in row groups of 256 rows, so rows are found by their keys first and values are
decoded page by page up to the last row that is wanted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file

LOGGER = logging.getLogger(__name__)
TIMESTAMP = "key.frame_timestamp_micros"
# what each component of the download is for, by the name of its folder
COMPONENTS: Mapping[str, str] = {
    "vehicle_pose": "where the car is at every timestamp",
    "camera_calibration": "the lenses and places of the cameras",
    "camera_image": "the pictures",
    "lidar_box": "the annotated boxes",
    "lidar": "the range images",
    "lidar_calibration": "the places and beams of the lasers",
    "lidar_pose": "the pose of every pixel of the top laser",
}
# context names are digits and underscores; what goes into file names here may be a little more
_SEGMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# values decoded at a time: a range image is up to 2.7 MB
BATCH_ROWS = 2
# more than any file of the dataset has
_MAX_ROWS = 1_000_000
_BUFFER_BYTES = 1 << 20
# what a row holds on average at most: the poses of a range image are a million numbers, a picture is less than 1 MB
_MAX_VALUES, _MAX_BYTES = 1_500_000, 16_000_000
# the Arrow errors are ValueErrors, OSErrors, KeyErrors and NotImplementedErrors of its own
_BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class Segment:
    """One drive of twenty seconds: its name, and the folder that holds the component folders."""

    name: str
    folder: Path

    def path(self, component: str) -> Path:
        """Where the file of a component lies, whether it is there or not."""
        return self.folder / component / f"{self.name}.parquet"

    def need(self, component: str) -> Path:
        """The file of a component; raises ``SceneError`` naming the part of the download that is missing."""
        what = f"{component}/{self.name}.parquet of the Waymo Open v2 download ({COMPONENTS[component]})"
        return check_file(self.path(component), what)


def find_segments(root: Path) -> dict[str, Segment]:
    """All segments below ``root``, which holds component folders, or splits such as ``training`` that hold them."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir() and path.name not in COMPONENTS)]
    found: dict[str, Segment] = {}
    for folder in folders:
        names = {path.stem for component in COMPONENTS for path in (folder / component).glob("*.parquet")}
        for name in sorted(names):
            if not _SEGMENT_NAME.fullmatch(name):
                LOGGER.warning("%s: %r is no name of a segment and left out", folder, name)
            elif name in found:
                LOGGER.warning("%s: segment %s is also in %s and left out here", folder, name, found[name].folder)
            else:
                found[name] = Segment(name, folder)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Rows:
    """The rows of one file that carry certain timestamps.

    Attributes:
        path: the parquet file.
        places: row group and row inside it, in file order.
        keys: the key columns of those rows.
    """

    path: Path
    places: tuple[tuple[int, int], ...]
    keys: tuple[Mapping[str, Any], ...]

    def only(self, numbers: Sequence[int]) -> Rows:
        """The rows of these numbers, in this order of numbers."""
        ordered = sorted(numbers)
        return Rows(self.path, tuple(self.places[n] for n in ordered), tuple(self.keys[n] for n in ordered))

    def values(self, columns: Sequence[str], batch_rows: int = BATCH_ROWS) -> Iterator[dict[str, Any]]:
        """The named columns of each row, keys included, ``batch_rows`` in memory at a time; lists are numpy arrays.

        Raises:
            SceneError: the file is broken, or lacks a column.
        """
        if not self.places:
            return
        try:
            with _open(self.path) as file:
                _need_columns(file, self.path, columns)
                number = 0
                for group in sorted({group for group, _ in self.places}):
                    _check_bulk(file, group, columns, self.path)
                    wanted = [row for row_group, row in self.places if row_group == group]
                    for values in _rows_of(file, group, wanted, columns, batch_rows):
                        yield dict(self.keys[number]) | values
                        number += 1
        except SceneError:
            raise
        except _BROKEN as error:
            raise _broken(self.path, error) from None


def find_rows(path: Path, timestamps: Sequence[int], keys: Sequence[str] = ()) -> Rows:
    """The rows that carry one of the timestamps, with the values of the ``keys`` columns.

    Raises:
        SceneError: the file is broken or lacks a column.
    """
    columns = [TIMESTAMP, *keys]
    places: list[tuple[int, int]] = []
    found: list[dict[str, Any]] = []
    try:
        with _open(path) as file:
            _need_columns(file, path, columns)
            for group in range(file.num_row_groups):
                if not _may_hold(file, group, timestamps):
                    continue
                table = file.read_row_group(group, columns=columns, use_threads=False)
                stamps = _numbers(table, TIMESTAMP, path)
                for row in np.flatnonzero(np.isin(stamps, np.asarray(timestamps, dtype=np.int64))).tolist():
                    places.append((group, row))
                    found.append({name: table.column(name)[row].as_py() for name in columns})
    except SceneError:
        raise
    except _BROKEN as error:
        raise _broken(path, error) from None
    return Rows(path, tuple(places), tuple(found))


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a small file, all rows; raises ``SceneError`` where it is broken or lacks a column."""
    try:
        with _open(path) as file:
            _need_columns(file, path, columns)
            return file.read(columns=list(columns), use_threads=False)
    except SceneError:
        raise
    except _BROKEN as error:
        raise _broken(path, error) from None


def read_timestamps(path: Path) -> Int64[np.ndarray, " frames"]:
    """The different timestamps of a file, ascending, microseconds."""
    table = read_columns(path, [TIMESTAMP])
    return np.unique(_numbers(table, TIMESTAMP, path))


def as_floats(value: Any, count: int | None, where: str) -> np.ndarray:
    """A list cell as finite float64 numbers; raises ``SceneError`` unless there are ``count`` of them."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    expected = "numbers" if count is None else f"{count} numbers"
    if value is None or numbers.ndim != 1 or (count is not None and len(numbers) != count):
        found = "nothing" if value is None else f"{type(value).__name__} of shape {numbers.shape}"
        raise SceneError(f"{where}: found {found}, expected {expected}")
    if not np.isfinite(numbers).all():
        raise SceneError(f"{where}: holds NaN or infinity, expected {expected}")
    return numbers


def as_name(value: Any, names: Mapping[int, str], where: str) -> str:
    """The name of a camera or laser from its number or its name, both of which are found in the field."""
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and value in names:
        return names[value]
    if isinstance(value, str) and value.rsplit(".", 1)[-1].upper() in names.values():
        return value.rsplit(".", 1)[-1].upper()
    expected = ", ".join(f"{number} {name}" for number, name in names.items())
    raise SceneError(f"{where} is {value!r}, expected one of {expected}")


def _open(path: Path) -> pq.ParquetFile:
    file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES)
    if file.metadata.num_rows > _MAX_ROWS:
        raise SceneError(f"{path}: has {file.metadata.num_rows} rows, expected at most {_MAX_ROWS}")
    return file


def _need_columns(file: pq.ParquetFile, path: Path, columns: Sequence[str]) -> None:
    present = set(file.schema_arrow.names)
    for column in columns:
        if column not in present:
            raise SceneError(f"{path}: has no column {column!r}, expected the columns of Waymo Open v2")


def _may_hold(file: pq.ParquetFile, group: int, timestamps: Sequence[int]) -> bool:
    """False only where the statistics of the row group rule the timestamps out."""
    metadata = file.metadata.row_group(group)
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if column.path_in_schema == TIMESTAMP and column.is_stats_set and column.statistics.has_min_max:
            low, high = column.statistics.min, column.statistics.max
            if isinstance(low, int) and isinstance(high, int):
                return any(low <= stamp <= high for stamp in timestamps)
    return True


def _check_bulk(file: pq.ParquetFile, group: int, columns: Sequence[str], path: Path) -> None:
    """Raises ``SceneError`` where a row group promises far more than its rows can mean, before any of it is decoded."""
    metadata = file.metadata.row_group(group)
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if not column.path_in_schema.startswith(tuple(columns)):
            continue
        if (
            column.num_values > _MAX_VALUES * metadata.num_rows
            or column.total_uncompressed_size > _MAX_BYTES * metadata.num_rows
        ):
            raise SceneError(
                f"{path}: {column.path_in_schema} holds {column.num_values} values and "
                f"{column.total_uncompressed_size} bytes in {metadata.num_rows} rows, expected pictures or range images"
            )


def _rows_of(
    file: pq.ParquetFile, group: int, wanted: Sequence[int], columns: Sequence[str], batch_rows: int
) -> Iterator[dict[str, Any]]:
    """The wanted rows of one row group; decoding stops after the last of them."""
    left = list(wanted)
    start = 0
    batches = file.iter_batches(batch_rows, row_groups=[group], columns=list(columns), use_threads=False)
    for batch in batches:
        while left and left[0] < start + batch.num_rows:
            row = left.pop(0) - start
            yield {name: _cell(batch.column(name)[row]) for name in columns}
        start += batch.num_rows
        if not left:
            return
    raise SceneError("the row group ends before the row that its keys promise")


def _cell(scalar: pa.Scalar) -> Any:
    """The value of a cell; a list of numbers as an array, without a Python object for every number."""
    values = getattr(scalar, "values", None)
    if isinstance(values, pa.Array) and not pa.types.is_nested(values.type):
        return values.to_numpy(zero_copy_only=False)
    return scalar.as_py()


def _numbers(table: pa.Table, column: str, path: Path) -> Int64[np.ndarray, " rows"]:
    cells = table.column(column)
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    if not pa.types.is_integer(cells.type) or cells.null_count:
        raise SceneError(f"{path}: {column} is of type {cells.type}, expected whole numbers without gaps")
    return cells.to_numpy().astype(np.int64)


def _broken(path: Path, error: Exception) -> SceneError:
    reason = " ".join(str(error).split())[:200]
    return SceneError(f"{path}: cannot be read as a parquet file ({reason})")
