"""What was filmed comes back from the layout: poses, lens, masks, tracks, names; answers are those of the film."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from qa_generation.audit import audit_dataset
from qa_generation.browser.scene_marks import MarkJob, Wanted, scene_marks
from qa_generation.commands.synth import synth
from qa_generation.errors import InputError, SceneError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.orbit.capture import ObjectCapture
from qa_generation.readers.base import open_reader, options_of
from qa_generation.readers.mvimgnet import MVImgNetReader
from qa_generation.readers.mvimgnet_categories import clean_name, read_categories
from qa_generation.records import QARecord
from qa_generation.shards import read_shard
from qa_generation.writers.mvimgnet import ObjectLayout, Similarity, draw_similarity, write_categories, write_object
from qa_generation.writers.mvimgnet_turntable import Footage, TurntableConfig, through_lens
from tests.qa_generation.mvimgnet_factories import CLASS_ID, SCENE_ID, copy, filmed, folder_of, write


@pytest.fixture(scope="module")
def footage() -> Footage:
    return filmed()


@pytest.fixture(scope="module")
def written(footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Similarity]:
    root = tmp_path_factory.mktemp("mvimgnet") / "data"
    similarity = write(root, footage)
    write_categories(root, {CLASS_ID: "stepped_block, toy"})
    return root, similarity


@pytest.fixture(scope="module")
def capture(written: tuple[Path, Similarity]) -> ObjectCapture:
    return MVImgNetReader(written[0]).read(SCENE_ID)


def check_same(capture: ObjectCapture, footage: Footage, similarity: Similarity) -> None:
    """Reprojection through the reader's poses and lens hits the writer's pixels, COLMAP's half pixel taken off."""
    assert len(capture.views) == len(footage.images) and capture.skipped == ()
    points = similarity.points(footage.points)
    for view, lens, pose in zip(capture.views, capture.lenses, footage.world_to_camera, strict=True):
        true = through_lens(footage.points @ pose[:3, :3].T + pose[:3, 3], footage.config) - 0.5
        found, inside = lens.project(points @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3])
        assert inside.sum() > 50 and np.abs(found - true)[inside].max() < 1e-6


def test_everything_comes_back(capture: ObjectCapture, written: tuple[Path, Similarity], footage: Footage) -> None:
    check_same(capture, footage, written[1])
    assert (capture.scene_id, capture.dataset, capture.category) == (SCENE_ID, "mvimgnet", "stepped block")
    assert [view.view_id for view in capture.views[:3]] == ["001", "003", "005"]
    assert np.allclose(capture.points, written[1].points(footage.points))
    assert (capture.seen == footage.found).all() and capture.seen.sum() > 500
    for mask, true in zip(capture.masks, footage.masks, strict=True):
        pixels = mask.pixels()
        assert (pixels & true).sum() / (pixels | true).sum() > 0.95


def test_a_ray_through_a_mask_pixel_meets_the_object(capture: ObjectCapture) -> None:
    """Depth consistency without depth: sparse object points lie in the masks of the views that found them."""
    inside = []
    for view, lens, mask, seen in zip(capture.views, capture.lenses, capture.masks, capture.seen, strict=True):
        at, _ = lens.project(capture.points @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3])
        x, y = np.rint(at[seen]).astype(int).T
        inside.append((mask.pixels()[y, x], seen))
    votes, times = np.zeros(len(capture.points)), np.zeros(len(capture.points))
    for hit, seen in inside:
        votes[seen] += hit
        times += seen
    share = votes / times
    # points are on the object or on the floor, hardly any in doubt
    assert ((share > 0.8) | (share < 0.2)).mean() > 0.95


@pytest.mark.parametrize(
    "layout",
    [
        ObjectLayout(prefixed_names=True),
        ObjectLayout(model_format="text"),
        ObjectLayout(mask_format="png"),
        ObjectLayout(camera_model="RADIAL"),
        ObjectLayout(camera_model="OPENCV"),
    ],
    ids=lambda layout: f"{layout.camera_model} {layout.model_format} {layout.mask_format} {layout.prefixed_names}",
)
def test_every_form_of_the_layout(layout: ObjectLayout, footage: Footage, tmp_path: Path) -> None:
    similarity = write(tmp_path, footage, layout)
    check_same(MVImgNetReader(tmp_path).read(SCENE_ID), footage, similarity)


@pytest.mark.parametrize("model", ["SIMPLE_PINHOLE", "PINHOLE"])
def test_lenses_without_distortion(model: str, tmp_path: Path) -> None:
    footage = filmed(TurntableConfig(views=6, size=(120, 90), radial=0.0, points=900))
    similarity = write(tmp_path, footage, ObjectLayout(camera_model=model))
    check_same(MVImgNetReader(tmp_path).read(SCENE_ID), footage, similarity)


def test_pycolmap_reads_what_is_written(written: tuple[Path, Similarity], footage: Footage) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction(folder_of(written[0]) / "sparse" / "0")
    assert len(model.images) == 12 and len(model.points3D) == len(footage.points)
    model.update_point_3d_errors()
    # noise of 0.3 pixels per axis
    assert 0.2 < model.compute_mean_reprojection_error() < 0.6


