"""The model as a whole: round trips, batches, isolation of samples, packing, frozen towers, precision."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from spatialvlm.models import SpatialMosaicConfig, SpatialMosaicForConditionalGeneration, SpatialMosaicModel
from tests.spatialvlm.small_models import (
    FUSIONS,
    chats,
    encode,
    small_config,
    small_model,
    small_processor,
)


def padded_logits(model: SpatialMosaicForConditionalGeneration, inputs: dict) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("tied", [True, False])
def test_save_and_load_keep_state_and_logits_bit_equal(tmp_path, fusion, tied):
    model = small_model(fusion, tied=tied)
    processor = small_processor(model.config)
    inputs = encode(processor, chats([2, 1]))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    assert type(AutoConfig.from_pretrained(tmp_path)) is SpatialMosaicConfig
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(loaded) is SpatialMosaicForConditionalGeneration
    state, loaded_state = model.state_dict(), loaded.state_dict()
    assert state.keys() == loaded_state.keys()
    assert all(torch.equal(state[name], loaded_state[name]) for name in state)
    tie = loaded.lm_head.weight.data_ptr() == loaded.get_input_embeddings().weight.data_ptr()
    assert tie is tied
    again = encode(AutoProcessor.from_pretrained(tmp_path), chats([2, 1]))
    assert all(torch.equal(inputs[name], again[name]) for name in inputs)
    assert torch.equal(padded_logits(model, inputs), padded_logits(loaded.eval(), again))


@pytest.mark.parametrize(("text", "vision"), [("qwen3", "siglip_vision_model"), ("llama", "clip_vision_model")])
def test_other_towers_plug_in(tmp_path, text, vision):
    model = small_model("cross_attention", text=text, vision=vision)
    inputs = encode(small_processor(), chats([2, 1]))
    logits = padded_logits(model, inputs)
    assert logits.shape == (*inputs["input_ids"].shape, model.config.text_config.vocab_size)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert torch.equal(logits, padded_logits(loaded, inputs))


def test_auto_model_loads_the_body_of_a_saved_model(tmp_path):
    model = small_model()
    model.save_pretrained(tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    assert type(body) is SpatialMosaicModel
    assert torch.equal(body.projector.linear_1.weight, model.model.projector.linear_1.weight)


@pytest.mark.parametrize("fusion", ["add", "cross_attention", "none"])
def test_batches_of_1_2_and_8_give_the_same_logits_with_unequal_views(fusion):
    model, processor = small_model(fusion), small_processor()
    conversations = chats([2, 5, 3, 1, 4, 2, 3, 5])
    alone = [padded_logits(model, encode(processor, [chat]))[0] for chat in conversations]
    for size in (2, 8):
        for start in range(0, 8, size):
            inputs = encode(processor, conversations[start : start + size])
            logits = padded_logits(model, inputs)
            for row, own in enumerate(alone[start : start + size]):
                kept = logits[row, -own.shape[0] :]
                torch.testing.assert_close(kept, own, atol=1e-4, rtol=0)


def test_nothing_leaks_between_samples():
    model, processor = small_model("cross_attention"), small_processor()
    first, second = chats([3, 2])
    other_second = chats([3, 2], seed=500)[1]
    before = padded_logits(model, encode(processor, [first, second]))
    after = padded_logits(model, encode(processor, [first, other_second]))
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_geometry_joins_the_views_of_one_sample():
    model, processor = small_model("add"), small_processor()
    chat, other = chats([3])[0], chats([3], seed=500)[0]
    mixed = [{"role": "user", "content": [*other[0]["content"][:3], *chat[0]["content"][3:]]}]
    inputs, changed = encode(processor, [chat]), encode(processor, [mixed])
    features = model.encode_views(inputs["pixel_values"], inputs["num_views"])["image"].pooler_output
    changed_features = model.encode_views(changed["pixel_values"], changed["num_views"])["image"].pooler_output
    # only the first picture differs, yet the geometry-aware tokens of the third change with it
    assert torch.equal(inputs["pixel_values"][2], changed["pixel_values"][2])
    assert not torch.allclose(features[2], changed_features[2])
    # vision itself looks at one view at a time
    before, after = (model.model.vision_tokens(each["pixel_values"])[2] for each in (inputs, changed))
    assert torch.equal(before, after)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_questions_equal_separate_forwards(attention):
    model, processor = small_model("add"), small_processor()
    model.set_attn_implementation(attention)
    tokenizer = processor.tokenizer
    chat = chats([3])[0]
    prefix = encode(processor, [[{"role": "user", "content": chat[0]["content"][:-1]}]])
    ids = prefix["input_ids"][0].tolist()
    ids = ids[: len(ids) - ids[::-1].index(tokenizer.convert_tokens_to_ids("<image>"))]
    questions = [
        tokenizer(text).input_ids for text in ("How many chairs?", "Is the lamp above the bed, or not?", "Why?")
    ]
    pictures = {"pixel_values": prefix["pixel_values"], "num_views": prefix["num_views"]}

    length = len(ids) + sum(map(len, questions))
    allowed = torch.zeros(length, length, dtype=torch.bool)
    allowed[: len(ids), : len(ids)] = True
    positions, start = list(range(len(ids))), len(ids)
    for question in questions:
        end = start + len(question)
        allowed[start:end, : len(ids)] = True
        allowed[start:end, start:end] = True
        positions += range(len(ids), len(ids) + len(question))
        start = end
    allowed &= torch.ones(length, length, dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)
    packed_ids = torch.tensor([[*ids, *itertools.chain.from_iterable(questions)]])
    masks = [mask] if attention == "eager" else [mask, allowed[None, None]]
    for form in masks:
        packed = padded_logits(
            model,
            {"input_ids": packed_ids, "attention_mask": form, "position_ids": torch.tensor([positions]), **pictures},
        )[0]
        start = len(ids)
        for question in questions:
            alone = padded_logits(model, {"input_ids": torch.tensor([ids + question]), **pictures})[0]
            kept = packed[start : start + len(question)]
            torch.testing.assert_close(kept, alone[len(ids) :], atol=1e-5, rtol=0)
            start += len(question)


def test_missing_raw_parameters_start_at_their_documented_values(tmp_path):
    model = small_model("gated", visual_token_layout="pooled_newline")
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    dropped = {name for name in state if name.endswith(("fusion.gate", "image_newline"))}
    assert len(dropped) == 2
    save_file({k: v for k, v in state.items() if k not in dropped}, tmp_path / "model.safetensors", {"format": "pt"})
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == dropped
    assert torch.equal(loaded.model.fusion.gate, torch.zeros(32))
    newline = loaded.model.image_newline
    assert 0.05 < newline.std() < 0.4 and abs(newline.mean()) < 0.15  # N(0, 1/32)


def test_text_checkpoint_loads_into_the_language_model_and_saves_plainly(tmp_path):
    model = small_model("add")
    text = AutoModelForCausalLM.from_config(model.config.text_config)
    text.save_pretrained(tmp_path / "text")
    model.config.save_pretrained(tmp_path / "text")
    loaded = SpatialMosaicForConditionalGeneration.from_pretrained(
        tmp_path / "text", key_mapping={r"^model\.": "model.language_model."}
    )
    assert torch.equal(
        loaded.model.language_model.layers[1].mlp.up_proj.weight, text.model.layers[1].mlp.up_proj.weight
    )
    loaded.save_pretrained(tmp_path / "whole", save_original_format=False)
    again, report = SpatialMosaicForConditionalGeneration.from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))


def test_frozen_towers_do_not_learn_and_stay_in_evaluation_mode():
    model, processor = small_model("add"), small_processor()
    model.freeze_towers()
    model.train()
    assert model.model.fusion.training and not model.model.vision_tower.training
    assert not model.model.geometry_tower.training
    inputs = encode(processor, chats([2, 1]))
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(p.grad is None for p in model.model.vision_tower.parameters())
    assert all(p.grad is None for p in model.model.geometry_tower.parameters())
    assert model.model.fusion.projection.weight.grad.abs().sum() > 0
    assert model.model.projector.linear_1.weight.grad.abs().sum() > 0


def test_every_trainable_parameter_gets_a_gradient():
    model, processor = small_model("cross_attention"), small_processor()
    inputs = encode(processor, chats([2, 3]))
    model.train()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # heads of the geometry tower make pointmaps, which answering does not need
    assert {name for name in without if "downstream_head" not in name} == set()


def test_activation_checkpointing_gives_the_same_gradients():
    inputs = encode(small_processor(), chats([2, 1]))
    gradients = []
    for checkpointing in (False, True):
        model = small_model("cross_attention").train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.model.language_model.layers[0].gradient_checkpointing
        model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_bfloat16_answers_float32_pictures(fusion):
    model = small_model(fusion).to(torch.bfloat16)
    inputs = encode(small_processor(), chats([2, 1]))
    assert inputs["pixel_values"].dtype == torch.float32
    logits = padded_logits(model, inputs)
    assert logits.dtype == torch.bfloat16 and torch.isfinite(logits).all()
    assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]


def test_logits_to_keep_selects_positions():
    model, inputs = small_model(), encode(small_processor(), chats([1]))
    whole = padded_logits(model, inputs)
    assert torch.allclose(padded_logits(model, {**inputs, "logits_to_keep": 1}), whole[:, -1:], atol=1e-6)
    places = torch.tensor([3, 7])
    assert torch.allclose(padded_logits(model, {**inputs, "logits_to_keep": places}), whole[:, places], atol=1e-6)


def test_labels_and_accumulation_scale_the_loss():
    model, inputs = small_model(), encode(small_processor(), chats([1]))
    labels = inputs["input_ids"].clone()
    labels[:, :-5] = -100
    mean = model(**inputs, labels=labels).loss
    total = model(**inputs, labels=labels, num_items_in_batch=10).loss
    torch.testing.assert_close(total, mean * 5 / 10)


@pytest.mark.parametrize(
    ("num_views", "message"), [(None, "num_views is missing"), ([1, 1], "sum of 3"), ([4], "sum of 3")]
)
def test_wrong_view_counts_are_named(num_views, message):
    model = small_model()
    counts = None if num_views is None else torch.tensor(num_views)
    with pytest.raises(ValueError, match=message):
        model.encode_views(torch.zeros(3, 3, 32, 32), counts)


def test_placeholders_that_do_not_match_the_pictures_are_an_error():
    model, inputs = small_model(), encode(small_processor(), chats([2]))
    with pytest.raises(ValueError, match="image placeholders"):
        model(input_ids=inputs["input_ids"][:, 10:], pixel_values=inputs["pixel_values"], num_views=inputs["num_views"])


def test_pictures_counted_to_the_wrong_prompt_are_an_error():
    model, inputs = small_model(), encode(small_processor(), chats([1, 2]))
    with pytest.raises(ValueError, match=r"\[16, 32\] image placeholders, expected 16 for each of \[2, 1\] views"):
        model(**{**inputs, "num_views": torch.tensor([2, 1])})


def test_view_counts_are_read_from_the_prompt_where_left_out():
    model, inputs = small_model(), encode(small_processor(), chats([2, 3]))
    without = {name: value for name, value in inputs.items() if name != "num_views"}
    assert torch.equal(padded_logits(model, inputs), padded_logits(model, without))


@pytest.mark.parametrize(("layer", "layout", "tokens"), [(-2, "plain", 16), (None, "pooled_newline", 6)])
def test_layouts(layer, layout, tokens):
    model = small_model("add", visual_token_layout=layout, vision_feature_layer=layer)
    assert model.config.tokens_per_image == tokens
    inputs = encode(small_processor(model.config), chats([2]))
    assert (inputs["input_ids"] == model.config.image_token_id).sum() == 2 * tokens
    features = model.encode_views(inputs["pixel_values"], inputs["num_views"])["image"]
    assert [feature.shape for feature in features.pooler_output] == [(tokens, 32)] * 2
    assert torch.isfinite(padded_logits(model, inputs)).all()
    if layout == "pooled_newline":
        rows = features.pooler_output[0].view(2, 3, 32)
        assert torch.equal(rows[:, -1], model.model.image_newline.expand(2, -1))
    else:
        hidden = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
        assert torch.equal(features.last_hidden_state, hidden[-2])


def test_geometry_tower_sees_pictures_scaled_to_its_size_and_range():
    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    model = small_model("add", geometry_image_size=48, image_mean=mean, image_std=std)
    picture = torch.rand(1, 3, 32, 32)
    normalised = (picture - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    seen = model.model._geometry_images(normalised)
    expected = torch.nn.functional.interpolate(picture * 2 - 1, size=(48, 48), mode="bilinear")
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)
    # a 6 x 6 geometry grid is fused onto the 4 x 4 visual grid
    features = model.encode_views(normalised, torch.tensor([1]))["image"].pooler_output
    assert features[0].shape == (16, 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fusion": "magic"}, "fusion"),
        ({"visual_token_layout": "square"}, "visual_token_layout"),
        ({"geometry_image_size": 30}, "multiple of the geometry tower's patch 8"),
        ({"projector_hidden_act": 3}, "projector_hidden_act"),
    ],
)
def test_bad_configurations_are_refused(fields, message):
    with pytest.raises((StrictDataclassFieldValidationError, ValueError), match=message):
        SpatialMosaicForConditionalGeneration(small_config(**{"fusion": "add", **fields}))


def test_fusion_none_refuses_a_geometry_tower():
    geometry = small_config("add").geometry_config
    with pytest.raises(ValueError, match="fusion is 'none' but geometry_config is set"):
        SpatialMosaicConfig(fusion="none", geometry_config=geometry)


def test_default_configuration_survives_json(tmp_path):
    config = SpatialMosaicConfig()
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["geometry_config"]["model_type"] == "spann3r"
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert {**loaded.to_dict(), "_name_or_path": ""} == config.to_dict()
