"""The whole network against outputs of the original program, layer by layer and end to end."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from geometry_encoders.reconstruction.dust3r import Dust3rConfig, Dust3rModel
from geometry_encoders.reconstruction.dust3r.modeling_dust3r import build_head

PLAIN = ["dust3r_linear", "dust3r_dpt"]
ORIENTED = ["dust3r_manyar_linear", "dust3r_manyar_dpt"]


def load_model(golden: Any, name: str) -> Dust3rModel:
    """The model of a json file with its published-style weights, names checked strictly."""
    description = golden.json(name)
    model = Dust3rModel(Dust3rConfig.from_official_arguments(description["model"])).eval()
    model.load_state_dict(golden.weights(description.get("weights", f"{name}.weights.safetensors")), strict=True)
    return model


def prefixes(tensors: dict[str, Tensor], marker: str) -> list[str]:
    """The part of every key before ``marker``, e.g. all cases that have input pictures."""
    return sorted({key.removesuffix(marker) for key in tensors if key.endswith(marker)})


def check_outputs(golden: Any, outputs: tuple[dict, dict], tensors: dict[str, Tensor], prefix: str, rows: int) -> None:
    """Compares whatever the files hold of a pair's outputs; at least one of each view."""
    checked = 0
    for view, output in enumerate(outputs, start=1):
        for key, value in output.items():
            expected = tensors.get(f"{prefix}{key}_{view}")
            if expected is not None:
                golden.assert_close(value[:rows], expected, f"{prefix}{key}_{view}")
                checked += 1
    assert checked == 4


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_every_layer_and_the_outputs(golden: Any, name: str) -> None:
    model, tensors = load_model(golden, name), golden.tensors(name)
    cases = prefixes(tensors, "img1_u8")
    assert cases
    for case in cases:
        view1, view2 = ({"img": golden.images(tensors[f"{case}img{n}_u8"])} for n in (1, 2))
        (tokens1, positions1), (tokens2, positions2) = model.encode_pair(view1, view2)
        layers = model.decode(tokens1, positions1, tokens2, positions2)
        for view, positions in enumerate((positions1, positions2), start=1):
            assert torch.equal(positions, tensors[f"{case}pos{view}"])
            for index, layer in enumerate(layers[view - 1]):
                if (expected := tensors.get(f"{case}dec{view}.{index:02d}")) is not None:
                    golden.assert_close(layer, expected, f"{case}dec{view}.{index:02d}")
        check_outputs(golden, model.forward_pair(view1, view2), tensors, case, rows=len(tokens1))
    stored = [key for key in tensors if ".dec1." in key]
    assert len(stored) % (model.config.dec_depth + 1) == 0, "a case stores all layers or none"


@torch.no_grad()
def test_symmetrized_batch(golden: Any) -> None:
    name = "dust3r_linear"
    model, tensors = load_model(golden, name), golden.tensors(name)
    first, second = (golden.images(tensors[f"case0.img{n}_u8"]) for n in (1, 2))
    count = len(first)
    forward, backward = [f"{k}a" for k in range(count)], [f"{k}b" for k in range(count)]
    weave = lambda a, b: torch.stack([a, b], 1).flatten(0, 1)  # noqa: E731
    names1 = [n for pair in zip(forward, backward, strict=True) for n in pair]
    names2 = [n for pair in zip(backward, forward, strict=True) for n in pair]
    encoded = []
    model.enc_norm.register_forward_hook(lambda _module, args, _output: encoded.append(len(args[0])))
    outputs = model.forward_pair(
        {"img": weave(first, second), "instance": names1}, {"img": weave(second, first), "instance": names2}
    )
    check_outputs(golden, outputs, tensors, "sym.", rows=2 * count)
    assert encoded == [2 * count], "every picture of a symmetrised batch is encoded once"


@pytest.mark.parametrize("name", ORIENTED)
@torch.no_grad()
def test_portrait_and_landscape_in_one_batch(golden: Any, name: str) -> None:
    model, tensors = load_model(golden, name), golden.tensors(name)
    pictures = [golden.images(tensors[f"mix.img{n}_u8"]) for n in (1, 2)]
    height, width = pictures[0].shape[-2:]
    uniform = {"portrait.": (width, height), "landscape.": (height, width)}
    for case in ("mix.", *uniform):
        views = []
        for number, picture in enumerate(pictures, start=1):
            shape = tensors.get(f"{case}true_shape{number}")
            if shape is None:
                shape = torch.tensor(uniform[case]).expand(len(picture), 2)
            views.append({"img": picture, "true_shape": shape})
        rows = len(tensors[f"{case}conf_1"])
        for number, (_, positions) in enumerate(model.encode_pair(*views), start=1):
            assert torch.equal(positions[:rows], tensors[f"{case}pos{number}"])
        check_outputs(golden, model.forward_pair(*views), tensors, case, rows=rows)


