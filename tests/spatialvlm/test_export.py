"""The exported view encoder equals the packed path; a folder with code loads without spatialvlm."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spatialvlm.conversation import build_messages
from spatialvlm.export import ViewEncoder, export_view_encoder
from spatialvlm.models import SpatialMosaicForConditionalGeneration
from spatialvlm.remote_code import export_with_code
from tests.spatialvlm.small_models import FUSIONS, chats, encode, pictures, small_model, small_processor

ROOT = Path(__file__).resolve().parents[2]


def padded(inputs: dict, views: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(views)[None] < inputs["num_views"][:, None]
    pixels = torch.full((*mask.shape, 3, 32, 32), 0.3)
    pixels[mask] = inputs["pixel_values"]
    return pixels, mask


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_padded_encoder_equals_the_packed_one(fusion):
    model, inputs = small_model(fusion), encode(small_processor(), chats([2, 5, 1]))
    with torch.no_grad():
        packed = torch.stack(model.encode_views(inputs["pixel_values"], inputs["num_views"])["image"].pooler_output)
        pixels, mask = padded(inputs, 6)
        tokens = ViewEncoder(model)(pixels, mask)
    torch.testing.assert_close(tokens[mask], packed, atol=1e-5, rtol=0)
    assert not tokens[~mask].any()


@pytest.mark.parametrize("fusion", ["add", pytest.param("cross_attention", marks=pytest.mark.slow)])
def test_the_exported_graph_equals_the_packed_path_for_ragged_counts(fusion, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # writes out every step of the trace
    model = small_model(fusion, visual_token_layout="pooled_newline")
    torch.export.save(export_view_encoder(model), tmp_path / "encoder.pt2")
    graph = torch.export.load(tmp_path / "encoder.pt2").module()
    for counts, views in (([2, 5, 3], 5), ([1], 3), ([4, 4], 4), ([2, 1], 3)):
        inputs = encode(small_processor(model.config), chats(counts))
        with torch.no_grad():
            packed = torch.stack(model.encode_views(inputs["pixel_values"], inputs["num_views"])["image"].pooler_output)
            pixels, mask = padded(inputs, views)
            tokens = graph(pixels, mask)
        torch.testing.assert_close(tokens[mask], packed, atol=1e-5, rtol=0)


def test_a_folder_with_code_names_its_classes_and_later_saves_do_not(tmp_path):
    model, processor = small_model("add"), small_processor()
    export_with_code(model, processor, tmp_path / "coded")
    files = {path.name for path in (tmp_path / "coded").iterdir()}
    assert {"configuration_spatialmosaic.py", "modeling_spatialmosaic.py", "fusion.py"} <= files
    assert "processing_spatialmosaic.py" in files
    auto_map = json.loads((tmp_path / "coded" / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModelForImageTextToText"].endswith(SpatialMosaicForConditionalGeneration.__name__)
    model.save_pretrained(tmp_path / "plain")
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())


LOAD = """
import sys, torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
folder, pictures, out = sys.argv[1:4]
model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
assert not any(name.split(".")[0] == "spatialvlm" for name in sys.modules)
content = [{"type": "image", "image": Image.open(path)} for path in pictures.split(",")]
chat = [{"role": "user", "content": [*content, {"type": "text", "text": "How many chairs?"}]}]
inputs = processor.apply_chat_template([chat], tokenize=True, return_dict=True, return_tensors="pt")
torch.save(model(**inputs).logits, out)
"""


def clean_environment(home: Path) -> dict[str, str]:
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hub"), "OMP_NUM_THREADS": "1"}
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), **settings}


def test_code_in_the_folder_runs_without_spatialvlm(tmp_path):
    model, processor = small_model("cross_attention"), small_processor()
    export_with_code(model, processor, tmp_path / "coded")
    files = []
    for index, image in enumerate(pictures(2)):
        files.append(str(tmp_path / f"{index}.png"))
        image.save(files[-1])
    command = [sys.executable, "-c", LOAD, str(tmp_path / "coded"), ",".join(files), str(tmp_path / "logits.pt")]
    done = subprocess.run(command, env=clean_environment(tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    content = [{"type": "image", "image": image} for image in pictures(2)]
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": "How many chairs?"}]}]
    inputs = processor.apply_chat_template([chat], tokenize=True, return_dict=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, atol=1e-6, rtol=0)


TASK = """
task: twoviews
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: FOLDER/test.parquet
test_split: test
output_type: generate_until
doc_to_image: images
doc_to_text: "Frame 1: <image>\\nFrame 2: <image>\\n{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {max_gen_toks: 3, do_sample: false}
metric_list:
  - metric: exact_match
"""


@pytest.mark.slow
def test_stock_lm_eval_runs_a_folder_with_code(tmp_path):
    from datasets import Dataset, Features, Image, List, Value

    model, processor = small_model("add"), small_processor()
    export_with_code(model, processor, tmp_path / "coded")
    rows = {"question": ["How many?", "Which?", "Why?"], "answer": ["A", "B", "C"]}
    rows["images"] = [pictures(2, seed) for seed in range(3)]
    features = Features({"question": Value("string"), "answer": Value("string"), "images": List(Image())})
    Dataset.from_dict(rows, features).to_parquet(tmp_path / "test.parquet")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "twoviews.yaml").write_text(TASK.replace("FOLDER", str(tmp_path)))
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf-multimodal"]
    command += ["--model_args", f"pretrained={tmp_path / 'coded'},trust_remote_code=True,max_images=5,dtype=float32"]
    command += ["--tasks", "twoviews", "--include_path", str(tmp_path / "tasks"), "--device", "cpu"]
    command += ["--batch_size", "2", "--apply_chat_template", "--log_samples", "--output_path", str(tmp_path / "out")]
    done = subprocess.run(command, env=clean_environment(tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").rglob("samples_twoviews_*.jsonl")
    samples = sorted((json.loads(line) for line in log.read_text().splitlines()), key=lambda row: row["doc_id"])
    for index, sample in enumerate(samples):
        images = pictures(2, index)
        messages = build_messages(images, rows["question"][index])
        inputs = encode(processor, [messages])
        output = model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert sample["resps"][0][0] == processor.tokenizer.decode(output, skip_special_tokens=True)
