"""The chunk database: search against brute force, exclusion, growth, files, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geometry_encoders.errors import InputError
from geometry_encoders.retrieval.chunk_index import ChunkIndex, IndexSettings
from geometry_encoders.retrieval.chunk_shards import column_values
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.database_header import DatabaseSettings
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.retrieved import RetrievedWindows, composing_retriever, retrieve, retrieve_windows
from geometry_encoders.retrieval.window_store import MemoryWindows
from tests.geometry_encoders.retrieval_models import SCALE, box_windows, small_encoder, window_names

SCENES, PER_SCENE = 3, 2


@pytest.fixture(scope="module")
def encoder() -> ChunkEncoder:
    return small_encoder()


@pytest.fixture(scope="module")
def windows() -> MemoryWindows:
    return box_windows(window_names(SCENES, PER_SCENE))


@pytest.fixture(scope="module")
def database(encoder: ChunkEncoder, windows: MemoryWindows, tmp_path_factory: pytest.TempPathFactory) -> ChunkDatabase:
    folder = tmp_path_factory.mktemp("database") / "db"
    return ChunkDatabase.build(folder, encoder, windows, DatabaseSettings(windows_per_shard=2))


def embeddings_of(database: ChunkDatabase) -> np.ndarray:
    return np.concatenate(list(column_values(database.dataset, "embedding")))


def unit(generator: np.random.Generator, *shape: int) -> np.ndarray:
    values = generator.standard_normal(shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


# ---- contents ----------------------------------------------------------------------------------------------------


def test_rows_are_the_chunks(database: ChunkDatabase, encoder: ChunkEncoder, windows: MemoryWindows) -> None:
    """Every row holds the distances at its extent and the embedding of the target chunk with context."""
    assert database.scenes == ["scene0", "scene1", "scene2"]
    assert len(database.windows) == SCENES * PER_SCENE
    layout = database.layout
    for number in (1, len(database) // 2, len(database) - 1):
        row = database.dataset[number]
        item = next(item for item in windows.items if item["name"] == row["window"])
        z0, z1, y0, y1, x0, x1 = row["extent"]
        chunk = database.chunks(torch.tensor([number]))[0]
        torch.testing.assert_close(chunk, item["target"][z0:z1, y0:y1, x0:x1], atol=1e-4, rtol=0)
        place = layout.extents().tolist().index(row["extent"])
        content = layout.content(item["target"][None], SCALE)[0]
        assert content[place] > 0
        with torch.no_grad():
            expected = encoder(target_chunks=layout.target_chunks(item["target"][None], SCALE)[place, None])
        np.testing.assert_allclose(row["embedding"], expected.target_embeddings[0], atol=1e-5)


def test_the_empty_chunk(database: ChunkDatabase, encoder: ChunkEncoder) -> None:
    row = database.dataset[0]
    assert (row["scene"], row["window"], row["extent"]) == ("", "", [0, 16] * 3)
    chunk = database.chunks(torch.tensor([0]))
    torch.testing.assert_close(chunk, torch.full((1, 16, 16, 16), SCALE.truncation), atol=1e-4, rtol=0)
    with torch.no_grad():
        seen = encoder(target_chunks=torch.ones(1, 1, 24, 24, 24)).target_embeddings[0]
    np.testing.assert_allclose(row["embedding"], seen, atol=1e-6)


# ---- search ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**20), k=st.integers(1, 9), excluded=st.sampled_from([None, "scene0", "scene2", "other"]))
def test_exact_search_is_brute_force(database: ChunkDatabase, seed: int, k: int, excluded: str | None) -> None:
    queries = unit(np.random.default_rng(seed), 5, 16)
    vectors = embeddings_of(database)
    squared = ((queries[:, None].astype(np.float64) - vectors[None]) ** 2).sum(-1)
    if excluded is not None:
        squared[:, np.array(database.dataset["scene"][:]) == excluded] = np.inf
    distances, rows = database.search(queries, k, exclude_scene=excluded)
    np.testing.assert_allclose(distances, np.sort(squared, axis=1)[:, :k], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(squared, rows, 1), distances, atol=1e-5)


def test_exclusions_per_query(database: ChunkDatabase) -> None:
    """Each query leaves out its own; asking together or one by one is the same."""
    queries = unit(np.random.default_rng(1), 6, 16)
    scenes = ["scene0", None, "scene1", "scene0", None, "scene2"]
    names = [None, "scene1__64__000_000_000", None, None, None, "scene0__64__000_000_000"]
    distances, rows = database.search(queries, 4, scenes, names)
    found_in = database.window_of(rows)
    for number in range(6):
        alone = database.search(queries[number : number + 1], 4, scenes[number], names[number])
        np.testing.assert_allclose(alone[0][0], distances[number], atol=1e-6)
        assert not any(str(w).startswith(f"{scenes[number]}__") for w in found_in[number])
        assert names[number] not in found_in[number]
    columns = np.array(database.dataset["window"][:], dtype=object)
    np.testing.assert_array_equal(found_in, columns[rows])


def test_refusals(database: ChunkDatabase) -> None:
    queries = unit(np.random.default_rng(0), 2, 16)
    with pytest.raises(InputError, match=f"k is {len(database) + 1}, expected 1 to {len(database)}"):
        database.search(queries, len(database) + 1)
    with pytest.raises(InputError, match="are excluded"):
        database.search(queries, len(database), exclude_scene="scene0")
    with pytest.raises(InputError, match=r"\(2, 15\), expected \(queries, 16\)"):
        database.search(queries[:, :15], 1)
    with pytest.raises(InputError, match="1 of 2 embeddings have values that are not numbers"):
        database.search(np.where(np.arange(2)[:, None] == 1, np.nan, queries), 1)
    with pytest.raises(InputError, match="k is 0"):
        database.search(queries, 0)
    with pytest.raises(InputError, match="exclude_scene has 1 entries, expected 2"):
        database.search(queries, 1, exclude_scene=["scene0"])
    with pytest.raises(InputError, match=f"expected 0 to {len(database) - 1}"):
        database.chunks(torch.tensor([len(database)]))


@pytest.mark.parametrize("count", [600, 4000])
def test_approximate_search(count: int, tmp_path: Path) -> None:
    """Most true neighbours are found, distances are exact, excluded rows never appear, files hold the same."""
    generator = np.random.default_rng(0)
    centres = unit(generator, 40, 16)
    vectors = centres[generator.integers(0, 40, count)] + 0.2 * unit(generator, count, 16)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    approximate = IndexSettings("ivf_pq", codes=8, probes=8)
    index = ChunkIndex.build(approximate, 16, count, [vectors[: count // 2], vectors[count // 2 :]])
    exact = ChunkIndex.build(IndexSettings(), 16, count, [vectors])
    queries = vectors[::50] + 0.01
    distances, rows = index.search(queries, 4, [(0, 100)])
    _, true_rows = exact.search(queries, 4, [(0, 100)])
    assert rows.min() >= 100
    recall = np.mean([len(set(a) & set(b)) / 4 for a, b in zip(rows, true_rows, strict=True)])
    assert recall > 0.9
    np.testing.assert_allclose(distances, ((queries[:, None] - vectors[rows]) ** 2).sum(-1), atol=1e-5)
    index.save(tmp_path / "index")
    loaded = ChunkIndex.load(tmp_path / "index", approximate)
    np.testing.assert_array_equal(loaded.search(queries, 4, [(0, 100)])[1], rows)
    grown = loaded.extended([vectors[:7]])
    assert grown.count == count + 7
    assert set(grown.search(vectors[:1], 2)[1][0]) == {0, count}


def test_too_few_for_the_approximate_index() -> None:
    with pytest.raises(InputError, match="at least 256 vectors"):
        ChunkIndex.build(IndexSettings("ivf_pq"), 64, 10, [np.zeros((10, 64), np.float32)])


# ---- growth and files --------------------------------------------------------------------------------------------


def test_growing_equals_building_at_once(
    encoder: ChunkEncoder, windows: MemoryWindows, database: ChunkDatabase, tmp_path: Path
) -> None:
    """Adding scenes moves no row; a merge of two halves finds the same chunks; nothing is added twice."""
    first = MemoryWindows(windows.items[:2], SCALE)
    rest = MemoryWindows(windows.items[2:], SCALE)
    grown = ChunkDatabase.build(tmp_path / "grown", encoder, first)
    before = embeddings_of(grown)
    grown = grown.add(encoder, windows)
    assert len(grown) == len(database)
    np.testing.assert_array_equal(embeddings_of(grown)[: len(before)], before)
    assert len(grown.add(encoder, windows)) == len(database)
    other = ChunkDatabase.build(tmp_path / "other", encoder, rest)
    merged = ChunkDatabase.build(tmp_path / "merged", encoder, first).merge(other)
    assert len(merged) == len(database)
    queries = unit(np.random.default_rng(0), 4, 16)
    expected = database.search(queries, 5)[0]
    np.testing.assert_allclose(grown.search(queries, 5)[0], expected, atol=1e-6)
    np.testing.assert_allclose(merged.search(queries, 5)[0], expected, atol=1e-6)
    assert {path.name for path in (tmp_path / "grown").glob("index-*")} == {f"index-{len(grown)}.flat.faiss"}


class Killed(MemoryWindows):
    """Windows of which the fifth is one too many."""

    def __getitem__(self, index: int) -> dict[str, object]:
        if index == 4:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_a_killed_addition_goes_on(
    encoder: ChunkEncoder, windows: MemoryWindows, database: ChunkDatabase, tmp_path: Path
) -> None:
    """What was added is found when the database is opened again; the rest can be added then."""
    settings_ = DatabaseSettings(windows_per_shard=2)
    first = MemoryWindows(windows.items[:2], SCALE)
    started = ChunkDatabase.build(tmp_path / "db", encoder, first, settings_)
    with pytest.raises(KeyboardInterrupt):
        started.add(encoder, Killed(windows.items, SCALE))
    opened = ChunkDatabase.load(tmp_path / "db", encoder)
    assert len(started) < len(opened) < len(database)
    queries = embeddings_of(opened)[-3:]
    assert opened.search(queries, 1)[0].max() < 1e-6
    np.testing.assert_array_equal(embeddings_of(opened.add(encoder, windows)), embeddings_of(database))


def test_a_killed_build_goes_on(
    encoder: ChunkEncoder, windows: MemoryWindows, database: ChunkDatabase, tmp_path: Path
) -> None:
    """What was written before stays, the rest follows, and the result is the same."""
    settings_ = DatabaseSettings(windows_per_shard=2)
    with pytest.raises(KeyboardInterrupt):
        ChunkDatabase.build(tmp_path / "db", encoder, Killed(windows.items, SCALE), settings_)
    with pytest.raises(InputError, match="not finished"):
        ChunkDatabase.load(tmp_path / "db")
    again = ChunkDatabase.build(tmp_path / "db", encoder, windows, settings_)
    np.testing.assert_array_equal(embeddings_of(again), embeddings_of(database))


def test_saved_and_loaded(encoder: ChunkEncoder, database: ChunkDatabase, tmp_path: Path) -> None:
    database.save(tmp_path / "copy")
    copy = ChunkDatabase.load(tmp_path / "copy", encoder)
    queries = unit(np.random.default_rng(0), 4, 16)
    np.testing.assert_array_equal(copy.search(queries, 3)[1], database.search(queries, 3)[1])
    with pytest.raises(InputError, match="exists already"):
        database.save(tmp_path / "copy")


def test_another_encoder_is_refused(database: ChunkDatabase, windows: MemoryWindows, tmp_path: Path) -> None:
    other = small_encoder(seed=7)
    with pytest.raises(InputError, match="made by encoder") as caught:
        ChunkDatabase.load(database.folder, other)
    assert other.digest() in str(caught.value)
    for action in (
        lambda: database.add(other, windows),
        lambda: retrieve(other, database, windows[0]["input"][None]),
        lambda: ChunkDatabase.build(database.folder, other, windows),
        lambda: database.merge(ChunkDatabase.build(tmp_path / "other", other, windows)),
    ):
        with pytest.raises(InputError, match="encoder"):
            action()


def test_damaged_files(database: ChunkDatabase, tmp_path: Path) -> None:
    """One sentence that names the file, whichever is damaged."""

    def damaged(name: str) -> Path:
        folder = tmp_path / name.replace("/", "_")
        shutil.copytree(database.folder, folder)
        (folder / name).write_bytes(b"junk")
        return folder

    for name in ("database.json", "shards/00001.arrow", f"index-{len(database)}.flat.faiss"):
        folder = damaged(name)
        with pytest.raises(InputError, match=Path(name).name) as caught:
            ChunkDatabase.load(folder)
        assert "\n" not in str(caught.value)
    folder = tmp_path / "escape"
    shutil.copytree(database.folder, folder)
    header = json.loads((folder / "database.json").read_text())
    header["shards"][0][0] = "../../secret.arrow"
    (folder / "database.json").write_text(json.dumps(header))
    with pytest.raises(InputError, match="inside of the folder"):
        ChunkDatabase.load(folder)
    with pytest.raises(InputError, match=r"no database\.json"):
        ChunkDatabase.load(tmp_path)


# ---- composition and retrieval -----------------------------------------------------------------------------------


def test_composing_the_own_chunks_gives_the_window(database: ChunkDatabase, windows: MemoryWindows) -> None:
    """Order of places: rows of a window's own chunks put it together again."""
    item = windows.items[3]
    place = {
        tuple(extent): row
        for row, (window, extent) in enumerate(
            zip(database.dataset["window"][:], database.dataset["extent"][:], strict=True)
        )
        if window == item["name"]
    }
    rows = torch.tensor([[place.get(tuple(extent), 0)] for extent in database.layout.extents().tolist()])
    composed = database.compose(rows)
    content = database.layout.content(item["target"][None], SCALE)[0]
    assert (content > 0).sum() == (rows > 0).sum()
    torch.testing.assert_close(composed[0], item["target"], atol=1e-4, rtol=0)
    torch.testing.assert_close(database.compose(rows, 2 * SCALE.truncation), 2 * composed)
    with pytest.raises(InputError, match=r"expected \(64, k\)"):
        database.compose(rows[:63])


