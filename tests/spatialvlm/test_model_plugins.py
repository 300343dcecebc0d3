"""Encoders from elsewhere plug in by implementing `GeometryEncoder`; the Trainer of transformers works unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, Trainer, TrainingArguments

from geometry_encoders.interface import GeometryEncoder, GeometryOutput
from spatialvlm.conversation import with_answer
from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration
from tests.spatialvlm.small_models import chats, encode, small_config, small_model, small_processor


class CornerConfig(PreTrainedConfig):
    model_type = "test_corner_encoder"


class CornerEncoder(PreTrainedModel, GeometryEncoder):
    """A 2 x 2 grid of mean colours and a camera token that holds the number of views."""

    config_class = CornerConfig
    patch_size = 4
    token_size = 3

    def __init__(self, config: CornerConfig) -> None:
        super().__init__(config)
        self.scale = nn.Linear(1, 1)
        self.post_init()

    def encode_views(self, pixel_values: Tensor, view_mask: Tensor | None = None, with_pointmaps: bool = True):
        assert not with_pointmaps
        batch, views = pixel_values.shape[:2]
        means = nn.functional.adaptive_avg_pool2d(pixel_values.flatten(0, 1), 2).flatten(2).transpose(1, 2)
        camera = view_mask.sum(1)[:, None, None, None].expand(-1, views, 1, 3).to(pixel_values.dtype)
        return GeometryOutput(patch_tokens=means.unflatten(0, (batch, views)), camera_tokens=camera, grid=(2, 2))


AutoConfig.register("test_corner_encoder", CornerConfig, exist_ok=True)
AutoModel.register(CornerConfig, CornerEncoder, exist_ok=True)


def corner_model(fusion: str) -> SpatialMosaicForConditionalGeneration:
    config = small_config(fusion)
    fields = {**config.to_dict(), "geometry_config": CornerConfig()}
    return SpatialMosaicForConditionalGeneration(SpatialMosaicConfig(**fields)).eval()


def test_the_camera_token_stands_before_the_patch_tokens():
    model = corner_model("cross_attention")
    pixels = torch.rand(2, 3, 3, 32, 32)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    tokens = model.model.geometry_tokens(pixels, mask)
    assert tokens.shape == (2, 3, 1 + 4, 3)
    assert tokens[:, :, 0, 0].tolist() == [[2.0] * 3, [3.0] * 3]
    torch.testing.assert_close(tokens[0, 0, 1], pixels[0, 0, :, :16, :16].mean((1, 2)))
    torch.testing.assert_close(tokens[0, 0, 2], pixels[0, 0, :, :16, 16:].mean((1, 2)))


def test_aligned_blocks_get_the_grid_with_the_camera_token_added():
    model = corner_model("add")
    pixels = torch.rand(1, 2, 3, 32, 32)
    tokens = model.model.geometry_tokens(pixels, torch.ones(1, 2, dtype=torch.bool))
    assert tokens.shape == (1, 2, 16, 3)
    camera = 2.0  # the number of views
    corner = pixels[0, 0, :, :16, :16].mean((1, 2))  # a corner stays a corner
    torch.testing.assert_close(tokens[0, 0, 0], corner + camera)


@pytest.mark.parametrize("fusion", ["cross_attention", "add", "concat_mlp", "gated"])
def test_another_encoder_answers_and_survives_saving(fusion, tmp_path):
    model, inputs = corner_model(fusion), encode(small_processor(), chats([2, 3]))
    model.save_pretrained(tmp_path)
    loaded = SpatialMosaicForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert type(loaded.model.geometry_tower) is CornerEncoder
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)


def test_a_run_of_the_trainer_keeps_the_end_of_turn_and_learns(tmp_path):
    model, processor = small_model("add"), small_processor()

    def collate(rows: list) -> dict[str, Tensor]:
        inputs = processor.apply_chat_template(
            rows,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={"padding": True},
        )
        mask = torch.as_tensor(inputs.pop("assistant_masks")).bool()
        return {**inputs, "labels": inputs["input_ids"].masked_fill(~mask, -100)}

    rows = [with_answer(chat, "A") for chat in chats([2, 1, 3, 2])]
    arguments = TrainingArguments(
        str(tmp_path / "run"),
        per_device_train_batch_size=2,
        max_steps=20,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        report_to=[],
        save_strategy="no",
        remove_unused_columns=False,
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=5,
    )
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=collate, processing_class=processor)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.2 < losses[0]
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert model.config.text_config.eos_token_id == end == model.generation_config.eos_token_id
    assert processor.tokenizer.eos_token_id == end
    inputs = encode(processor, chats([2]))
    output = model.eval().generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert processor.tokenizer.decode(output) == "A<|im_end|>"
