"""Broken MVImgNet folders: what is whole is kept, what is left out has a reason, what cannot be used is named."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from qa_generation.errors import InputError, SceneError
from qa_generation.readers.mvimgnet import MVImgNetReader
from qa_generation.writers.mvimgnet import ObjectLayout
from tests.qa_generation.mvimgnet_factories import SCENE_ID, copy, filmed, folder_of, turn_by_exif, write

MODEL = ("cameras.bin", "images.bin", "points3D.bin")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "data"
    write(root, filmed())
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """An object's folder to be broken."""
    return copy(written, tmp_path / "data")


def read(folder: Path) -> object:
    return MVImgNetReader(folder.parent.parent).read(SCENE_ID)


def expect(folder: Path, message: str) -> None:
    with pytest.raises(SceneError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def damage(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


def save_grey(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


LEFT_OUT: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing picture", lambda f: (f / "images/001.jpg").unlink(), "001.jpg: no such file"),
    ("empty picture", lambda f: (f / "images/001.jpg").write_bytes(b""), "001.jpg: file is empty"),
    ("text for a picture", lambda f: (f / "images/001.jpg").write_bytes(b"no picture"), "cannot be decoded"),
    ("cut picture", lambda f: damage(f / "images/001.jpg", lambda b: b[:-300]), "picture is truncated"),
    ("turned picture", lambda f: turn_by_exif(f / "images/001.jpg", 6), "EXIF orientation is 6, expected 1"),
    (
        "small picture",
        lambda f: save_grey(f / "images/001.jpg", np.zeros((60, 80))),
        "80x60, but its camera is 160x120",
    ),
    ("missing mask", lambda f: (f / "masks/001.jpg").unlink(), "has no mask of 001.jpg"),
    ("cut mask", lambda f: damage(f / "masks/001.jpg", lambda b: b[:200]), "masks/001.jpg: picture cannot be decoded"),
    ("empty mask", lambda f: save_grey(f / "masks/001.jpg", np.full((120, 160), 127)), "mask is empty"),
    ("small mask", lambda f: save_grey(f / "masks/001.jpg", np.full((60, 80), 255)), "80x60, expected 160x120"),
]


@pytest.mark.parametrize(("break_it", "reason"), [case[1:] for case in LEFT_OUT], ids=[case[0] for case in LEFT_OUT])
def test_a_view_that_lacks_a_part_is_left_out(folder: Path, break_it: Callable[[Path], object], reason: str) -> None:
    break_it(folder)
    capture = MVImgNetReader(folder.parent.parent).read(SCENE_ID)
    assert [view.view_id for view in capture.views][:2] == ["003", "005"] and len(capture.views) == 11
    assert len(capture.skipped) == 1 and reason in capture.skipped[0]
    assert capture.seen.shape == (11, len(capture.points)) and len(capture.masks) == len(capture.lenses) == 11


def test_three_whole_views_are_too_few(folder: Path) -> None:
    for path in sorted((folder / "masks").iterdir())[3:]:
        path.unlink()
    expect(folder, "has 3 whole views, expected at least 4; the first of 9 left out: .*has no mask of 007.jpg")


def test_upright_exif_and_alpha_masks_are_taken(folder: Path) -> None:
    turn_by_exif(folder / "images/001.jpg", 1)
    grey = np.asarray(Image.open(folder / "masks/001.jpg"))
    rgba = np.concatenate([np.zeros((*grey.shape, 3), np.uint8), grey[..., None]], axis=2)
    (folder / "masks/001.jpg").unlink()
    Image.fromarray(rgba, "RGBA").save(folder / "masks/001.png")
    assert len(MVImgNetReader(folder.parent.parent).read(SCENE_ID).views) == 12


@pytest.mark.parametrize("name", MODEL)
@pytest.mark.parametrize("keep", [0, 5, 60])
def test_cut_model_files_are_named(folder: Path, name: str, keep: int) -> None:
    damage(folder / "sparse/0" / name, lambda data: data[:keep])
    expect(folder, name)


@pytest.mark.parametrize("name", MODEL)
def test_missing_model_files_are_named(folder: Path, name: str) -> None:
    (folder / "sparse/0" / name).unlink()
    expect(folder, name.removesuffix(".bin"))


def test_empty_and_missing_folders(folder: Path) -> None:
    for name in MODEL:
        (folder / "sparse/0" / name).unlink()
    expect(folder, "sparse/0: is missing or empty")
    (folder / "sparse/0").rmdir()
    expect(folder, "sparse/0: is missing or empty")
    (folder / "images").rename(folder / "pictures")
    expect(folder, "has no images/")
    with pytest.raises(SceneError, match="no such folder, expected an object"):
        MVImgNetReader(folder.parent.parent).read("1-00000000")


def test_unusual_lens_models_are_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, filmed(), ObjectLayout(camera_model="OPENCV_FISHEYE"))
    expect(folder_of(tmp_path), "model OPENCV_FISHEYE is not supported, expected one of SIMPLE_PINHOLE, PINHOLE")


# cameras.bin: count 8, id 4, model 4, width 8, height 8, then f cx cy k
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 20.0, "focal length is 0.125 of the longer side, expected 0.5 to 2.5"),
        (0, -5.0, "focal length"),
        (0, float("nan"), "NaN|finite|not finite"),
        (1, 900.0, "principal point"),
        (3, -1.17, "radial distortion is -1.17"),
        (3, float("inf"), "finite|radial distortion"),
    ],
)
def test_impossible_lenses_are_refused(folder: Path, place: int, value: float, message: str) -> None:
    at = 32 + 8 * place
    damage(folder / "sparse/0/cameras.bin", lambda data: data[:at] + struct.pack("<d", value) + data[at + 8 :])
    expect(folder, message)


