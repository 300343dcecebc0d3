"""``spatialvlm reconstruct`` from pictures on disk to files of other tools, with small random networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from click.testing import Result
from PIL import Image
from plyfile import PlyData
from typer.testing import CliRunner

from geometry_encoders.commands.reconstruct import reconstruct
from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.global_alignment import AlignmentConfig
from geometry_encoders.reconstruction.pictures import Framing, Picture, read_pictures
from geometry_encoders.reconstruction.pipeline import PipelineConfig, reconstruct_pictures
from geometry_encoders.reconstruction.result import Reconstruction
from geometry_encoders.reconstruction.spann3r import Spann3rConfig, Spann3rModel
from tests.geometry_encoders.conftest import SMALL

cv2 = pytest.importorskip("cv2")
pycolmap = pytest.importorskip("pycolmap")

APP = typer.Typer()
APP.command()(reconstruct)
WIDTH, HEIGHT = 96, 64  # twice what the networks see


def picture(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Smooth colours that move with ``number``; compress well, so that damage shows."""
    x, y = np.meshgrid(np.arange(size[0]) + 5 * number, np.arange(size[1]))
    waves = [np.sin(x / 9) * np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 13)]
    return Image.fromarray((127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8))


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """The model with all parameters away from their defaults."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def dust3r(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dust3r")
    shaken(Dust3rModel(Dust3rConfig(**SMALL))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def spann3r() -> Spann3rModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sizes = SMALL | {"head_type": "linear", "value_encoder_depth": 1, "value_encoder_heads": 2}
    return shaken(Spann3rModel(Spann3rConfig(**sizes)))  # type: ignore[return-value]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        picture(number).save(folder / f"{number}.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The sentence with which the command refuses."""
    result = run(*arguments)
    assert isinstance(result.exception, InputError), result.exception
    sentence = str(result.exception)
    assert "\n" not in sentence
    return sentence


def small_pictures(folder: Path, count: int) -> list[Picture]:
    for number in range(count):
        picture(number).save(folder / f"{number}.png")
    return list(read_pictures([folder], Framing(48)))


def projected(point: np.ndarray, frame: dict[str, Any], camera: dict[str, Any]) -> tuple[float, float]:
    """Pixel by the rules of nerfstudio."""
    x, y, z, _ = np.linalg.inv(frame["transform_matrix"]) @ np.append(point, 1)
    return camera["fl_x"] * x / -z + camera["cx"], camera["fl_y"] * -y / -z + camera["cy"]


@pytest.mark.parametrize("full_size", [False, True])
def test_two_photos_to_files_that_agree(photos: Path, dust3r: Path, tmp_path: Path, full_size: bool) -> None:
    out = tmp_path / "scene"
    options = ["--full-size"] if full_size else []
    formats = "ply,glb,colmap,colmap-text,nerfstudio,npz"
    result = run(photos, "--encoder", dust3r, "--out", out, "--limit", 2, "--formats", formats, *options)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["method"] == "DUSt3R, pair viewer"
    assert summary["views"] == ["0.png", "1.png"]
    for path in summary["files"].values():
        assert (out / path).exists()
        assert str(out / path) in result.output
    assert len(PlyData.read(str(out / "points.ply"))["vertex"].data) == summary["points"]
    assert summary["points"] == pytest.approx(0.8 * 2 * 48 * 32, rel=0.02)
    camera = json.loads((out / "transforms.json").read_text())
    scale = 2 if full_size else 1
    for frame in camera["frames"]:
        with Image.open(out / frame["file_path"]) as image:
            assert image.size == (48 * scale, 32 * scale)
    scene = Reconstruction.load(out / "reconstruction.npz")
    for view, (row, column) in ((0, (3, 40)), (1, (30, 5))):
        pixel = projected(scene.pointmaps[view][row, column], camera["frames"][view], camera | camera["frames"][view])
        np.testing.assert_allclose(pixel, (scale * (column + 0.5), scale * (row + 0.5)), atol=0.02 * scale)
    for layout in ("0", "text"):
        model = pycolmap.Reconstruction(out / "sparse" / layout)
        assert model.num_reg_images() == 2
        assert sorted(image.name for image in model.images.values()) == [
            Path(frame["file_path"]).name for frame in camera["frames"]
        ]
        assert model.compute_mean_reprojection_error() < scale


def test_the_same_bytes_again_and_only_on_demand(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    arguments = (photos, "--encoder", dust3r, "--out", out, "--align", "none", "--formats", "ply,colmap")
    assert run(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "summary.json"}
    assert "holds a reconstruction already" in refused(*arguments)
    assert run(*arguments, "--overwrite").exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.glob(".scene.*"))


