"""The verb ``spatialvlm export``: a geometry encoder as a graph that runs without this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from geometry_encoders.errors import InputError

if TYPE_CHECKING:
    from geometry_encoders.exports.graphs import GraphInputs

FORMATS = ("onnx", "torch-export")
GRAPHS = ("pair", "views", "step")
TOLERANCE = 1e-3  # relative, float32; the graphs differ by the order of sums only


def export(
    encoder: Annotated[str, typer.Argument(help="Folder, published .pth file, or 'tiny' for the packaged one.")],
    format: Annotated[str, typer.Option(help="onnx or torch-export.")],
    out: Annotated[Path, typer.Option(help="File to write, e.g. encoder.onnx or encoder.pt2.")],
    graph: Annotated[
        str, typer.Option(help="pair (DUSt3R), views (any encoder, padded views) or step (one frame of Spann3R).")
    ] = "views",
    views: Annotated[int, typer.Option(help="Views of each sample; DUSt3R takes any number from 3 on then.")] = 3,
    size: Annotated[str | None, typer.Option(help="WxH of the pictures; by default what the encoder knows.")] = None,
    fixed: Annotated[bool, typer.Option(help="Exactly this batch of 2, these views and this size.")] = False,
) -> None:
    """Export a geometry encoder and check that the exported graph gives the same outputs.

    Example: spatialvlm export tiny --format onnx --graph pair --out pair.onnx
    """
    if format not in FORMATS:
        raise InputError(f"--format {format}: expected {' or '.join(FORMATS)}")
    if graph not in GRAPHS:
        raise InputError(f"--graph {graph}: expected one of {', '.join(GRAPHS)}")
    if out.exists():
        raise InputError(f"{out}: exists already, expected a new file")
    from geometry_encoders.exports.graphs import build_graph
    from geometry_encoders.loading import load_encoder

    model = load_encoder(encoder, device="cpu").float()
    kind = cast(Literal["pair", "views", "step"], graph)
    shape = _size(size) if size is not None else (int(model.config.image_size[1]), int(model.config.image_size[0]))
    inputs = build_graph(model, kind, views, shape)
    write(inputs, format, out, dynamic=not fixed)
    checked = [check(inputs, format, out)]
    if inputs.any_size and not fixed:  # once more at a size the exporter has not seen
        other = (shape[0] + model.patch_size, max(shape[1] - model.patch_size, 2 * model.patch_size))
        checked.append(check(build_graph(model, kind, views, other), format, out))
    error = max(checked)
    if not error <= TOLERANCE:
        out.unlink()
        raise InputError(f"{encoder}: the exported graph is off by {error:.1e} of the largest value, so it was deleted")
    print(
        f"{out}: same outputs within {error:.1e} of the largest value ({len(checked)} sizes); {describe(inputs, fixed)}"
    )


def write(inputs: GraphInputs, format: str, out: Path, dynamic: bool = True) -> None:
    """Writes the graph to a file; raises ``InputError`` where it cannot be exported."""
    from geometry_encoders.exports.onnx import write_onnx
    from geometry_encoders.exports.torch_export import export_program, write_program

    program = export_program(inputs, dynamic)
    out.parent.mkdir(parents=True, exist_ok=True)
    if format == "onnx":
        write_onnx(program, out, inputs)
    else:
        write_program(program, out)


def check(inputs: GraphInputs, format: str, out: Path) -> float:
    """Largest difference between the file's outputs and the network's, relative to the largest value."""
    from geometry_encoders.exports.onnx import check_onnx
    from geometry_encoders.exports.torch_export import check_program

    return check_onnx(out, inputs) if format == "onnx" else check_program(out, inputs)


def describe(inputs: GraphInputs, fixed: bool) -> str:
    """The inputs of the graph in words, with the axes that are free."""
    parts = []
    graph: Any = inputs.graph
    for name, value in zip(graph.input_names, inputs.arguments, strict=True):
        free = {} if fixed else inputs.dynamic_shapes[name]
        axes = ", ".join(str(free[axis].__name__) if axis in free else str(n) for axis, n in enumerate(value.shape))
        parts.append(f"{name} ({axes})")
    return "inputs " + ", ".join(parts)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise InputError(f"--size {text!r}: expected WxH, e.g. 512x384")
    return int(match[1]), int(match[2])
