"""The tokenizer equals its sentencepiece model, loses nothing and keeps prompts short."""

from __future__ import annotations

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from geometry_encoders.errors import InputError
from qa_generation.prompts import POST_CHOICE, POST_NUMERIC, POST_POINT, PREAMBLE
from spatialvlm.tokenizer import QUESTION_PHRASES, train_tokenizer
from tests.spatialvlm.small_models import question_texts, small_tokenizer

SPECIAL = ("<pad>", "<unk>", "<image>", "<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = train_tokenizer(question_texts(), 600, folder, symbols=[" potted plant", " chair"])
    return tokenizer, sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")), folder


def test_ids_equal_sentencepiece_on_questions(trained):
    tokenizer, pieces, _ = trained
    for text in question_texts(500):
        assert tokenizer(text).input_ids == pieces.encode(text)
        assert tokenizer.decode(tokenizer(text).input_ids) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_characters="\u2581\0", exclude_categories=["Cs"])))
def test_any_text_is_lossless_and_equal_to_sentencepiece(trained_text):
    tokenizer = small_tokenizer()
    ids = tokenizer(trained_text).input_ids
    if not any(token in trained_text for token in SPECIAL):
        assert tokenizer.decode(ids) == trained_text


@pytest.mark.parametrize(
    "text",
    [
        "  double  space \n\n x",
        "😀 é ü",
        "12345 (3,4)",
        "\tTab\r\n",
        " potted plants",
        "a chair, armchair",
        "user\nmine",
        "",
    ],
)
def test_unusual_texts_equal_sentencepiece(trained, text):
    tokenizer, pieces, _ = trained
    assert tokenizer(text).input_ids == pieces.encode(text)
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_fixed_texts_and_symbols_are_one_token_each(trained):
    tokenizer, _, _ = trained
    instructions = [f"\n{text}" for text in (POST_CHOICE, POST_NUMERIC, POST_POINT)]
    for text in (f"{PREAMBLE}\n", *instructions, "\nOptions:", "\nA.", " potted plant", *QUESTION_PHRASES):
        assert len(tokenizer(text).input_ids) == 1
    assert tokenizer.convert_ids_to_tokens(tokenizer("27").input_ids) == ["2", "7"]
    assert max(len(tokenizer(text).input_ids) for text in question_texts()) <= 40


def test_letters_of_options_and_answers_are_one_token_each(trained):
    tokenizer, _, _ = trained
    prompt = tokenizer(question_texts(1)[0]).input_ids
    for letter in "ABCD":
        assert len(tokenizer(letter).input_ids) == 1
        (option,) = tokenizer(f"\n{letter}.").input_ids
        assert prompt.count(option) == 1


def test_special_tokens(trained):
    tokenizer, _, folder = trained
    loaded = AutoTokenizer.from_pretrained(folder)
    for one in (tokenizer, loaded):
        assert len(one) == len(tokenizer)
        assert (one.pad_token, one.eos_token, one.image_token) == ("<pad>", "<|im_end|>", "<image>")
        assert one.padding_side == "left" and one.bos_token is None
        assert set(one.all_special_tokens) == set(SPECIAL)
        assert [one.convert_ids_to_tokens(i) for i in range(5)] == list(SPECIAL)
        text = "<think>the chair</think>A"
        assert one.decode(one(f"{text}<|im_end|><image>").input_ids, skip_special_tokens=True) == text
        assert one("A<image>", split_special_tokens=True).input_ids.count(one.image_token_id) == 0


def test_the_same_texts_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        train_tokenizer(question_texts(50), 500, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(("texts", "size"), [([], 500), (["a chair"], 100)])
def test_impossible_training_is_one_sentence(tmp_path, texts, size):
    with pytest.raises(InputError, match=f"vocab_size {size}"):
        train_tokenizer(texts, size, tmp_path)
