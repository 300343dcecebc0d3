"""Scanned household objects (YCB), filmed: reader, questions and second opinion on shapes that no test was made for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from qa_generation.generation_config import GenerationConfig
from qa_generation.orbit.compose import compose_from_facts
from qa_generation.orbit.facts import gather_facts
from qa_generation.orbit.recheck import recheck_capture
from qa_generation.readers.mvimgnet import MVImgNetReader
from qa_generation.seeding import generator
from qa_generation.synthetic.surface import Surface
from qa_generation.writers.mvimgnet_turntable import TurntableConfig, film
from tests.qa_generation.mvimgnet_factories import SCENE_ID, write

SCANS = Path(__file__).parents[2].parent / "shared" / "data" / "ycb_meshes"
CONFIG = TurntableConfig(views=24, size=(200, 150), points=1200)


def load_scan(name: str) -> Surface:
    """A scan with the colour of its texture at every corner, standing on z = 0."""
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.load(SCANS / name / "textured_simple_reoriented.obj", process=False)
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    return Surface(
        vertices=vertices - [0, 0, vertices[:, 2].min()],
        normals=np.asarray(mesh.vertex_normals, dtype=np.float64),
        colors=mesh.visual.to_color().vertex_colors[:, :3] / 255.0,
        glow=np.zeros(len(vertices)),
        triangles=np.asarray(mesh.faces, dtype=np.int64),
    )


@pytest.mark.slow
@pytest.mark.skipif(not SCANS.is_dir(), reason="needs the scans of ../shared/data/ycb_meshes")
@pytest.mark.parametrize("name", ["YcbBanana", "YcbScissors"])
def test_scans_filmed_from_around(name: str, tmp_path: Path) -> None:
    footage = film(load_scan(name), CONFIG, generator(0, name))
    write(tmp_path, footage)
    capture = MVImgNetReader(tmp_path).read(SCENE_ID)
    facts = gather_facts(capture)
    assert facts.turn.is_full and facts.hull.silhouette_iou.mean() > 0.6
    records = compose_from_facts(facts, GenerationConfig(per_type=20, blind=False), 0)
    verdicts = Counter(finding.verdict for finding in recheck_capture(capture, records))
    assert len(records) > 80 and verdicts["disagree"] == 0 and verdicts["agree"] >= 0.98 * len(records)
