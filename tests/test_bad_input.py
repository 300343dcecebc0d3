"""Bad input at the command line: one sentence, a non-zero exit, never a traceback; batch jobs record it and go on."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qa_generation.synthetic.build import RoomConfig
from qa_generation.synthetic.make_rooms import Job, make_rooms
from spatialvlm import cli

PHOTO_SIZE = (40, 30)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small rooms as `spatialvlm synth` writes them."""
    out = tmp_path_factory.mktemp("rooms")
    job = Job(out, seed=3, layout="native", room=RoomConfig(views=20, size=(64, 48), samples=1))
    assert len(list(make_rooms(job, 2))) == 2
    return out


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command in this process: exit status and what it said on stderr."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["spatialvlm", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        status = stop.value.code
        return (status if isinstance(status, int) else 1), capsys.readouterr().err

    return call


def break_first(rooms: Path, tmp_path: Path, change: Callable[[dict[str, Any], Path], None]) -> Path:
    """A copy of the rooms whose first one is broken by ``change(scene.json, folder)``."""
    copy = tmp_path / "copy"
    shutil.copytree(rooms, copy)
    folder = sorted(copy.iterdir())[0]
    content = json.loads((folder / "scene.json").read_text())
    change(content, folder)
    (folder / "scene.json").write_text(json.dumps(content))
    return copy


def nan_pose(content: dict[str, Any], folder: Path) -> None:
    content["views"][1]["world_to_camera"][0][0] = float("nan")


def stretched_pose(content: dict[str, Any], folder: Path) -> None:
    content["views"][1]["world_to_camera"][0] = [3.0, 0.0, 0.0, 0.0]


def zero_focal(content: dict[str, Any], folder: Path) -> None:
    content["views"][1]["intrinsics"][0][0] = 0.0


def one_view(content: dict[str, Any], folder: Path) -> None:
    del content["views"][1:]


def instance_without_geometry(content: dict[str, Any], folder: Path) -> None:
    content["instances"].append({**content["instances"][0], "id": 999})


def truncated_image(content: dict[str, Any], folder: Path) -> None:
    picture = sorted((folder / "images").iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:500])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (nan_pose, "NaN"),
        (stretched_pose, "not rigid"),
        (zero_focal, "focal length"),
        (one_view, "1 usable view"),
        (instance_without_geometry, "instance 999"),
        (truncated_image, "frame_000000.jpg: picture"),
    ],
)
def test_a_broken_scene_is_recorded_and_the_others_go_on(
    rooms: Path,
    tmp_path: Path,
    run: Callable[..., tuple[int, str]],
    change: Callable[[dict[str, Any], Path], None],
    expected: str,
) -> None:
    out = tmp_path / "out"
    broken = break_first(rooms, tmp_path, change)
    status, said = run(
        "generate", broken, "--reader", "synthetic", "--out", out, "--max-failed", "0.1", "--workers", "0"
    )
    report = json.loads((out / "report.json").read_text())
    (failure,) = report["failures"]
    assert status != 0  # half of the scenes failed, a tenth was allowed
    assert expected in failure["reason"]
    assert failure["scene"] in said and "Traceback" not in said
    assert sum(report["scenes"].values()) == 1


def one_sentence(said: str, *parts: str) -> None:
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert all(part in lines[0] for part in parts), said


def test_empty_and_missing_folders(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    for folder, name in ((tmp_path, "scannet"), (tmp_path, "synthetic"), (tmp_path / "none", "scannet")):
        status, said = run("generate", folder, "--reader", name, "--out", tmp_path / "out")
        assert status == 2
        one_sentence(said, str(folder))


def test_model_folder_without_weights(tmp_path: Path, run: Callable[..., tuple[int, str]]) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(np.zeros((*PHOTO_SIZE, 3), np.uint8)).save(photo)
    model = tmp_path / "model"
    model.mkdir()
    status, said = run("ask", model, photo, "--question", "What is there?")
    assert status == 2
    one_sentence(said, str(model))


@pytest.mark.parametrize("photos", [0, 9])
def test_wrong_number_of_photos(tmp_path: Path, run: Callable[..., tuple[int, str]], photos: int) -> None:
    status, said = run("ask", "tiny", *[tmp_path / "a.png"] * photos, "--question", "What is there?")
    assert status == 2
    one_sentence(said, f"{photos} photos given, expected 1 to 5")


def test_recipe_with_an_unknown_key(tmp_path: Path) -> None:
    from geometry_encoders.errors import InputError
    from spatialvlm.training.recipe import load_recipe
    from spatialvlm.training.sft import SftRecipe

    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: 0\nlerning_rate: 1.0\n")
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key 'lerning_rate'"):
        load_recipe(SftRecipe, recipe)
