"""From ScanNet++'s raw labels to the classes of its benchmark, ``metadata/semantic_benchmark/map_benchmark.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa_generation.errors import InputError
from qa_generation.readers.scannet_labels import normalise_label

MAP_PATH = Path("metadata", "semantic_benchmark", "map_benchmark.csv")
RAW = "raw"
# names of the two mappings -> their columns
COLUMNS = {"instance": "instance_map_to", "semantic": "semantic_map_to"}
# what annotators wrote on surface that is no object
DISCARDED = frozenset({"remove", "split"})


@dataclass(frozen=True)
class LabelMap:
    """Classes by raw label; None for labels that are dropped. With ``path`` None every label is kept as it is."""

    path: Path | None
    classes: Mapping[str, str | None]

    def lookup(self, label: str) -> str | None:
        """The category of a normalised raw label, None where objects of that label are no instances."""
        if label.lower() in DISCARDED:
            return None
        return self.classes.get(label, label)


def read_label_map(root: Path, name: str) -> LabelMap:
    """The mapping called ``name``: ``raw`` keeps the annotators' words, ``instance`` and ``semantic`` are benchmark's.

    Raises:
        InputError: an unknown name, or the file of the mapping is missing (below ``root``) or broken.
    """
    if name == RAW:
        return LabelMap(None, {})
    if name not in COLUMNS:
        raise InputError(f"label_map is {name!r}, expected {', '.join([RAW, *COLUMNS])}")
    path, column = root / MAP_PATH, COLUMNS[name]
    if not path.is_file():
        raise InputError(f"{path}: no such file, which label_map={name} is read from; the official metadata hold it")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = list(rows.fieldnames or ())
            for needed in ("class", column):
                if needed not in columns:
                    raise InputError(f"{path}: has no column {needed!r}, found {', '.join(columns) or 'none'}")
            pairs = [(normalise_label(row["class"] or ""), (row[column] or "").strip()) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of comma-separated values ({error})") from error
    # "None" drops the class, nothing keeps it
    return LabelMap(path, {label: None if to == "None" else normalise_label(to) or label for label, to in pairs})