def test_a_foreign_folder_is_never_replaced(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    sentence = refused(photos, "--encoder", dust3r, "--out", tmp_path / "mine", "--overwrite")
    assert "is no earlier reconstruction" in sentence
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_a_known_distance_makes_it_metric(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    distance = ("--metric-distance", "0.png:20,40", "1.png:81,11", 2.5)
    result = run(photos, "--encoder", dust3r, "--out", out, "--limit", 2, "--formats", "npz", *distance)
    assert result.exit_code == 0, result.output
    scene = Reconstruction.load(out / "reconstruction.npz")
    assert scene.metric
    assert np.linalg.norm(scene.pointmaps[0][20, 10] - scene.pointmaps[1][5, 40]) == pytest.approx(2.5, rel=1e-4)
    assert "metres" in result.output


def test_known_positions_make_it_metric(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    positions = tmp_path / "positions.json"
    positions.write_text(json.dumps({"0.png": [1, 2, 3], "1.png": [1, 2, 7]}))
    options = ("--encoder", dust3r, "--limit", 2, "--formats", "npz", "--metric-positions", positions)
    assert run(photos, "--out", tmp_path / "scene", *options).exit_code == 0
    poses = Reconstruction.load(tmp_path / "scene" / "reconstruction.npz").camera_to_world
    assert np.linalg.norm(poses[0, :3, 3] - poses[1, :3, 3]) == pytest.approx(4, rel=1e-6)
    positions.write_text(json.dumps({"0.png": [1, 2, 3]}))
    assert "no position of '1.png'" in refused(photos, "--out", tmp_path / "other", *options)


def test_one_picture_is_paired_with_itself(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    out = tmp_path / "scene"
    assert run(photos / "0.png", "--encoder", dust3r, "--out", out, "--formats", "ply,npz").exit_code == 0
    scene = Reconstruction.load(out / "reconstruction.npz")
    assert len(scene) == 1
    assert np.isfinite(scene.pointmaps[0]).all()


def write_video(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
    for number in range(frames):
        writer.write(np.ascontiguousarray(np.asarray(picture(number))[..., ::-1]))
    writer.release()


def test_every_kth_frame_of_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 11)
    found = list(read_pictures([tmp_path / "clip.avi"], Framing(48), every=4))
    assert [each.name for each in found] == ["clip_000000.png", "clip_000004.png", "clip_000008.png"]
    expected = np.asarray(picture(4).resize((48, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found[1].image - expected).mean() < 6  # JPEG inside; channels in the right order


def test_a_cut_video_is_said_so(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 40)
    content = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("cut.avi", "text.mp4"):
        with pytest.raises(InputError, match=rf"{name}: .*(complete|readable)"):
            list(read_pictures([tmp_path / name], Framing(48)))


def test_orientation_and_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture(0).save(tmp_path / "a.heic", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    picture(0).save(tmp_path / "b.jpg", exif=exif, quality=95)
    found = list(read_pictures([tmp_path], Framing(48)))
    assert [each.original_size for each in found] == [(WIDTH, HEIGHT), (HEIGHT, WIDTH)]
    assert [each.image.shape for each in found] == [(32, 48, 3), (48, 32, 3)]


@pytest.mark.parametrize(("size", "framing"), [((96, 64), Framing(48)), ((100, 71), Framing(32, square=True))])
def test_pixels_are_followed_back_to_the_original(size: tuple[int, int], framing: Framing, tmp_path: Path) -> None:
    """A bright dot stays where ``original_from_view`` says it came from."""
    values = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    x, y = 48, 33
    values[y - 3 : y + 4, x - 3 : x + 4] = 255
    Image.fromarray(values).save(tmp_path / "dot.png")
    [found] = read_pictures([tmp_path], framing)
    light = found.image[..., 0].astype(float)
    rows, columns = np.indices(light.shape)
    centre = np.array([(light * columns).sum(), (light * rows).sum(), light.sum()]) / light.sum()
    np.testing.assert_allclose((found.original_from_view @ centre)[:2], (x, y), atol=0.25)


def test_names_that_differ_in_their_ending_only_get_files_of_their_own(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "A.jpeg"):
        picture(0).save(tmp_path / name)
    stems = [Path(each.name).stem.lower() for each in read_pictures([tmp_path], Framing(48))]
    assert len(set(stems)) == 3


def black(folder: Path, name: str) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)


def test_black_pictures(photos: Path, dust3r: Path, tmp_path: Path) -> None:
    black(photos, "3.png")
    result = run(photos, "--encoder", dust3r, "--out", tmp_path / "a", "--align", "none", "--formats", "npz")
    assert result.exit_code == 0, result.output
    assert "3.png has one colour only" in json.loads((tmp_path / "a" / "summary.json").read_text())["warnings"][0]
    (tmp_path / "dark").mkdir()
    black(tmp_path / "dark", "0.png")
    black(tmp_path / "dark", "1.png")
    assert "one colour only, as are all pictures" in refused(
        tmp_path / "dark", "--encoder", dust3r, "--out", tmp_path / "b"
    )


def test_identical_pictures_have_a_result(tmp_path: Path, dust3r: Path) -> None:
    for number in range(3):
        picture(0).save(tmp_path / f"{number}.png")
    pictures = list(read_pictures([tmp_path], Framing(48)))
    model = Dust3rModel.from_pretrained(dust3r).eval()
    for align in ("none", "global"):
        config = PipelineConfig(align=align, alignment=AlignmentConfig(iterations=3))
        scene = reconstruct_pictures(pictures, model, config).reconstruction
        assert all(np.isfinite(points).all() for points in scene.pointmaps)


def test_views_of_different_sizes(tmp_path: Path, dust3r: Path, spann3r: Spann3rModel) -> None:
    small_pictures(tmp_path, 2)
    picture(2, size=(HEIGHT, WIDTH)).save(tmp_path / "2.png")
    pictures = list(read_pictures([tmp_path], Framing(48)))
    model = Dust3rModel.from_pretrained(dust3r).eval()
    for align in ("none", "auto"):
        config = PipelineConfig(align=align, alignment=AlignmentConfig(iterations=3))
        scene = reconstruct_pictures(pictures, model, config).reconstruction
        assert scene.sizes == ((32, 48), (32, 48), (48, 32))
    with pytest.raises(InputError, match="image 2 has 48 x 32 pixels"):
        reconstruct_pictures(pictures, spann3r)


@pytest.mark.parametrize(
    "config", [PipelineConfig(), PipelineConfig(order="offline"), PipelineConfig(restart_every=5)], ids=str
)
def test_spann3r(tmp_path: Path, spann3r: Spann3rModel, config: PipelineConfig) -> None:
    pictures = small_pictures(tmp_path, 7)
    outcome = reconstruct_pictures(pictures, spann3r, config)
    found = spann3r.reconstruct(
        [each.image for each in pictures], config.order, restart_every=config.restart_every, chunk_frames=4
    )
    scene = outcome.reconstruction
    assert scene.names == tuple(f"{number}.png" for number in range(7))
    if scene.camera_to_world is not None:
        np.testing.assert_allclose(scene.camera_to_world[0], np.eye(4), atol=1e-9)
    if found.order[0] == 0:  # then the frame is that of the first picture already
        np.testing.assert_array_equal(np.stack(scene.pointmaps), found.pointmaps)
    # whatever the frame, distances stay
    a, b = scene.pointmaps[2][5, 5] - scene.pointmaps[6][20, 30], found.pointmaps[2][5, 5] - found.pointmaps[6][20, 30]
    assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-4)


def test_weights_that_are_not_finite_are_noticed(tmp_path: Path, dust3r: Path, spann3r: Spann3rModel) -> None:
    pictures = small_pictures(tmp_path, 3)
    broken = Dust3rModel.from_pretrained(dust3r).eval()
    with torch.no_grad():
        broken.downstream_head2.proj.weight[0, 0] = float("nan")
    for align in ("none", "auto"):
        config = PipelineConfig(align=align, alignment=AlignmentConfig(iterations=3))
        with pytest.raises(InputError, match="finite"):
            reconstruct_pictures(pictures, broken, config)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--formats", "ply,obj"), "formats 'ply,obj': expected some of"),
        (("--align", "best"), "--align best: expected auto, none or global"),
        (("--order", "sorted"), "--order sorted: expected online or offline"),
        (("--order", "offline"), "belong to Spann3R"),
        (("--size", 50), "size 50: expected a multiple of 16"),
        (("--every", 0), "every 0: expected at least 1"),
        (("--confidence", 1e30, "--align", "none"), "no point is above it"),
        (("--metric-distance", "0.png", "1.png:1,1", 2), "expected NAME:X,Y"),
        (("--metric-distance", "9.png:1,1", "1.png:1,1", 2), "no picture '9.png'"),
        (("--metric-distance", "0.png:1,1", "1.png:99,1", 2), "outside the part of 1.png"),
    ],
)
def test_options_that_make_no_sense(
    photos: Path, dust3r: Path, tmp_path: Path, options: tuple[object, ...], sentence: str
) -> None:
    assert sentence in refused(photos, "--encoder", dust3r, "--out", tmp_path / "scene", "--limit", 2, *options)
    assert not list(tmp_path.glob("scene*"))


def test_pictures_that_cannot_be_used(dust3r: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("RGB", (2000, 20), "red").save(tmp_path / "strip.png")
    picture(0).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-200])
    (tmp_path / "text.png").write_text("no picture")
    expected = {
        "empty": "no pictures in this folder",
        "none.jpg": "no such file",
        "dot.png": "1 x 1 pixels, expected at least 16",
        "strip.png": "too elongated",
        "cut.jpg": "not a readable picture",
        "text.png": "not a readable picture",
    }
    for name, reason in expected.items():
        sentence = refused(tmp_path / name, "--encoder", dust3r, "--out", tmp_path / "scene")
        assert reason in sentence
        assert name in sentence
    assert "no such encoder" in refused(tmp_path / "whole.jpg", "--encoder", "huge", "--out", tmp_path / "scene")