def test_retrieved_windows(
    encoder: ChunkEncoder, database: ChunkDatabase, windows: MemoryWindows, tmp_path: Path
) -> None:
    """Stored neighbours are those of the search without the own scene; a second run computes nothing anew."""
    store = retrieve_windows(encoder, database, windows, tmp_path / "retrieved", k=3)
    item = windows.items[2]
    distances, rows = retrieve(encoder, database, item["input"][None], 3, exclude_scene=item["scene"])
    np.testing.assert_array_equal(store.rows(item["name"]), rows)
    np.testing.assert_allclose(store.distances(item["name"]), distances, atol=1e-6)
    assert not any(str(name).startswith(item["scene"]) for name in database.window_of(rows).ravel())
    torch.testing.assert_close(store.read(item["name"]), database.compose(rows))
    retriever = composing_retriever(encoder, database, 3, exclude_scene=item["scene"])
    torch.testing.assert_close(retriever(item["input"][None])[0], database.compose(rows))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "retrieved/scenes").iterdir()}
    retrieve_windows(encoder, database, windows, tmp_path / "retrieved", k=3)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "retrieved/scenes").iterdir()} == times
    again = RetrievedWindows(tmp_path / "retrieved")
    torch.testing.assert_close(again.read(item["name"]), store.read(item["name"]))
    with pytest.raises(InputError, match="'scene9__64__000_000_000'"):
        again.read("scene9__64__000_000_000")
    with pytest.raises(InputError, match="other settings"):
        retrieve_windows(encoder, database, windows, tmp_path / "retrieved", k=2)