def test_the_turn_is_that_of_the_film(capture: ObjectCapture, footage: Footage) -> None:
    turn = capture.turn
    assert turn.up_is_known and turn.is_full
    step = np.diff(np.append(turn.azimuth_deg, turn.azimuth_deg[0])) % 360
    # counter-clockwise by 30 degrees each, the hand trembles
    assert np.abs(step - 30).max() < 4
    centers = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in footage.world_to_camera])
    elevation = np.degrees(np.arcsin((centers[:, 2] - 0.08) / np.linalg.norm(centers - [0, 0, 0.08], axis=1)))
    assert np.abs(turn.elevation_deg - elevation).max() < 4


def test_ids_and_spellings(written: tuple[Path, Similarity]) -> None:
    reader = open_reader("mvimgnet", written[0])
    assert reader.scene_ids() == [SCENE_ID] and options_of(reader) == {}
    assert reader.read("366/3707ded1").scene_id == SCENE_ID
    assert pickle.loads(pickle.dumps(reader)).scene_ids() == [SCENE_ID]
    for bad in ("366", "../366-3707ded1", "366-../x", "a-b", "366-3707ded1\n"):
        with pytest.raises(SceneError, match="is no object"):
            reader.read(bad)


def test_masks_from_a_separate_download(written: tuple[Path, Similarity], tmp_path: Path) -> None:
    folder = copy(written[0], tmp_path / "data")
    elsewhere = tmp_path / "masks" / "366" / "3707ded1"
    elsewhere.mkdir(parents=True)
    (folder / "masks").rename(elsewhere / "masks")
    with pytest.raises(SceneError, match="mask_root"):
        MVImgNetReader(tmp_path / "data").read(SCENE_ID)
    reader = open_reader("mvimgnet", tmp_path / "data", {"mask_root": str(tmp_path / "masks")})
    assert len(reader.read(SCENE_ID).views) == 12


def test_names_are_cleaned_and_numbers_are_keys(tmp_path: Path) -> None:
    assert clean_name("  Starfish, shells, conchs") == "starfish" and clean_name("wahser") == "washer"
    assert clean_name("hot_dog (toy)") == "hot dog" and clean_name("") == clean_name("??") == "object"
    write_categories(tmp_path / "one", {0: "shovel", 7: "shovel", 9: "caninet"}, version=1)
    assert read_categories(tmp_path / "one") == {0: "shovel", 7: "shovel", 9: "cabinet"}
    write_categories(tmp_path / "one", {0: "spade"})
    assert read_categories(tmp_path / "one") == {0: "spade"} and read_categories(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mvimgnet2_category.json", b"{", "is not valid JSON"),
        ("mvimgnet2_category.json", b"[1]", "found list"),
        ("mvimgnet2_category.json", b'{"x": "cup"}', "entry 'x'"),
        ("mvimgnet2_category.json", b'{"1": 2}', "entry '1'"),
        ("mvimgnet_category.txt", b"cup\n", "line 1 is 'cup'"),
        ("mvimgnet_category.txt", b"\xff\xfe\x00", "cannot be read as text"),
    ],
)
def test_bad_category_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_categories(tmp_path)


def _records(out: Path) -> list[QARecord]:
    return [record for path in sorted(out.glob("data/*/*.parquet")) for record in read_shard(path)]


