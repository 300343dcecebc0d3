"""From a furnished room in the layouts of ScanNet++ and ARKitScenes to questions that hold against its geometry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from qa_generation.audit import AuditConfig, audit_dataset
from qa_generation.readers.base import open_reader
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.writers.arkitscenes import ARKitScenesOptions, write_arkitscenes_scene
from qa_generation.writers.scannetpp import ScanNetPPOptions, write_scannetpp_scene
from spatialvlm.cli import build_app

SPP, ARK = "0a5c013435", "40753679"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("indoor")
    options = ScanNetPPOptions(iphone_distortion=(0.05, -0.04, 0.002, -0.002), arkit_drift_m=0.02)
    write_scannetpp_scene(build_scene(41, 0, RoomConfig(views=8, size=(256, 192))), root / "scannetpp", SPP, options)
    room = build_scene(41, 1, RoomConfig(views=8, size=(192, 256)))
    write_arkitscenes_scene(room, root / "arkitscenes", ARK, ARKitScenesOptions(turns=1))
    return root


@pytest.mark.parametrize(
    ("reader", "options", "size"),
    [
        ("scannetpp", [], (256, 192)),
        pytest.param("scannetpp", ["camera=dslr"], (256, 192), marks=pytest.mark.slow),
        ("arkitscenes", [], (192, 256)),
    ],
    ids=["iphone", "dslr", "arkitscenes"],
)
def test_questions_hold(root: Path, tmp_path: Path, reader: str, options: list[str], size: tuple[int, int]) -> None:
    scenes, out = root / reader, tmp_path / "dataset"
    arguments = ["generate", str(scenes), "--reader", reader, "--out", str(out), "--per-type", "6"]
    for option in options:
        arguments += ["--reader-option", option]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    pictures = list(out.rglob("*.jpg"))
    assert pictures
    assert {Image.open(path).size for path in pictures} == {size}
    named = dict(option.split("=") for option in options)
    report = audit_dataset(out, lambda name: open_reader(name, scenes, named), AuditConfig(samples=2, labels=False))
    verdicts: Counter[str] = report.verdicts()
    assert verdicts["agree"] > 40 and len(report.types) > 8
    assert verdicts["disagree"] == 0, report
    assert verdicts["borderline"] < 0.1 * verdicts.total()
