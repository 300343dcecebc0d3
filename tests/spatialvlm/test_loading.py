"""Models by name and by folder; what is wrong with a folder is said in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch

from geometry_encoders.errors import InputError
from spatialvlm import loading
from tests.spatialvlm.small_models import chats, encode, small_model, small_processor


@pytest.fixture
def folder(tmp_path):
    model = small_model("add")
    model.half().save_pretrained(tmp_path / "model")
    small_processor().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_half_precision_files_become_single_precision_on_the_cpu(folder):
    model, processor = loading.load_model(folder, device="cpu")
    assert model.dtype == torch.float32 and not model.training
    inputs = encode(processor, chats([2]))
    rounded = small_model("add")
    rounded.load_state_dict({name: value.half().float() for name, value in rounded.state_dict().items()})
    torch.testing.assert_close(model(**inputs).logits, rounded(**inputs).logits, atol=1e-5, rtol=0)
    assert loading.load_model(folder, dtype=torch.bfloat16, device="cpu")[0].dtype == torch.bfloat16


def test_a_packaged_name_is_found_unless_a_folder_has_it(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "PACKAGED_CHECKPOINTS", tmp_path)
    monkeypatch.chdir(folder)
    assert loading.packaged_names() == ("model",)
    assert loading.resolve("model") == folder
    (folder / "model").mkdir()
    assert loading.resolve("model").resolve() == folder / "model"
    with pytest.raises(InputError, match=r"^big: no such model, expected a folder or a packaged name \(model\)$"):
        loading.resolve("big")


def test_a_name_cannot_leave_the_packaged_checkpoints(folder, tmp_path, monkeypatch):
    (tmp_path / "packaged").mkdir()
    monkeypatch.setattr(loading, "PACKAGED_CHECKPOINTS", tmp_path / "packaged")
    monkeypatch.chdir(tmp_path / "packaged")
    with pytest.raises(InputError, match="no such model"):
        loading.resolve("~/../model")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), "the weights are missing, expected model.safetensors"),
        (lambda folder: (folder / "processor_config.json").unlink(), "processor_config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: not valid JSON"),
        (lambda folder: (folder / "config.json").write_text("{}"), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be loaded"),
        (lambda folder: change_config(folder, model_type="unheard_of"), "cannot be loaded"),
        (lambda folder: change_config(folder, fusion="magic"), "cannot be loaded"),
        (lambda folder: change_config(folder, fusion="gated"), "the weights lack model.fusion.gate"),
    ],
)
def test_a_damaged_folder_is_one_sentence(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        loading.load_model(folder, device="cpu")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def change_config(folder, **fields) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_an_empty_folder_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"config\.json is missing"):
        loading.load_model(tmp_path)


def test_code_in_a_folder_is_not_run(folder, tmp_path):
    change_config(folder, model_type="stranger", auto_map={"AutoConfig": "stranger.StrangerConfig"})
    (folder / "stranger.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError):
        loading.load_model(folder, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_the_root_package_imports_nothing_heavy():
    code = "import sys, spatialvlm; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sharded_weights_load(folder, tmp_path):
    model, processor = loading.load_model(folder, device="cpu")
    shutil.rmtree(folder)
    model.save_pretrained(folder, max_shard_size="100KB")
    processor.save_pretrained(folder)
    assert not (folder / "model.safetensors").exists()
    again, _ = loading.load_model(folder, device="cpu")
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
