"""Waymo Open v2 folders written from the hand-made street, and what is known about that street."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qa_generation.writers.waymo import SegmentOptions, segment_name, write_waymo_segment
from qa_generation.writers.waymo_sensors import Rig
from qa_generation.writers.waymo_street import Block, Street, hand_made_street

SEGMENT = segment_name(0)
# a quarter of the real pictures, and range images fine enough to tell edges
SHARP = Rig(480, (64, 1200), (100, 300))
# as small as anything can still be seen
TINY = Rig(96, (16, 90), (12, 36))
STEP_S = 0.1


def write_street(root: Path, rig: Rig = TINY, number: int = 0, **options: Any) -> Street:
    street = hand_made_street()
    write_waymo_segment(street, root, segment_name(number), rig, SegmentOptions(**options))
    return street


def component(root: Path, name: str, split: str = "training") -> Path:
    return root / split / name / f"{SEGMENT}.parquet"


def change_cell(path: Path, column: str, row: int, value: Any) -> None:
    """Puts another value into one cell of a parquet file."""
    table = pq.read_table(path)
    cells = table.column(column).to_pylist()
    cells[row] = value
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(column), pa.array(cells, table.schema.field(column).type)), path
    )


def named_blocks(street: Street) -> dict[str, Block]:
    """What is annotated, in the order in which the reader numbers it."""
    return {block.name: block for block in sorted(street.annotated(), key=lambda block: block.name)}


def world_from_street(street: Street) -> np.ndarray:
    """The reader's world is the car's frame at the first moment."""
    return np.linalg.inv(street.street_from_vehicle(0.0))


def move(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


def nearest_color(picture: np.ndarray, colors: list[tuple[int, int, int]]) -> np.ndarray:
    """Number of the colour that is nearest to each pixel."""
    gaps = [np.square(picture.astype(np.int32) - np.array(color)).sum(axis=-1) for color in colors]
    return np.argmin(np.stack(gaps), axis=0)
