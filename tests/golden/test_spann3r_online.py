"""Spann3R frame by frame against the original program: outputs of both heads, memory, discrete decisions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.golden.spann3r_files import Trace, compat_options, load_spann3r, run_online

OUTPUTS = ("res1_pts", "res1_conf", "res2_pts", "res2_conf")


def check_steps(trace: Trace, expected: list[dict[str, Any]], what: str) -> None:
    """Sizes and decisions exactly, similarities closely."""
    assert len(trace.steps) == len(expected)
    for number, (step, wanted) in enumerate(zip(trace.steps, expected, strict=True)):
        wanted = dict(wanted)
        similarity = wanted.pop("sim")
        assert step == wanted, f"{what}, step {number}"
        measured = trace.similarities[number]
        assert (measured is None) == (similarity is None)
        if measured is not None:
            assert measured == pytest.approx(similarity, abs=1e-4), f"{what}, step {number}"


def check_outputs(golden: Any, trace: Trace, tensors: dict[str, torch.Tensor], prefix: str) -> None:
    """Whatever the file holds of the outputs; at least one."""
    stored = [name for name in OUTPUTS if prefix + name in tensors]
    assert stored
    for name in stored:
        golden.assert_close(trace.stacked(name), tensors[prefix + name], prefix + name)


@pytest.mark.parametrize("file", ["spann3r_online6", "spann3r_similarity", "spann3r_prune"])
def test_every_run(golden: Any, file: str) -> None:
    description, tensors = golden.json(file), golden.tensors(file)
    model = load_spann3r(golden, description["weights"])
    frames = golden.images(tensors["imgs_u8"])
    if "frame_order" in description:
        frames = frames[description["frame_order"]]
    for run, wanted in description["runs"].items():
        trace = run_online(model, frames, compat_options(model, wanted["options"]))
        check_steps(trace, wanted["steps"], f"{file}, {run}")
        if f"{run}.last_pts" in tensors:
            golden.assert_close(trace.right[-1][0], tensors[f"{run}.last_pts"], f"{run}.last_pts")
        if any(f"{run}.{name}" in tensors for name in OUTPUTS):
            check_outputs(golden, trace, tensors, f"{run}.")
        if f"{run}.mem_attn" in tensors:
            memory = trace.memory
            golden.assert_close(memory.attention.unsqueeze(-1), tensors[f"{run}.mem_attn"], f"{run}.mem_attn")
            assert torch.equal(memory.ages.unsqueeze(-1), tensors[f"{run}.mem_count"])


def test_what_goes_through_the_memory(golden: Any) -> None:
    description, tensors = golden.json("spann3r_online6"), golden.tensors("spann3r_online6")
    model = load_spann3r(golden, description["weights"])
    trace = run_online(model, golden.images(tensors["imgs_u8"]), compat_options(model, {}))
    golden.assert_close(torch.stack(trace.fused[1:]), tensors["default.fuse"], "fuse")
    golden.assert_close(torch.stack(trace.keys), tensors["default.keys"], "keys")
    golden.assert_close(torch.stack(trace.values), tensors["default.values"], "values")


def test_batch_of_landscape_frames(golden: Any) -> None:
    description, tensors = golden.json("spann3r_online_batch2"), golden.tensors("spann3r_online_batch2")
    model = load_spann3r(golden, description["weights"])
    trace = run_online(model, golden.images(tensors["imgs_u8"]), compat_options(model, {}))
    check_steps(trace, description["steps"], "batch of two")
    check_outputs(golden, trace, tensors, "")
    golden.assert_close(trace.memory.attention.unsqueeze(-1), tensors["mem_attn"], "mem_attn")
    assert torch.equal(trace.memory.ages.unsqueeze(-1), tensors["mem_count"])


def test_tokens_that_survive_pruning(golden: Any) -> None:
    description, tensors = golden.json("spann3r_prune"), golden.tensors("spann3r_prune")
    model = load_spann3r(golden, description["weights"])
    options = compat_options(model, description["runs"]["prune"]["options"])
    memory = run_online(model, golden.images(tensors["imgs_u8"]), options).memory
    keys = memory.keys[0]
    order = keys.double().sum(dim=-1).argsort()  # the file holds them sorted, by what it does not say
    stored = tensors["prune.mem_k_sorted"]
    wanted = stored.double().sum(dim=-1).argsort()
    golden.assert_close(keys[order], stored[wanted], "mem_k")
    golden.assert_close(memory.attention[0, order, None], tensors["prune.mem_attn_sorted"][wanted], "mem_attn")
    assert torch.equal(memory.ages[0, order, None], tensors["prune.mem_count_sorted"][wanted])
