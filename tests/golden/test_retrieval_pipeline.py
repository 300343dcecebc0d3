"""Chunks, database, mapping, composition and a training step on the toy scenes against the released program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from geometry_encoders.retrieval.chunk_shards import column_values
from geometry_encoders.retrieval.chunks import ChunkLayout, chunk_extents
from geometry_encoders.retrieval.contrastive import iou_matrix, nt_xent
from geometry_encoders.retrieval.database import ChunkDatabase
from geometry_encoders.retrieval.database_header import DatabaseSettings
from geometry_encoders.retrieval.encoders import ChunkEncoder
from geometry_encoders.retrieval.published_search import search_own_window_last
from geometry_encoders.retrieval.scale import GridScale
from geometry_encoders.retrieval.window_store import MemoryWindows
from spatialvlm.training.retrieval.chunk_pairs import ChunkPairs
from tests.golden.conftest import Golden
from tests.golden.retrieval_files import load_encoder, retrieval_golden, scale_of, toy_scenes


class Toy:
    """The toy data with the encoders of the fixture."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.golden: Golden = retrieval_golden()
        self.settings: dict[str, Any] = self.golden.json("retrieval_pipeline")
        self.tensors: dict[str, Tensor] = self.golden.tensors("retrieval_pipeline")
        config = self.settings["config"]
        kind = "points" if config["dataset_train"]["num_points"] else "distance"
        self.scale: GridScale = scale_of(config["dataset_train"], kind)
        weights = Path(self.settings["weights"]).stem
        self.encoder: ChunkEncoder = load_encoder(self.golden, weights, self.scale)
        self.layout = ChunkLayout.of(self.encoder.config)
        splits = self.golden.json("toy_scenes")["splits"]
        self.splits = {name: self.windows(scenes) for name, scenes in splits.items()}
        options = DatabaseSettings(chunk_dtype="float32", empty_feature="ones")
        self.database = ChunkDatabase.build(folder, self.encoder, self.splits["train"], options)

    def windows(self, names: list[str]) -> MemoryWindows:
        scenes = toy_scenes(self.golden)
        half = {name: scenes[name]["input"].half().float() for name in names}
        items = [
            {"name": n, "scene": "__".join(n.split("__")[:2]), "target": scenes[n]["target"], "input": half[n]}
            for n in names
        ]
        return MemoryWindows(items, self.scale)

    def patches(self, split: str, threshold: int) -> tuple[list[str], list[int]]:
        """Published names of the chunks that are kept, and their counts of near voxels."""
        names, counts = [], []
        for item in self.splits[split].items:
            content = self.layout.content(item["target"][None], self.scale)[0].tolist()
            extents = chunk_extents(
                item["target"].shape, self.layout.target_size, self.layout.target_context, self.layout.stride
            )
            for count, extent in zip(content, extents, strict=True):
                if count > threshold:
                    names.append(f"{item['name']}--" + "_".join(f"{value:04d}" for value in extent))
                    counts.append(count)
        return names, counts

    @torch.no_grad()
    def queries(self, split: str, kept: list[str]) -> Tensor:
        """Unit embeddings of the inputs of those chunks."""
        parts = []
        for item in self.splits[split].items:
            inputs = self.layout.input_chunks(item["input"][None], self.scale)
            extents = chunk_extents(
                item["target"].shape, self.layout.target_size, self.layout.target_context, self.layout.stride
            )
            names = [f"{item['name']}--" + "_".join(f"{value:04d}" for value in extent) for extent in extents]
            chosen = [i for i, name in enumerate(names) if name in set(kept)]
            parts.append(self.encoder(input_chunks=inputs[chosen]).input_embeddings)
        return torch.cat(parts)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy") / "database")


