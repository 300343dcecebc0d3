"""The small Spann3R of the golden files, and passes over their frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from geometry_encoders.reconstruction.spann3r import MemoryConfig, Spann3rConfig, Spann3rModel
from geometry_encoders.reconstruction.spann3r.memory import SpatialMemory

OPTION_NAMES = {
    "attn_thresh": "attention_threshold",
    "sim_thresh": "similarity_threshold",
    "long_mem_size": "long_mem_tokens",
    "work_mem_size": "work_mem_frames",
}


def load_spann3r(golden: Any, weights: str = "spann3r.weights.safetensors") -> Spann3rModel:
    """The model whose state dict has official names, checked strictly."""
    arguments = golden.json(weights.removesuffix(".weights.safetensors"))["model"]
    for name in ("value_dim", "tokens_per_frame"):  # follow from the others
        arguments.pop(name)
    model = Spann3rModel(Spann3rConfig.from_official_arguments(arguments)).eval()
    model.load_state_dict(golden.weights(weights), strict=True)
    return model


def compat_options(model: Spann3rModel, options: dict[str, Any]) -> MemoryConfig:
    """Memory settings with the official option names, official behaviour throughout."""
    return model.memory_options({OPTION_NAMES[name]: value for name, value in options.items()} | {"compat": True})


@dataclass
class Trace:
    """Everything a pass over frames showed on its way."""

    memory: SpatialMemory
    left: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    right: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    fused: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    similarities: list[float | None] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def stacked(self, name: str) -> Tensor:
        """The official names of outputs: ``res1_pts``, ``res1_conf``, ``res2_pts``, ``res2_conf``."""
        side = self.left if name.startswith("res1") else self.right
        return torch.stack([points if name.endswith("pts") else confidence for points, confidence in side])


@torch.no_grad()
def run_online(model: Spann3rModel, frames: Tensor, options: MemoryConfig) -> Trace:
    """A pass over frames (views, batch, 3, height, width), everything kept."""
    run = model.new_pass((frames.shape[-2], frames.shape[-1]), options)
    trace = Trace(run.memory)
    encoded = [model.dust3r.encode(frame) for frame in frames]
    run.start(encoded[0][0])
    for target, positions in encoded[1:]:
        step = run.decode(run.fuse(), target, positions)
        trace.fused.append(step.fused)
        trace.left.append(run.reference_pointmap(step))
        trace.right.append(run.target_pointmap(step))
        keys = model.memory_keys(run.reference, step.layers1[-1])
        values = model.memory_values(trace.left[-1][0]) + keys
        trace.keys.append(keys)
        trace.values.append(values)
        before = 0 if run.memory.is_empty else run.memory.keys.shape[1]
        trace.similarities.append(None if run.memory.is_empty else float(run.memory.similarity(keys).max()))
        added = run.memory.insert(keys, values)
        run.advance(step, target)
        trace.steps.append(
            {
                "tokens_before": before,
                "tokens_after": run.memory.keys.shape[1],
                "wm": int(run.memory.working_frames[0]),
                "lm": int(run.memory.long_tokens[0]),
                "added": bool(added.all()),
            }
        )
    return trace
