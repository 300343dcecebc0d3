"""Networks as `torch.export` programs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.export import ExportedProgram

from geometry_encoders.errors import InputError
from geometry_encoders.exports.graphs import GraphInputs

REASON_LENGTH = 300


def export_program(inputs: GraphInputs, dynamic: bool = True) -> ExportedProgram:
    """The graph as an exported program.

    Args:
        dynamic: leave open the axes that ``inputs.dynamic_shapes`` names; else all sizes are those of the example.

    Raises:
        InputError: the exporter cannot handle the network; the message gives its reason.
    """
    try:
        with torch.no_grad():
            return torch.export.export(
                inputs.graph.eval(),
                inputs.arguments,
                dynamic_shapes=inputs.dynamic_shapes if dynamic else None,
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,  # for guards that always hold
            )
    except InputError:
        raise
    except Exception as error:  # a dozen exception classes of the tracer, none of them public
        reason = " ".join(str(error).split())[:REASON_LENGTH]
        way_out = "" if not dynamic else "; fixed sizes (--fixed) may work"
        raise InputError(
            f"torch.export cannot export this network ({type(error).__name__}: {reason}){way_out}"
        ) from error


def write_program(program: ExportedProgram, path: Path) -> None:
    """Saves the program; `torch.export.load` reads it."""
    torch.export.save(program, path)


def largest_error(expected: tuple[torch.Tensor, ...], found: tuple[torch.Tensor, ...]) -> float:
    """The largest difference of any output, relative to the largest value of that output; NaN counts as infinite."""
    errors = [
        float((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max().clamp(min=1e-12))
        for ours, theirs in zip(found, expected, strict=True)
    ]
    return max(error if error == error else float("inf") for error in errors)


@torch.no_grad()
def check_program(path: Path, inputs: GraphInputs) -> float:
    """How far the saved program's outputs are from the network's, see `largest_error`."""
    expected = inputs.graph(*inputs.arguments)
    return largest_error(expected, torch.export.load(path).module()(*inputs.arguments))
