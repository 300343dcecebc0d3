"""Networks as ONNX files, checked with onnxruntime."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram

from geometry_encoders.errors import InputError
from geometry_encoders.exports.graphs import GraphInputs
from geometry_encoders.exports.torch_export import REASON_LENGTH, largest_error

EXTRA = "ONNX needs an extra; install it with: pip install 'spatialvlm[export]'"


def write_onnx(program: ExportedProgram, path: Path, inputs: GraphInputs) -> None:
    """Translates an exported program; inputs and outputs have the names that the graph gives them.

    Weights of more than 2 GB, the limit of the format, go to a second file beside it.

    Raises:
        InputError: an operation that ONNX does not have.
        ImportError: without the extra ``export``.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(EXTRA) from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # remarks about torchvision, which is not used
    graph: Any = inputs.graph
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            translated = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(graph.input_names),
                output_names=list(graph.output_names),
            )
    except Exception as error:  # the exporter wraps whatever went wrong in classes of its own
        reason = " ".join(str(error).split())[:REASON_LENGTH]
        raise InputError(f"this network cannot be written as ONNX ({type(error).__name__}: {reason})") from error
    assert translated is not None
    translated.save(path)


@torch.no_grad()
def check_onnx(path: Path, inputs: GraphInputs) -> float:
    """How far onnxruntime's outputs are from the network's, see `largest_error`."""
    session = _onnxruntime().InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    graph: Any = inputs.graph
    given = dict(zip(graph.input_names, inputs.arguments, strict=True))
    found = session.run(None, {name: given[name].numpy() for name in names})
    return largest_error(graph(*inputs.arguments), tuple(torch.from_numpy(values) for values in found))


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(EXTRA) from error
    return onnxruntime
