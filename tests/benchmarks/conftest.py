"""A small dataset on disk with every question type, and a small model folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lm_eval import evaluator

from qa_generation.prompts import QUESTION_TYPES
from qa_generation.records import QARecord
from tests.benchmarks.samples import make_record, write_images, write_split
from tests.spatialvlm.small_models import small_model, small_processor


@pytest.fixture(scope="session", autouse=True)
def quiet_harness() -> None:
    """lm-eval warns about every task with a loader of its own, and lists all installed packages after every run."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    evaluator.add_env_info = lambda storage: None


@pytest.fixture(scope="session")
def records() -> list[QARecord]:
    """Four questions of each of the 17 types in two scenes."""
    return [make_record(kind, index, f"room_{index % 2}") for kind in QUESTION_TYPES for index in range(4)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, records: list[QARecord]) -> Path:
    """A dataset folder with pictures, a test split in two shards and a train split."""
    root = tmp_path_factory.mktemp("dataset")
    write_split(root, "test", records, shards=2)
    write_split(root, "train", [replace(record, id=f"train/{record.id}") for record in records])
    write_images(root, records)
    return root


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 100 k random weights, with attention so strong that questions and pictures change its answers."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "small"
    model = small_model(tied=False)
    torch.manual_seed(1)
    with torch.no_grad():
        model.lm_head.weight.normal_()
        for name, weight in model.named_parameters():
            if "language_model" in name and name.endswith(("v_proj.weight", "o_proj.weight")):
                weight.mul_(8)
            if "language_model" in name and name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(4)
            if "projector" in name and weight.ndim == 2:
                weight.mul_(8)
    model.save_pretrained(folder)
    small_processor(model.config).save_pretrained(folder)
    return folder
