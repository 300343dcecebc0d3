"""Answers: with and without cache, beams, batches of unequal views, and features used again."""

from __future__ import annotations

import pytest
import torch
from transformers import pipeline

from tests.spatialvlm.small_models import FUSIONS, chats, encode, pictures, question_texts, small_model, small_processor

NEW_TOKENS = 8


def answers(model, inputs, **options) -> list[list[int]]:
    output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, **{"do_sample": False, **options})
    return output[:, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_of_2_5_and_3_views_answers_like_each_sample_alone(fusion, beams):
    model, processor = small_model(fusion), small_processor()
    conversations = chats([2, 5, 3])
    together = answers(model, encode(processor, conversations), num_beams=beams)
    alone = [answers(model, encode(processor, [chat]), num_beams=beams)[0] for chat in conversations]
    pad = processor.tokenizer.pad_token_id
    for whole, own in zip(together, alone, strict=True):
        assert [t for t in whole if t != pad] == [t for t in own if t != pad]
    with torch.inference_mode():
        last = [model(**encode(processor, [chat])).logits[0, -1] for chat in conversations]
    assert not torch.allclose(last[0], last[1])  # what is said depends on what is seen


@pytest.mark.parametrize("beams", [1, 3])
def test_the_cache_changes_nothing(beams):
    model, inputs = small_model("cross_attention"), encode(small_processor(), chats([2, 3]))
    assert answers(model, inputs, num_beams=beams) == answers(model, inputs, num_beams=beams, use_cache=False)


def test_a_static_cache_changes_nothing():
    model, inputs = small_model("add"), encode(small_processor(), chats([2, 3]))
    assert answers(model, inputs) == answers(model, inputs, cache_implementation="static")


def test_one_scene_is_encoded_once_for_many_questions():
    model, processor = small_model("cross_attention"), small_processor()
    views = chats([3])[0][0]["content"][:-1]
    questions = question_texts(3)
    conversations = [[{"role": "user", "content": [*views, {"type": "text", "text": text}]}] for text in questions]
    encoded = [encode(processor, [chat]) for chat in conversations]
    expected = [answers(model, inputs) for inputs in encoded]
    expected_beams = [answers(model, inputs, num_beams=2) for inputs in encoded]

    features = model.encode_views(encoded[0]["pixel_values"], encoded[0]["num_views"])
    before = [token.clone() for token in features["image"].pooler_output]
    calls = []
    model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    for index, inputs in enumerate(encoded):
        texts = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        assert answers(model, {**texts, "mm_encoder_outputs": features}) == expected[index]
        assert answers(model, {**texts, "mm_encoder_outputs": features}, num_beams=2) == expected_beams[index]
    assert not calls
    assert len(features["image"].pooler_output) == 3
    assert all(torch.equal(a, b) for a, b in zip(before, features["image"].pooler_output, strict=True))


def test_several_samplings_of_one_prompt_see_all_its_views():
    model, inputs = small_model("add"), encode(small_processor(), chats([2, 3]))
    greedy = answers(model, inputs)
    cold = answers(model, inputs, do_sample=True, temperature=1e-4, num_return_sequences=2)
    assert cold == [greedy[0], greedy[0], greedy[1], greedy[1]]


def test_pictures_and_their_features_together_are_refused():
    model, inputs = small_model("add"), encode(small_processor(), chats([2]))
    features = model.encode_views(inputs["pixel_values"], inputs["num_views"])
    with pytest.raises(ValueError, match="both"):
        model(**inputs, mm_encoder_outputs=features)


def test_generation_stops_at_the_end_of_turn():
    model, processor = small_model("none"), small_processor()
    end = processor.tokenizer.eos_token_id
    with torch.no_grad():
        model.get_input_embeddings().weight[end] = model.get_input_embeddings().weight.mean(0) * 1000
    inputs = encode(processor, chats([1]))
    replies = answers(model, inputs)
    assert model.generation_config.eos_token_id == end
    assert end not in replies[0][:-1]


def test_the_pipeline_of_transformers_works(tmp_path):
    model, processor = small_model("add"), small_processor()
    pipe = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    content = [{"type": "image", "image": image} for image in pictures(2)]
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": "How many chairs?"}]}]
    reply = pipe(text=[chat, chat], max_new_tokens=3, do_sample=False, batch_size=2)
    assert len(reply) == 2


def test_text_without_pictures_beside_a_sample_with_pictures():
    model, processor = small_model("add"), small_processor()
    text_only = [{"role": "user", "content": [{"type": "text", "text": "How many chairs?"}]}]
    conversations = [chats([2])[0], text_only]
    together = encode(processor, conversations)
    assert together["num_views"].tolist() == [2, 0]
    alone = [answers(model, encode(processor, [chat]))[0] for chat in conversations]
    assert answers(model, together) == alone
    assert (
        answers(model, together, num_beams=2)[0]
        == answers(model, encode(processor, [conversations[0]]), num_beams=2)[0]
    )