def test_a_lens_that_folds_its_picture_is_refused(tmp_path: Path) -> None:
    footage = filmed()
    object.__setattr__(footage, "config", type(footage.config)(size=(160, 120), focal=0.55, radial=-0.49))
    write(tmp_path, footage)
    expect(folder_of(tmp_path), "folds the picture's corners back")


def test_two_images_of_one_name(folder: Path) -> None:
    damage(folder / "sparse/0/images.bin", lambda data: data.replace(b"003.jpg\0", b"001.jpg\0"))
    expect(folder, "two images are called '001.jpg'")


def test_names_that_lead_elsewhere_stay_in_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes((folder / "images/001.jpg").read_bytes())
    damage(folder / "sparse/0/images.bin", lambda data: data.replace(b"001.jpg\0", b"../../../../secret.jpg\0"))
    capture = MVImgNetReader(folder.parent.parent).read(SCENE_ID)
    assert len(capture.views) == 11 and all(folder in view.image.path.parents for view in capture.views)
    damage(folder / "sparse/0/images.bin", lambda data: data.replace(b"003.jpg\0", b"0 3.jpg\0"))
    assert any("unusual name" in reason for reason in MVImgNetReader(folder.parent.parent).read(SCENE_ID).skipped)


def test_a_camera_that_did_not_move(tmp_path: Path) -> None:
    footage = filmed()
    still = np.repeat(footage.world_to_camera[:1], 12, axis=0)
    object.__setattr__(footage, "world_to_camera", still)
    write(tmp_path, footage)
    expect(folder_of(tmp_path), "poses cannot be used: the viewing directions are nearly parallel")


def test_one_view_that_looks_away_is_left_out_among_many(tmp_path: Path) -> None:
    footage = filmed(type(filmed().config)(views=24, size=(160, 120), points=300))
    around = np.diag([-1.0, 1.0, -1.0, 1.0])
    footage.world_to_camera[7] = around @ footage.world_to_camera[7]
    write(tmp_path, footage)
    capture = MVImgNetReader(tmp_path).read(SCENE_ID)
    assert len(capture.views) == 23 and "015 looks away" in capture.skipped[0]
    footage.world_to_camera[8:12] = around @ footage.world_to_camera[8:12]
    write(tmp_path / "more", footage)
    expect(folder_of(tmp_path / "more"), "5 of 24 views have the object behind them")


def test_other_folders_are_no_objects(written: Path, tmp_path: Path) -> None:
    folder = copy(written, tmp_path / "data")
    for name in ("readme.txt", "abc/00000000/x", "366/bad name/x", "366/note.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert MVImgNetReader(folder.parent.parent).scene_ids() == [SCENE_ID]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(MODEL), seed=st.integers(0, 2**32), count=st.integers(1, 40))
def test_random_damage_never_ends_in_a_traceback(written: Path, name: str, seed: int, count: int) -> None:
    """Bytes of the model are overwritten, inserted or dropped: the capture is read, or one sentence says why not."""
    path = folder_of(written) / "sparse/0" / name
    whole = path.read_bytes()
    rng = np.random.default_rng(seed)
    data = bytearray(whole)
    for _ in range(count):
        at = int(rng.integers(len(data)))
        kind = int(rng.integers(3))
        if kind == 0:
            data[at] = int(rng.integers(256))
        elif kind == 1:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            del data[at : at + int(rng.integers(1, 9))]
    try:
        path.write_bytes(bytes(data))
        MVImgNetReader(written).read(SCENE_ID)
    except InputError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(whole)
