"""A small tokenizer trained with sentencepiece on our questions, as a fast tokenizer of transformers.

The texts that every prompt repeats (preamble, instructions, templates) are one token each, so that a question takes
10-40 tokens and hundreds of questions fit behind one set of views.
"""

from __future__ import annotations

import io
import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import sentencepiece
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from geometry_encoders.errors import InputError
from qa_generation.prompts import POST_CHOICE, POST_NUMERIC, POST_POINT, PREAMBLE

PAD, UNKNOWN, IMAGE, TURN_START, TURN_END = "<pad>", "<unk>", "<image>", "<|im_start|>", "<|im_end|>"
THINK_START, THINK_END = "<think>", "</think>"
FIXED_TEXTS: tuple[str, ...] = (
    THINK_START,
    THINK_END,
    "\n",
    "user\n",
    "assistant\n",
    "system\n",
    "Frame ",
    " Frame ",
    ": ",
    f"{PREAMBLE}\n",
    "\nOptions:",
    "\nA.",
    "\nB.",
    "\nC.",
    "\nD.",
    f"\n{POST_CHOICE}",
    f"\n{POST_NUMERIC}",
    f"\n{POST_POINT}",
)
# what our question templates say between the names; a tiny model then reads a question as a handful of tokens
QUESTION_PHRASES: tuple[str, ...] = (
    "Counting each physical object once, how many",
    "(s) can be seen in these frames?",
    "(s) can be seen, and which frame shows them best?",
    "(s) can be seen in",
    "(s); Frame ",
    "Does",
    " show a",
    " show an",
    "? If yes, where is the centre of its 2D box?",
    "Seen from",
    ", is the",
    ", where is the",
    ", which object is",
    " with respect to the",
    " to the left of the",
    " to the right of the",
    " higher than the",
    " lower than the",
    " closer to the camera than the",
    " farther from the camera than the",
    "Is there a",
    "Is there an",
    "How many",
    "Which third of",
    " shows the",
    ": left, middle or right?",
    " Yes",
    " No",
    " Yes; (",
    *(f" {digit}" for digit in range(10)),
)
_ALWAYS = string.ascii_letters + string.digits + string.punctuation  # one piece each even where the texts lack them
_SPACE = "\u2581"  # how sentencepiece writes a space


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, out_dir: Path | str, symbols: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A tokenizer trained on ``texts``, saved with its sentencepiece model; the same texts give the same bytes.

    Its ids equal those of the sentencepiece model, decoding is lossless for any Unicode text, digits are single tokens,
    and ``<|im_end|>`` is the end-of-sequence token. ``<think>`` and ``</think>`` are visible text, not special tokens.

    Args:
        texts: prompts and answers as the model will read them.
        vocab_size: upper bound of the vocabulary; few texts may give fewer pieces.
        out_dir: folder for ``tokenizer.json``, ``tokenizer_config.json`` and ``tokenizer.model``.
        symbols: more texts that become one token each wherever they stand, e.g. category names with a leading space.

    Raises:
        InputError: when there are no texts or the vocabulary cannot hold the 256 bytes and the fixed pieces.
    """
    fixed = list(dict.fromkeys([*FIXED_TEXTS, *QUESTION_PHRASES, *symbols]))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            required_chars=_ALWAYS,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=1 << 16,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=PAD,
            control_symbols=[IMAGE, TURN_START, TURN_END],
            user_defined_symbols=[text.replace(" ", _SPACE) for text in fixed],
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(f"tokenizer training with vocab_size {vocab_size} failed: {error}") from error
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = _as_fast_tokenizer(out / "tokenizer.model")
    tokenizer.save_pretrained(out)
    return tokenizer


def _as_fast_tokenizer(model_path: Path) -> PreTrainedTokenizerFast:
    """The same tokenizer for transformers (needs protobuf, see specs hf-integration 2)."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes(model_path.read_bytes())
        converted = PreTrainedTokenizerFast.from_pretrained(folder, unk_token=UNKNOWN, pad_token=PAD)
    state = json.loads(converted.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    whole = {token["content"] for token in state["added_tokens"]}
    # the conversion invents merges from every pair of pieces; fixed pieces neither merge nor come from merging
    state["model"]["merges"] = [
        [left, right] for left, right in state["model"]["merges"] if not {left, right, left + right} & whole
    ]
    for token in state["added_tokens"]:
        # added tokens are looked up in the raw text, so they need real spaces
        text = token["content"].replace(_SPACE, " ")
        if text != token["content"]:
            vocabulary[text] = vocabulary.pop(token["content"])
            token["content"] = text
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=TURN_END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE, "turn_start_token": TURN_START},
    )