def test_scale(toy: Toy) -> None:
    expected = toy.settings["float16_trunc"]
    assert toy.scale.truncation == expected["target"]
    assert toy.scale.input_truncation == expected["input"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_chunks_and_their_content(toy: Toy, split: str) -> None:
    threshold = toy.settings["config"][f"dataset_{split}"]["occupancy_threshold"]
    names, counts = toy.patches(split, threshold)
    assert names == toy.settings[f"{split}_patches"]
    assert counts == toy.settings[f"{split}_occupancy"]


def test_database(toy: Toy) -> None:
    """Rows in published order behind the empty chunk, which the published database has last."""
    expected = toy.tensors["database"]
    embeddings = torch.from_numpy(np.concatenate(list(column_values(toy.database.dataset, "embedding"))))
    toy.golden.assert_close(embeddings.roll(-1, 0), expected[:, 7:], "embeddings")
    extents = np.concatenate(list(column_values(toy.database.dataset, "extent")))
    np.testing.assert_array_equal(np.roll(extents, -1, axis=0), expected[:, 1:7].numpy())
    scenes = [*toy.settings["scenes_index"], ""]
    assert toy.database.dataset["window"][:] == ["", *(scenes[int(row)] for row in expected[:-1, 0])]


@pytest.mark.parametrize("split", ["train", "val"])
def test_mapping(toy: Toy, split: str) -> None:
    """Distances of the nearest chunks, as the released program finds them and without any of the own window."""
    names = toy.settings[f"{split}_patches"]
    queries = toy.queries(split, names)
    toy.golden.assert_close(queries, toy.tensors[f"{split}/features_input"], "query embeddings")
    mapping = toy.tensors[f"{split}/mapping"]
    own = [name.partition("--")[0] for name in names]
    k = mapping.shape[1]
    if split == "train":
        distances, rows = search_own_window_last(toy.database, queries.numpy(), k, own)
    else:
        distances, rows = toy.database.search(queries, k)
    np.testing.assert_allclose(distances, mapping[..., -1].numpy(), atol=1e-4)
    # identical chunks tie, so that rows need not agree everywhere
    published = np.array([*toy.settings["scenes_index"], ""])[mapping[..., 0].int().numpy()]
    assert (toy.database.window_of(rows) == published).mean() > 0.9
    if split == "train":
        strict, rows = toy.database.search(queries, k, exclude_window=own)
        assert not (toy.database.window_of(rows) == np.array(own)[:, None]).any()
        free = ~(published == np.array(own)[:, None]).any(axis=1)
        assert free.mean() > 0.5
        np.testing.assert_allclose(strict[free], distances[free], atol=1e-5)


def test_composition(toy: Toy) -> None:
    """Windows pasted from the rows of the fixture are those of the released program."""
    scenes = toy.golden.json("toy_scenes")["all_scenes"]
    extents = np.concatenate(list(column_values(toy.database.dataset, "extent")))
    place = {
        (window, *extent.tolist()): row
        for row, (window, extent) in enumerate(zip(toy.database.dataset["window"][:], extents, strict=True))
    }
    for number, name in enumerate(scenes):
        wanted = toy.tensors["compose_rows"][number]  # (k, chunks, 7)
        rows = torch.tensor(
            [[place[scenes[e[0]], *e[1:]] if e[0] >= 0 else 0 for e in chunk] for chunk in wanted.tolist()]
        )
        composed = toy.database.compose(rows.T)
        toy.golden.assert_close(composed[:, ::4, ::4, ::4], toy.tensors[f"compose/{name}_s4"], name)
        expected = toy.settings[f"compose/{name}"]
        assert float(composed.double().mean()) == pytest.approx(expected["mean"], rel=1e-4)
        assert float(composed.double().norm()) == pytest.approx(expected["l2"], rel=1e-4)


def test_training_item(toy: Toy) -> None:
    pairs = ChunkPairs(toy.splits["train"], toy.layout, preload=False)
    batch = pairs.batch([5])
    toy.golden.assert_close(batch["input"][0], toy.tensors["train/item5_input"], "input")
    toy.golden.assert_close(batch["target"][0], toy.tensors["train/item5_target"], "target")


@pytest.mark.parametrize("with_iou", [False, True])
def test_training_step(toy: Toy, with_iou: bool) -> None:
    """Loss and the norm of every gradient."""
    pairs = ChunkPairs(toy.splits["train"], toy.layout, preload=False)
    batch = pairs.batch(toy.tensors["train_step/indices"].long())
    iou = iou_matrix(toy.scale.denormalise_target(batch["target"]) <= toy.scale.occupied)
    toy.golden.assert_close(iou, toy.tensors["train_step/iou"], "IoU")
    toy.encoder.zero_grad()
    output = toy.encoder(batch["input"], batch["target"])
    loss = nt_xent(output.input_embeddings, output.target_embeddings, 0.2, iou if with_iou else None)
    loss.backward()
    expected = toy.settings[f"train_step_iou_{with_iou}"]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-4)
    norms = {name: float(value.grad.norm()) for name, value in toy.encoder.named_parameters() if value.grad is not None}
    assert norms == pytest.approx(expected["grad_norm"], rel=1e-3)
