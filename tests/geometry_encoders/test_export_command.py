"""``spatialvlm export``: graphs that give the network's outputs, at sizes the exporter has not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

from geometry_encoders.commands.export import check, describe, export, write
from geometry_encoders.errors import InputError
from geometry_encoders.exports.graphs import GraphInputs, StepGraph, build_graph
from geometry_encoders.exports.torch_export import export_program, largest_error
from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.spann3r import Spann3rConfig, Spann3rModel

APP = typer.Typer()
APP.command()(export)
ONE_LAYER: dict[str, Any] = {
    "image_size": (32, 48),
    "enc_embed_dim": 16,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 1,
    "dec_num_heads": 2,
}
DPT = ONE_LAYER | {
    "dec_depth": 10,
    "head_type": "dpt",
    "dpt_feature_dim": 8,
    "dpt_last_dim": 8,
    "dpt_layer_dims": (4, 6, 8, 10),
}
SPANN3R = ONE_LAYER | {"head_type": "linear", "value_encoder_depth": 1, "value_encoder_heads": 2}
EXACT = 1e-4


def make(config: Dust3rConfig) -> Any:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Spann3rModel(config) if isinstance(config, Spann3rConfig) else Dust3rModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def dust3r() -> Dust3rModel:
    return make(Dust3rConfig(**ONE_LAYER))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def at_another_size(model: Any, inputs: GraphInputs, kind: Any, views: int) -> GraphInputs:
    return replace(build_graph(model, kind, views, (32, 64)), graph=inputs.graph)


def test_the_pair_graph_is_the_network(dust3r: Dust3rModel) -> None:
    inputs = build_graph(dust3r, "pair", 2, (48, 32))
    image1, image2 = inputs.arguments
    with torch.no_grad():
        found = inputs.graph(*inputs.arguments)
        pred1, pred2 = dust3r.forward_pair({"img": image1}, {"img": image2})
    expected = (pred1["pts3d"], pred1["conf"], pred2["pts3d_in_other_view"], pred2["conf"])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "views"])
def test_a_torch_program_takes_other_sizes(dust3r: Dust3rModel, kind: Any, tmp_path: Path) -> None:
    inputs = build_graph(dust3r, kind, 3, (48, 32))
    write(inputs, "torch-export", tmp_path / "net.pt2")
    assert check(inputs, "torch-export", tmp_path / "net.pt2") < EXACT
    assert check(at_another_size(dust3r, inputs, kind, 4), "torch-export", tmp_path / "net.pt2") < EXACT


@pytest.mark.slow
def test_the_command_writes_onnx_and_checks_it(dust3r: Dust3rModel, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    session_of = pytest.importorskip("onnxruntime").InferenceSession
    dust3r.save_pretrained(tmp_path / "net")
    out = tmp_path / "pair.onnx"
    result = run(tmp_path / "net", "--format", "onnx", "--graph", "pair", "--out", out)
    assert result.exit_code == 0, result.output
    assert "same outputs within" in result.output
    assert "image1 (batch, 3, 16*rows, 16*columns)" in result.output
    session = session_of(str(out))
    assert [node.name for node in session.get_inputs()] == ["image1", "image2"]
    assert [node.name for node in session.get_outputs()] == ["points1", "confidence1", "points2", "confidence2"]
    images = [torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(k)) * 2 - 1 for k in range(2)]
    found = session.run(None, {"image1": images[0].numpy(), "image2": images[1].numpy()})
    with torch.no_grad():
        pred1, pred2 = dust3r.forward_pair({"img": images[0]}, {"img": images[1]})
    expected = (pred1["pts3d"], pred1["conf"], pred2["pts3d_in_other_view"], pred2["conf"])
    assert largest_error(expected, tuple(torch.from_numpy(values) for values in found)) < EXACT
    assert run(tmp_path / "net", "--format", "onnx", "--out", out).exception is not None  # exists already


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "kind", "views"),
    [
        (Dust3rConfig(**DPT), "pair", 2),
        (Dust3rConfig(**ONE_LAYER), "views", 3),
        (Dust3rConfig(**DPT), "views", 3),
        (Spann3rConfig(**SPANN3R), "step", 2),
    ],
    ids=["dpt pair", "linear views", "dpt views", "spann3r step"],
)
def test_onnx_of_every_kind(config: Dust3rConfig, kind: Any, views: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = make(config)
    inputs = build_graph(model, kind, views, (48, 32))
    write(inputs, "onnx", tmp_path / "net.onnx")
    assert check(inputs, "onnx", tmp_path / "net.onnx") < EXACT
    if inputs.any_size:
        assert check(at_another_size(model, inputs, kind, views + 1), "onnx", tmp_path / "net.onnx") < EXACT


def test_steps_with_a_memory_of_ones_own_follow_the_stream() -> None:
    """A loop around the step graph, as another program would write it, gives the frames of `reconstruct`."""
    model = make(Spann3rConfig(**SPANN3R, memory={"similarity_threshold": 1.0}))
    frames = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(3)) * 2 - 1
    expected = model.reconstruct(frames, dtype="float32")
    inputs = build_graph(model, "step", 1, (48, 32))
    assert isinstance(inputs.graph, StepGraph)
    with torch.no_grad():
        tokens, _ = model.dust3r.encode(frames[:1])
        query = tokens
        keys, values = torch.zeros(1, 2, 16), torch.zeros(1, 2, 16)  # two slots that are never read
        mask = torch.zeros(1, 2, dtype=torch.bool)
        for k in range(3):
            result = inputs.graph(tokens, query, frames[k + 1 : k + 2], keys, values, mask)
            points1, confidence1, points2, _, tokens, query, new_keys, new_values = result
            torch.testing.assert_close(points1[0], torch.from_numpy(expected.pointmaps[k]), rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(confidence1[0], torch.from_numpy(expected.confidence[k]), rtol=1e-4, atol=1e-4)
            keys, values = torch.cat([keys, new_keys], 1), torch.cat([values, new_values], 1)
            mask = torch.cat([mask, torch.ones(1, new_keys.shape[1], dtype=torch.bool)], 1)
    torch.testing.assert_close(points2[0], torch.from_numpy(expected.pointmaps[3]), rtol=1e-4, atol=1e-4)


def test_the_step_program_takes_memories_of_any_length(tmp_path: Path) -> None:
    model = make(Spann3rConfig(**SPANN3R))
    inputs = build_graph(model, "step", 1, (48, 32))
    write(inputs, "torch-export", tmp_path / "step.pt2")
    assert check(inputs, "torch-export", tmp_path / "step.pt2") < EXACT
    *rest, keys, values, mask = inputs.arguments
    shorter = replace(inputs, arguments=(*rest, keys[:, :5], values[:, :5], mask[:, :5]))
    assert check(shorter, "torch-export", tmp_path / "step.pt2") < EXACT


def test_what_cannot_be_exported_is_said_in_one_sentence(dust3r: Dust3rModel, tmp_path: Path) -> None:
    inputs = build_graph(dust3r, "pair", 2, (48, 32))

    class DataDependent(torch.nn.Module):
        def forward(self, image1: torch.Tensor, image2: torch.Tensor) -> torch.Tensor:
            return image1 if float(image1.sum()) > 0 else image2

    with pytest.raises(InputError, match=r"torch\.export cannot export this network") as caught:
        export_program(replace(inputs, graph=DataDependent()))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_an_output_that_is_off_or_nan_is_noticed() -> None:
    right = (torch.tensor([1.0, -2.0]), torch.tensor([4.0]))
    assert largest_error(right, (torch.tensor([1.0, -2.0]), torch.tensor([4.4]))) == pytest.approx(0.1)
    assert largest_error(right, (torch.tensor([float("nan"), -2.0]), torch.tensor([4.0]))) == float("inf")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--format", "tflite"), "--format tflite: expected onnx or torch-export"),
        (("--format", "onnx", "--graph", "step"), "expected pair or views for DUSt3R"),
        (("--format", "onnx", "--graph", "all"), "--graph all: expected one of"),
        (("--format", "onnx", "--size", "50x64"), "size 50x64: expected multiples of 16"),
        (("--format", "onnx", "--size", "big"), "--size 'big': expected WxH"),
        (("--format", "onnx", "--views", "0"), "views 0: expected at least 1"),
    ],
)
def test_options_that_make_no_sense(
    dust3r: Dust3rModel, options: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    dust3r.save_pretrained(tmp_path / "net")
    result = run(tmp_path / "net", "--out", tmp_path / "a.onnx", *options)
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)
    assert not (tmp_path / "a.onnx").exists()


def test_description_names_the_free_axes(dust3r: Dust3rModel) -> None:
    inputs = build_graph(dust3r, "views", 3, (48, 32))
    assert describe(inputs, fixed=False).startswith("inputs pixel_values (batch, views, 3, 16*rows, 16*columns)")
    assert describe(inputs, fixed=True).startswith("inputs pixel_values (2, 3, 3, 32, 48)")