@pytest.fixture(scope="module")
def dataset(written: tuple[Path, Similarity], footage: Footage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objects: the whole one, and one without a model."""
    root = tmp_path_factory.mktemp("objects") / "data"
    copy(written[0], root)
    folder = write_object(root, 5, "00000bad", footage, draw_similarity(np.random.default_rng(1)))
    (folder / "sparse" / "0" / "images.bin").unlink()
    return root


def test_questions_of_objects_from_end_to_end(dataset: Path, tmp_path: Path) -> None:
    config = GenerationConfig(per_type=10, blind=False)
    report = generate_dataset(MVImgNetReader(dataset), tmp_path / "out", config, seed=1, workers=0)
    assert list(report.failures) == ["5-00000bad"] and "images.bin" in report.failures["5-00000bad"]
    records = _records(tmp_path / "out")
    assert len(records) == report.records > 60 and {record.dataset for record in records} == {"mvimgnet"}
    assert all((tmp_path / "out" / path).is_file() for record in records for path in record.images)
    # pictures are kept byte for byte
    first = records[0]
    source = folder_of(dataset) / "images" / f"{first.frames[0]}.jpg"
    assert (tmp_path / "out" / first.images[0]).read_bytes() == source.read_bytes()
    again = generate_dataset(MVImgNetReader(dataset), tmp_path / "again", config, seed=1, workers=1)
    assert again.records == report.records and _records(tmp_path / "again") == records
    card = (tmp_path / "out" / "README.md").read_text()
    assert "orbit_motion_lr" in card and "Orbit camera motion" in card
    audit = audit_dataset(tmp_path / "out", lambda name: open_reader(name, dataset), workers=0)
    assert audit.verdicts()["disagree"] == 0 and audit.verdicts()["agree"] > 0.97 * len(records) and audit.broken == 0


def test_the_benchmark_takes_orbit_questions(dataset: Path, tmp_path: Path) -> None:
    benchmark = pytest.importorskip("benchmarks.spatialmosaic.dataset")
    scoring = pytest.importorskip("benchmarks.spatialmosaic.scoring")
    config = GenerationConfig(per_type=3, blind=False)
    generate_dataset(MVImgNetReader(dataset), tmp_path / "out", config, seed=1, workers=0)
    data = benchmark.load(tmp_path / "out", split="train")
    assert set(data.question_types) >= {"orbit_motion_lr", "orbit_angle_deg"}
    for row in data.table.to_pylist():
        right = row["mc_answer"] or row["ground_truth"]
        assert scoring.score_prediction(row, right, mode="safe")[1] == 1.0
    official = json.loads((tmp_path / "out" / "official" / "train.json").read_text())
    asked = {row["question_type"]: row["conversations"] for row in official}
    assert "Options:" in asked["orbit_motion_lr"][0]["value"] and asked["orbit_motion_lr"][1]["value"] in "ABCD"
    assert "Options:" not in asked["orbit_angle_deg"][0]["value"]


def true_angle_deg(footage: Footage, center: np.ndarray, first: int, second: int) -> float:
    """Angle at a point between two true cameras."""
    lines = [-pose[:3, :3].T @ pose[:3, 3] - center for pose in footage.world_to_camera[[first, second]]]
    unit = [line / np.linalg.norm(line) for line in lines]
    return float(np.degrees(np.arccos(np.clip(unit[0] @ unit[1], -1, 1))))


def test_the_browser_draws_the_masks_of_objects(written: tuple[Path, Similarity], capture: ObjectCapture) -> None:
    wanted = Wanted()
    wanted.views["001"] |= {1}
    found = scene_marks(MarkJob(MVImgNetReader(written[0]), {SCENE_ID: wanted}), SCENE_ID)
    (mark,) = found["masks"]["001"].values()
    x0, y0, x1, y1 = capture.masks[0].box
    width, height = capture.masks[0].size
    left, top, wide, high = mark["box"]
    expected = [100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height]
    assert np.allclose([left, top, wide, high], expected, atol=0.01) and mark["name"] == "stepped block"
    assert found["lines"] == {} and mark["d"].startswith("M")


def test_the_command_makes_objects_whatever_the_workers(tmp_path: Path) -> None:
    def made(name: str, workers: int) -> dict[str, bytes]:
        synth(tmp_path / name, scenes=2, layout="mvimgnet", views=6, size="64x48", workers=workers)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    alone = made("alone", 1)
    assert made("two", 2) == alone == made("alone", 1) and len(alone) == 1 + 2 * (6 + 6 + 3 + 1)
    capture = MVImgNetReader(tmp_path / "alone").read("11-" + next(iter(alone)).split("/")[1])
    assert capture.category == "backpack" and len(capture.views) == 6
    with pytest.raises(InputError, match="2 of 2 objects failed"):
        synth(tmp_path / "alone", scenes=2, layout="mvimgnet", views=5, size="64x48", workers=1)
    with pytest.raises(InputError, match="--layout 'mv' is unknown, expected one of native, scannet, mvimgnet"):
        synth(tmp_path / "alone", layout="mv")


def test_answers_are_those_of_the_film(dataset: Path, footage: Footage, tmp_path: Path) -> None:
    """Against the true cameras about the true middle of the object, which no reader knows."""
    config = GenerationConfig(per_type=20, blind=False)
    generate_dataset(MVImgNetReader(dataset), tmp_path / "out", config, seed=2, workers=0)
    centers = np.stack([-pose[:3, :3].T @ pose[:3, 3] for pose in footage.world_to_camera])
    middle = np.array([0.0, 0.0, 0.08])
    azimuth = np.degrees(np.arctan2(*(centers - middle)[:, 1::-1].T))
    checked = 0
    for record in _records(tmp_path / "out"):
        row = {f"Frame {i + 1}": int(view) // 2 for i, view in enumerate(record.frames)}
        named = [row[f"Frame {word[0]}"] for word in record.question.split("Frame ")[1:]]
        if record.question_type == "orbit_motion_lr":
            step = (azimuth[named[1]] - azimuth[named[0]] + 180) % 360 - 180
            assert record.ground_truth == ("to its right" if step > 0 else "to its left")
        elif record.question_type == "orbit_motion_fb":
            distance = np.linalg.norm(centers - middle, axis=1)
            assert (record.ground_truth == "closer") == bool(distance[named[1]] < distance[named[0]])
        elif record.question_type == "orbit_motion_ud":
            assert (record.ground_truth == "up") == bool(centers[named[1], 2] > centers[named[0], 2])
        elif record.question_type == "orbit_angle_deg":
            assert abs(float(record.ground_truth) - true_angle_deg(footage, middle, *named)) < 4
        elif record.question_type == "orbit_bestview":
            areas = {name: footage.masks[index].sum() for name, index in row.items()}
            assert record.ground_truth == max(areas, key=lambda name: areas[name])
        else:
            continue
        checked += 1
    assert checked > 50
