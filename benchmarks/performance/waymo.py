"""What reading one moment of a Waymo segment of full size costs.

    python -m benchmarks.performance.waymo --frames 51

Writes a segment with pictures, range images and row groups as large as the real ones (51 moments fill one row group of
256 rows), then reads the first, a middle and the last moment. Prints CPU seconds and peak memory.
"""

from __future__ import annotations

import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from qa_generation.readers.waymo import WaymoReader
from qa_generation.visibility import VisibilityConfig, annotate
from qa_generation.writers.waymo import SegmentOptions, segment_name, write_waymo_segment
from qa_generation.writers.waymo_sensors import Rig
from qa_generation.writers.waymo_street import hand_made_street


def measure(reader: WaymoReader, scene_id: str) -> str:
    """A line with what a scene costs: its surface, its pictures, its annotation."""
    marks = [time.process_time()]
    scene = reader.read(scene_id)
    triangles = len(scene.mesh.triangles)
    marks.append(time.process_time())
    for view in scene.views:
        view.image.read()
    marks.append(time.process_time())
    annotate(scene, VisibilityConfig.for_questions(scene.kind))
    marks.append(time.process_time())
    surface, pictures, annotation = (after - before for before, after in pairwise(marks))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{scene_id}: surface {surface:.2f} s ({triangles:,} triangles), {len(scene.views)} pictures {pictures:.2f} s, "
        f"annotation {annotation:.2f} s, peak memory {peak_mb:.0f} MB"
    )


def main(
    frames: Annotated[int, typer.Option(min=3, help="Moments to write; all show the same.")] = 51,
    root: Annotated[Path | None, typer.Option(help="Segments that are there already are read instead.")] = None,
) -> None:
    """Measures the reader waymo on files of full size.

    Example: python -m benchmarks.performance.waymo --frames 51
    """
    with tempfile.TemporaryDirectory() as folder:
        if root is None:
            root = Path(folder)
            options = SegmentOptions(frames=frames, frozen=True)
            write_waymo_segment(hand_made_street(), root, segment_name(0), Rig(), options)
            print(f"written; so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, of the writer")
        reader = WaymoReader(root)
        scene_ids = reader.scene_ids()
        for scene_id in sorted({scene_ids[0], scene_ids[len(scene_ids) // 2], scene_ids[-1]}):
            print(measure(reader, scene_id), flush=True)


if __name__ == "__main__":
    typer.run(main)
