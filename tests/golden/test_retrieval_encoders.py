"""Every class of chunk encoder against the released program's embeddings."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tests.golden.retrieval_files import load_encoder, names_with, retrieval_golden, volume

NAMES = names_with("retrieval_", "retrieval_model")


@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_embeddings(name: str) -> None:
    golden = retrieval_golden()
    torch.set_num_threads(1)
    settings, tensors = golden.json(name), golden.tensors(name)
    model = load_encoder(golden, name)
    inputs = volume(tensors, "io/input", settings["input_shape"])
    targets = volume(tensors, "io/target", settings["target_shape"])
    with torch.no_grad():
        raw_input, raw_target = model.raw_input(inputs), model.raw_target(targets)
        output = model(inputs, targets)
    golden.assert_close(raw_input, tensors["io/z_input_raw"].flatten(1), "raw input embeddings")
    golden.assert_close(raw_target, tensors["io/z_target_raw"].flatten(1), "raw target embeddings")
    golden.assert_close(output.input_embeddings, tensors["io/z_input"], "input embeddings")
    golden.assert_close(output.target_embeddings, tensors["io/z_target"], "target embeddings")
    assert torch.allclose(functional.normalize(raw_input, dim=1), output.input_embeddings)
