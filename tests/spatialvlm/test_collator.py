"""Packing many questions behind shared views changes nothing but the speed; the loss falls on answers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from geometry_encoders.errors import InputError
from spatialvlm.models import SpatialMosaicForConditionalGeneration, SpatialMosaicProcessor
from spatialvlm.presets import build_tiny
from spatialvlm.training.answer_format import write_exchange
from spatialvlm.training.collator import PackedCollator, PlainCollator, build_collator
from spatialvlm.training.data import QuestionTable, Source, ViewSet
from spatialvlm.training.evaluation import evaluation_view_sets, score_answers
from spatialvlm.training.packing import IGNORED, TokenisedExchange, block_attention_mask, common_prefix_length, pack
from spatialvlm.training.shared_prefix_attention import SHARED_PREFIX, shared_prefix_attention
from tests.spatialvlm.small_questions import make_record, small_tokenizer, write_question_set

Parts = tuple[SpatialMosaicForConditionalGeneration, SpatialMosaicProcessor, list[ViewSet]]


@pytest.fixture(scope="module", params=["none", "add"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("collator")
    model, processor = build_tiny(small_tokenizer(folder / "tokenizer"), request.param)
    table = QuestionTable(Source(str(write_question_set(folder / "questions"))))
    yield model.eval(), processor, evaluation_view_sets(table, "words_then_letter", 6)


def packed_inputs(parts: Parts, items: list[ViewSet]) -> dict[str, torch.Tensor]:
    parts[0].set_attn_implementation({"text_config": SHARED_PREFIX})
    return PackedCollator(parts[1])(items)


def test_each_question_scores_as_if_alone(parts: Parts) -> None:
    model, processor, items = parts
    model.set_attn_implementation({"text_config": "sdpa"})
    plain = score_answers(model, PlainCollator(processor), items, "cpu")
    model.set_attn_implementation({"text_config": SHARED_PREFIX})
    packed = score_answers(model, PackedCollator(processor), items, "cpu")
    assert len(plain.log_prob) == 17
    torch.testing.assert_close(packed.log_prob, plain.log_prob, atol=2e-5, rtol=1e-5)
    assert torch.equal(packed.exact, plain.exact)


def test_loss_and_gradients_equal_plain_and_mask(parts: Parts) -> None:
    model, processor, items = parts
    weight = model.model.language_model.layers[0].self_attn.v_proj.weight
    results = []
    for kind in ("plain", "packed", "mask"):
        model.set_attn_implementation({"text_config": SHARED_PREFIX if kind == "packed" else "sdpa"})
        batch = dict((PlainCollator if kind == "plain" else PackedCollator)(processor)(items[:2]))
        if kind == "mask":
            prefix_mask, block_length = batch.pop("prefix_mask"), batch.pop("block_length")
            batch["attention_mask"] = block_attention_mask(prefix_mask, batch["input_ids"].shape[1], block_length)
        model.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        results.append((loss.detach(), weight.grad.clone()))
    model.zero_grad()
    for loss, gradient in results[1:]:
        torch.testing.assert_close(loss, results[0][0], atol=1e-5, rtol=0)
        torch.testing.assert_close(gradient, results[0][1], atol=1e-5, rtol=1e-3)


def test_a_question_does_not_see_the_others(parts: Parts) -> None:
    model, processor, items = parts
    model.set_attn_implementation({"text_config": SHARED_PREFIX})
    item = items[0]
    other = write_exchange(make_record(77), "words_then_letter")
    changed = replace(item, exchanges=(*item.exchanges[:2], other, *item.exchanges[3:]))
    before = score_answers(model, PackedCollator(processor), [item], "cpu").log_prob
    after = score_answers(model, PackedCollator(processor), [changed], "cpu").log_prob
    torch.testing.assert_close(before[[0, 1, 3, 4]], after[[0, 1, 3, 4]], atol=1e-5, rtol=0)
    assert before[2] != after[2]


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_only_answers_are_learned(parts: Parts, kind: str) -> None:
    _, processor, items = parts
    collator = PlainCollator(processor) if kind == "plain" else PackedCollator(processor)
    labels = collator(items)["shift_labels"]
    answers = [e.answer for item in items for e in item.exchanges]
    wanted = "".join(f"{answer}<|im_end|>" for answer in answers)
    assert processor.tokenizer.decode(labels[labels != IGNORED]) == wanted


def test_templates_without_marks_give_the_same_labels(parts: Parts) -> None:
    _, processor, items = parts
    marked = PlainCollator(processor)(items[:1])
    template = processor.chat_template
    processor.chat_template = template.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    try:
        unmarked = PlainCollator(processor)(items[:1])
    finally:
        processor.chat_template = template
    assert marked.keys() == unmarked.keys()
    assert all(torch.equal(marked[key], unmarked[key]) for key in marked)


def test_image_text_in_a_question_is_refused(parts: Parts) -> None:
    _, processor, items = parts
    bad = write_exchange(replace(make_record(0), question="What is <image>?"), "words")
    with pytest.raises(InputError, match="'<image>'"):
        PackedCollator(processor)([replace(items[0], exchanges=(bad,))])


def test_packing_wants_our_processor(parts: Parts) -> None:
    with pytest.raises(InputError, match=r"data\.packing .* expected 'none'"):
        build_collator(parts[1].tokenizer, "shared_prefix")


chat = st.lists(st.integers(5, 9), min_size=4, max_size=12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(chat, st.integers(1, 3)), min_size=1, max_size=4), min_size=1, max_size=3))
def test_packing_keeps_every_token_position_and_label(rows: list[list[tuple[list[int], int]]]) -> None:
    exchanges = [
        [TokenisedExchange(tuple(ids), (False,) * (len(ids) - n) + (True,) * n) for ids, n in row] for row in rows
    ]
    batch = pack(exchanges, pad_token_id=0)
    prefix, block = batch["prefix_mask"].shape[1], batch["block_length"]
    labels = torch.full(batch["input_ids"].shape, IGNORED)
    labels[:, batch["logits_to_keep"] + 1] = batch["shift_labels"]
    for row, chats in enumerate(exchanges):
        own = int(batch["prefix_mask"][row].sum())
        assert own == common_prefix_length(chats)
        for k, one in enumerate(chats):
            rest = len(one.ids) - own
            span = torch.cat([torch.arange(own), prefix + k * block + torch.arange(rest)])
            assert batch["input_ids"][row, span].tolist() == list(one.ids)
            assert batch["position_ids"][row, span].tolist() == list(range(len(one.ids)))
            learned = [i if mark else IGNORED for i, mark in zip(one.ids, one.answered, strict=True)]
            assert labels[row, span].tolist() == learned


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.sampled_from([1, 2]), st.integers(0, 9999))
def test_attention_equals_the_mask(prefix: int, block: int, blocks: int, groups: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    length = prefix + block * blocks
    query = torch.randn(2, 4, length, 8, generator=generator)
    key, value = (torch.randn(2, 4 // groups, length, 8, generator=generator) for _ in range(2))
    prefix_mask = torch.arange(prefix)[None] < torch.tensor([[prefix], [(prefix + 1) // 2]])
    found, _ = shared_prefix_attention(None, query, key, value, prefix_mask=prefix_mask, block_length=block)
    mask = block_attention_mask(prefix_mask, length, block)
    repeated = [t.repeat_interleave(groups, dim=1) for t in (key, value)]
    wanted = F.scaled_dot_product_attention(query, *repeated, attn_mask=mask).transpose(1, 2)
    real = torch.cat([prefix_mask, torch.ones(2, length - prefix, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(found[real], wanted[real], atol=1e-5, rtol=1e-5)


def test_attention_refuses_other_layouts() -> None:
    tensor, mask = torch.zeros(1, 1, 6, 4), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected a packed batch"):
        shared_prefix_attention(None, tensor, tensor, tensor)
    with pytest.raises(ValueError, match="expected 2 \\+ a multiple of 3"):
        shared_prefix_attention(None, tensor, tensor, tensor, prefix_mask=mask, block_length=3)


def test_thoughts_that_are_not_true_are_read_but_not_learned(parts: Parts) -> None:
    _, processor, items = parts
    exchange = next(each for item in items for each in item.exchanges if each.candidates)
    repeated = tuple(exchange.every_letter())
    item = replace(items[0], exchanges=repeated)
    batch = PackedCollator(processor)([item])
    learned = batch["shift_labels"][batch["shift_labels"] != IGNORED]
    text = processor.tokenizer.decode(learned.tolist())
    letters = [each.answer[-1] for each in repeated if each.letter_only]
    assert len(letters) == len(repeated) - 1
    words = exchange.answer.removeprefix("<think>")
    assert sorted(text.replace(words, "").replace("<think>", "").replace("<|im_end|>", "")) == sorted(letters)