@torch.no_grad()
def test_dpt_stages(golden: Any) -> None:
    name = "dust3r_dpt"
    model, tensors = load_model(golden, name), golden.tensors(name)
    stored = [key for key in tensors if ".head1." in key]
    assert stored
    for case in sorted({key.split(".head1.")[0] for key in stored}):
        seen: dict[str, Tensor] = {}
        names = [key.split(".head1.")[1] for key in stored if key.startswith(f"{case}.")]
        hooks = []
        for module in names:
            record = partial(lambda store, key, _module, _inputs, output: store.update({key: output}), seen, module)
            hooks.append(model.downstream_head1.dpt.get_submodule(module).register_forward_hook(record))
        model.forward_pair(*({"img": golden.images(tensors[f"{case}.img{n}_u8"])} for n in (1, 2)))
        for hook in hooks:
            hook.remove()
        for module in names:
            golden.assert_close(seen[module], tensors[f"{case}.head1.{module}"], f"{case}.head1.{module}")


@torch.no_grad()
def test_dpt_head_of_published_width(golden: Any) -> None:
    description, tensors = golden.json("dpt_head_fullwidth"), golden.tensors("dpt_head_fullwidth")
    config = Dust3rConfig(
        head_type="dpt",
        enc_embed_dim=description["enc_embed_dim"],
        dec_embed_dim=description["dec_embed_dim"],
        dec_depth=description["dec_depth"],
        enc_depth=1,
        enc_num_heads=1,
        dec_num_heads=1,
    )
    assert list(config.hooks) == description["hooks"]
    number = int(description["head"].removeprefix("downstream_head"))
    model = Dust3rModel(config).eval()
    head = build_head(config)
    fill_procedurally(golden, head, f"{description['head']}.", description)
    setattr(model, description["head"], head)
    for case, (rows, columns) in enumerate(description["grids"]):
        layers: list[Tensor] = [torch.empty(0)] * (config.dec_depth + 1)
        for hook in config.hooks:
            layers[hook] = tensors[f"case{case}.tokens.{hook:02d}"]
        shape = (rows * config.patch_size, columns * config.patch_size)
        points, confidence = model.pointmap(number, layers, shape)
        golden.assert_close(points, tensors[f"case{case}.pts3d"], f"case{case}.pts3d")
        golden.assert_close(confidence, tensors[f"case{case}.conf"], f"case{case}.conf")


@torch.no_grad()
def fill_procedurally(golden: Any, module: torch.nn.Module, prefix: str, description: dict[str, Any]) -> None:
    """Fills parameters by the rule that lies beside the golden files (a pure function of name and seed)."""
    spec = importlib.util.spec_from_file_location("procedural_weights", golden.path("procedural_weights.py"))
    assert spec is not None and spec.loader is not None
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    seed, gain = description["procedural_seed"], description["procedural_gain"]
    for name, tensor in module.state_dict().items():
        tensor.copy_(torch.from_numpy(rule.make_param(prefix + name, tensor.shape, seed, gain)))


@pytest.mark.slow
@torch.no_grad()
def test_full_size(golden: Any) -> None:
    description, tensors = golden.json("fullsize_dust3r_dpt"), golden.tensors("fullsize_dust3r_dpt")
    config = Dust3rConfig(head_type="dpt", image_size=tuple(description["hw"]))
    with torch.device("meta"):
        model = Dust3rModel(config)
    model = model.to_empty(device="cpu").eval()
    fill_procedurally(golden, model, "dust3r.", description)
    outputs = model.forward_pair(*({"img": golden.images(tensors[f"img{n}_u8"])} for n in (1, 2)))
    stride = description["stride"]
    thinned = tuple({key: value[:, ::stride, ::stride] for key, value in output.items()} for output in outputs)
    check_outputs(golden, thinned, tensors, "", rows=len(tensors["conf_1"]))
