"""Makes a folder of filmed procedural objects in MVImgNet's layout with any number of workers; can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from qa_generation.errors import InputError
from qa_generation.seeding import generator
from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.style import draw_style
from qa_generation.synthetic.surface import Surface
from qa_generation.workers import Outcome, run_all
from qa_generation.writers.mvimgnet import ObjectLayout, draw_similarity, write_categories, write_object
from qa_generation.writers.mvimgnet_turntable import TurntableConfig, film

# things that a person would film on a table or walk round
CATEGORIES = (
    "backpack", "mug", "teddy bear", "box", "speaker", "bottle", "bowl", "vase",
    "bin", "laptop", "books", "chair", "basket", "suitcase", "lamp", "stool",
)  # fmt: skip
# the class ids written have gaps, as the published ones
CLASS_IDS = {category: 11 + 7 * index for index, category in enumerate(CATEGORIES)}
# most captures go all the way round, the others part of it
FULL_TURNS = 0.7
# not a file of MVImgNet's, so that a later run can tell what made the object
NOTE = "synth.json"


@dataclass(frozen=True)
class ObjectJob:
    """What all objects of a folder have in common.

    Attributes:
        out: folder to write to.
        seed: with the object's number it decides everything.
        views: pictures per object.
        size: (width, height) of the pictures, pixels.
    """

    out: Path
    seed: int
    views: int = 30
    size: tuple[int, int] = (640, 480)

    @property
    def note(self) -> dict[str, object]:
        """What a finished object must have been made with to be kept."""
        return {"seed": self.seed, "views": self.views, "size": list(self.size)}


def make_objects(job: ObjectJob, count: int, workers: int = 1) -> Iterator[Outcome[int, bool]]:
    """One outcome per object, in the order they finish; the result tells whether it was made now or found finished.

    Same seed, same bytes, whatever the number of workers; one worker works in this process. An object that is there
    but was made with other settings fails with the reason.
    """
    write_categories(job.out, {number: category for category, number in CLASS_IDS.items()})
    yield from run_all(partial(make_object, job), range(count), workers if workers > 1 else 0)


def make_object(job: ObjectJob, index: int) -> bool:
    """Makes object ``index`` unless it is there; whether it was made.

    Raises:
        InputError: it is there, but was made with another seed or other settings.
    """
    category = CATEGORIES[index % len(CATEGORIES)]
    rng = generator(job.seed, "filmed object", str(index))
    instance_id = f"{rng.integers(1 << 32):08x}"
    note = job.out / str(CLASS_IDS[category]) / instance_id / NOTE
    if note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != job.note:
            raise InputError(f"{note}: object was made with other settings than {job.note}; choose another folder")
        return False
    footage = film(build_object(category, rng), draw_config(job, rng), rng)
    layout = ObjectLayout(prefixed_names=bool(rng.random() < 0.3))
    write_object(job.out, CLASS_IDS[category], instance_id, footage, draw_similarity(rng), layout)
    note.write_text(json.dumps(job.note) + "\n", encoding="utf-8")
    return True


def draw_config(job: ObjectJob, rng: np.random.Generator) -> TurntableConfig:
    """How one object is filmed: how far round, from how high, from how far."""
    low = float(rng.uniform(0, 25))
    return TurntableConfig(
        views=job.views,
        size=job.size,
        radial=float(rng.uniform(-0.08, 0.08)),
        arc_deg=360.0 if rng.random() < FULL_TURNS else float(rng.uniform(90, 220)),
        elevation_deg=(low, low + float(rng.uniform(15, 35))),
        distance=(1.4, float(rng.uniform(1.7, 2.4))),
    )


def build_object(category: str, rng: np.random.Generator) -> Surface:
    """A procedural object of the catalogue of rooms; raises ``KeyError`` for a category that it lacks."""
    return BUILDERS[category](rng, draw_style(rng)).surface
