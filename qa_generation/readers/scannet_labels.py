"""ScanNet's label table, ``scannetv2-labels.combined.tsv``: from an annotator's raw label to a category."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qa_generation.errors import InputError

TABLE_NAME = "scannetv2-labels.combined.tsv"
RAW_COLUMN = "raw_category"


@dataclass(frozen=True)
class LabelTable:
    """Categories by raw label; ``categories`` has one entry for every row of the table, normalised on both sides."""

    path: Path
    column: str
    categories: Mapping[str, str]

    def lookup(self, label: str) -> str | None:
        """The category of a normalised raw label, None where the table has none for it."""
        return self.categories.get(label) or None


def normalise_label(label: str) -> str:
    """The label without stray spaces, which the annotations have at their ends and doubled inside."""
    return " ".join(label.split())


def find_label_table(root: Path) -> Path | None:
    """The label table in the dataset's root or beside it (for a root that is itself ``scans``), None without one."""
    places = (root / TABLE_NAME, root.resolve().parent / TABLE_NAME)
    return next((path for path in places if path.is_file()), None)


def read_label_table(path: Path, column: str = RAW_COLUMN) -> LabelTable:
    """The table with ``column`` as the category.

    Raises:
        InputError: the file is missing, no such table, or has no such column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            columns = list(rows.fieldnames or ())
            for needed in (RAW_COLUMN, column):
                if needed not in columns:
                    raise InputError(f"{path}: has no column {needed!r}, found {', '.join(columns) or 'none'}")
            pairs = [(row[RAW_COLUMN], row[column]) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of tab-separated values ({error})") from error
    categories = {normalise_label(raw): normalise_label(category or "") for raw, category in pairs if raw}
    return LabelTable(path, column, categories)
