"""The float16 checkpoint kept in the repository answers like the model it was made from."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from geometry_encoders.errors import InputError
from spatialvlm.conversation import build_messages
from spatialvlm.loading import load_model
from spatialvlm.presets import build_tiny
from spatialvlm.tokenizer import train_tokenizer
from spatialvlm.training import package_checkpoint

TEXTS = [f"How many {name}s can be seen in these frames? {n}" for name in ("chair", "lamp") for n in range(9)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    model, processor = build_tiny(train_tokenizer(TEXTS, 500, folder), seed=3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def logits(folder: Path) -> torch.Tensor:
    model, processor = load_model(folder)
    pictures = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    inputs = processor.apply_chat_template(
        [build_messages(pictures, TEXTS[0])], tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.inference_mode():
        return model(**inputs).logits


def test_float16_files_give_the_same_logits(trained: Path, tmp_path: Path) -> None:
    size = package_checkpoint.package(trained, tmp_path / "out")
    weights = tmp_path / "out" / "model.safetensors"
    assert size <= weights.stat().st_size <= min(1.02 * size, package_checkpoint.MAX_BYTES)
    assert (tmp_path / "out" / "tokenizer.model").exists()
    before, after = logits(trained), logits(tmp_path / "out")
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before, atol=0.02 * float(before.abs().max()), rtol=0)


def test_a_larger_model_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_checkpoint, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="expected at most 1,000"):
        package_checkpoint.package(trained, tmp_path / "out")
    assert not (tmp_path / "out").exists()
