"""Makes a folder of rooms with any number of workers; can be interrupted and resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from qa_generation.errors import InputError
from qa_generation.synthetic.build import RoomConfig, build_scene, scene_name
from qa_generation.workers import Outcome, run_all

LAYOUTS = ("native", "scannet")


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to know.

    Attributes:
        out: folder of the rooms.
        seed: with the room's number it decides everything.
        layout: ``native`` or ``scannet``.
        room: what all rooms have in common.
        assets: folder of the user's meshes, or None.
    """

    out: Path
    seed: int
    layout: str
    room: RoomConfig
    assets: Path | None = None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What a finished room must have been made with to be kept."""
        assets = None if self.assets is None else fingerprint(self.assets)
        return json.loads(json.dumps({**asdict(self.room), "assets": assets}))


def fingerprint(root: Path) -> str:
    """A short name for what is in a folder: changes with the names and bytes of its files, not with where it lies."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def make_rooms(job: Job, count: int, workers: int = 1) -> Iterator[Outcome[int, bool]]:
    """One outcome per room, in the order they finish; the result tells whether it was made now or found finished.

    Same seed, same bytes, whatever the number of workers; one worker works in this process.

    Raises:
        InputError: the job cannot be done: unknown layout, or a finished room was made with other settings.
    """
    if job.layout not in LAYOUTS:
        raise InputError(f"--layout {job.layout!r} is unknown, expected one of {', '.join(LAYOUTS)}")
    job.out.mkdir(parents=True, exist_ok=True)
    finished = [index for index in range(count) if is_finished(job, index)]
    for index in finished:
        yield Outcome(index, False)
    missing = sorted(set(range(count)) - set(finished))
    yield from run_all(partial(make_room, job), missing, workers if workers > 1 else 0)
    if job.layout == "scannet":
        from qa_generation.writers.scannet import write_scannet_labels

        write_scannet_labels(job.out)


def make_room(job: Job, index: int) -> bool:
    """Makes room ``index`` and writes it; True."""
    extra = None
    if job.assets is not None:
        from qa_generation.synthetic.assets import load_assets

        extra = load_assets(job.assets)
    scene = build_scene(job.seed, index, job.room, extra)
    if job.layout == "native":
        from qa_generation.writers.native import write_native_scene

        write_native_scene(scene, job.out, job.settings)
    else:
        from qa_generation.writers.scannet import scannet_name, write_scannet_scene

        folder = write_scannet_scene(scene, job.out, scannet_name(index))
        # not a file of ScanNet's, so that a later run can tell what made the scan
        (folder / "synth.json").write_text(json.dumps({"seed": job.seed, "settings": job.settings}) + "\n")
    return True


def is_finished(job: Job, index: int) -> bool:
    """Whether room ``index`` is there already; raises `InputError` if it was made with another seed or settings."""
    if job.layout == "native":
        path = job.out / scene_name(job.seed, index) / "scene.json"
    else:
        from qa_generation.writers.scannet import scannet_name

        path = job.out / "scans" / scannet_name(index) / "synth.json"
    if not path.is_file():
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        made_with = (found["seed"], found["settings"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: file is broken, expected what an earlier run wrote; delete its folder") from None
    if made_with != (job.seed, job.settings):
        raise InputError(
            f"{path}: room was made with seed {made_with[0]} and {made_with[1]}, "
            f"expected seed {job.seed} and {job.settings}; choose another folder"
        )
    return True
