"""Spann3R's frame sampling, curriculum, confidence reward and learning rate against the original program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spatialvlm.training.reconstruction.curriculum import confidence_reward, draw_frames, window_frames, window_ratio
from spatialvlm.training.schedule import learning_rate_factor


def test_frames_are_drawn_as_by_the_original(golden: Any) -> None:
    cases = golden.json("schedules")["sample_frames"]
    assert cases
    for case in cases:
        window = window_frames(case["min_thresh"], case["max_thresh"], case["ratio"])
        rng = np.random.default_rng(case["rng_seed"])
        draws = [draw_frames(case["n_images"], case["num_frames"], window, rng).tolist() for _ in case["draws"]]
        assert draws == case["draws"], case


def test_curriculum_over_the_epochs(golden: Any) -> None:
    stored = golden.json("schedules")
    epochs = stored["epochs"]
    ratios = [window_ratio(epoch / epochs) for epoch in range(len(stored["window_ratio"]))]
    assert ratios == pytest.approx(stored["window_ratio"], abs=1e-9)
    rewards = [confidence_reward(epoch / epochs) for epoch in range(len(stored["alpha"]))]
    assert rewards == pytest.approx(stored["alpha"], abs=1e-9)


def test_learning_rate_over_the_epochs(golden: Any) -> None:
    stored = golden.json("schedules")
    settings = stored["lr_args"]
    peak, epochs = settings["lr"], settings["epochs"]
    warmup, floor = settings["warmup_epochs"] / epochs, settings["min_lr"] / peak
    steps = np.linspace(0, epochs, len(stored["lr"]))
    rates = [peak * learning_rate_factor("cosine", epoch / epochs, warmup, floor) for epoch in steps]
    assert rates == pytest.approx(stored["lr"], rel=1e-6)
