"""lm-eval's multimodal Hugging Face model with our models registered and nothing cut off in silence."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_model
from lm_eval.models.hf_vlms import HFMultimodalLM
from PIL import Image
from tqdm import tqdm

from benchmarks.spatialmosaic.shared_views import share_views, worth_sharing
from qa_generation.errors import InputError
from spatialvlm.images import load_photo
from spatialvlm.loading import load_model, resolve


@register_model("spatialvlm")
class SpatialVLM(HFMultimodalLM):
    """Any Hugging Face image-text-to-text model, ours included, as lm-eval evaluates it.

    What it adds: folders, packaged names and LoRA adapters load alike, with errors in one sentence; questions about the
    same views are answered together and their views read once (models with ``encode_views``); pictures are decoded per
    batch; processes share the work on CPU too; a prompt that does not fit, or more views than ``max_images``, is an
    error; answers are kept in a journal, so that an interrupted run goes on.

    Args:
        pretrained: model folder or packaged name, see `spatialvlm.loading.load_model`.
        dtype: of the weights; None is float32 on the CPU and as stored elsewhere.
        device: where to put the model; None is the first CUDA device where there is one, else the CPU.
        journal: JSON-lines file of answers; read at the start, appended after every batch.
        kwargs: those of ``HFMultimodalLM``, e.g. ``batch_size``, ``max_images``.
    """

    def __init__(
        self,
        pretrained: str,
        dtype: str | None = None,
        device: str | None = None,
        journal: str | None = None,
        **kwargs: Any,
    ) -> None:
        accelerator = Accelerator() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
        model, self.processor = load_model(pretrained, dtype, accelerator.device if accelerator else device)
        super().__init__(model, **kwargs)
        if accelerator is not None:
            # lm-eval's own rank logic sits behind a GPU count: on CPU every process would evaluate everything
            self.accelerator = accelerator
            self._rank, self._world_size = accelerator.process_index, accelerator.num_processes
        self._journal = Journal(Path(f"{journal}.{self._rank}" if self._rank else journal)) if journal else None
        self._same_views: list[int] = []

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, **_: Any) -> None:
        self.tokenizer = self.processor.tokenizer

    def get_model_info(self) -> dict[str, Any]:
        """Size and number type; unlike lm-eval's own, without asking the Hub about a local folder."""
        return {"model_num_parameters": self.model.num_parameters(), "model_dtype": str(self.model.dtype)}

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answers in the order of the requests.

        Raises:
            InputError: when a question shows more views than ``max_images``.
        """
        most = max((len(request.args[2]["visual"]) for request in requests), default=0)
        if self.max_images is not None and most > self.max_images:
            raise InputError(f"max_images is {self.max_images}, expected at least {most}, the most views of a question")
        keys = [_request_key(request) for request in requests]
        answers = self._journal.read() if self._journal else {}
        waiting = sorted(
            (index for index, key in enumerate(keys) if key not in answers),
            key=lambda index: (len(_sources(requests[index])), _sources(requests[index]), index),
        )
        size = int(self.batch_size)
        bar = tqdm(total=len(requests), initial=len(requests) - len(waiting), disable=disable_tqdm or None)
        with bar, _cheap_collection():
            for start in range(0, len(waiting), size):
                batch = waiting[start : start + size]
                texts = super().generate_until([requests[index] for index in batch], disable_tqdm=True)
                fresh = {keys[index]: text for index, text in zip(batch, texts, strict=True)}
                answers |= fresh
                if self._journal:
                    self._journal.append(fresh)
                bar.update(len(batch))
        return [answers[key] for key in keys]

    def tok_batch_multimodal_encode(
        self,
        strings: list[str],
        images: list[list[Image.Image]],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> Any:
        """Model inputs of a batch; raises ``InputError`` where lm-eval would cut off the start of the prompt."""
        keys = [tuple(_source(image) for image in views) for views in images]
        self._same_views = [keys.index(key) for key in keys]
        decoded = [[_decode(image) for image in views] for views in images]
        inputs = super().tok_batch_multimodal_encode(strings, decoded, padding_side, None, truncation)
        length = inputs["input_ids"].shape[1]
        if left_truncate_len is not None and length > left_truncate_len:
            raise InputError(
                f"a prompt of {len(decoded[0])} views has {length} tokens, expected at most {left_truncate_len} "
                f"(the model's {self.max_length} less the answer); show smaller pictures or choose another model"
            )
        return inputs

    def _model_multimodal_generate(self, inputs: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        with torch.inference_mode():
            if not worth_sharing(self.model, self._same_views):
                return super()._model_multimodal_generate(inputs, max_length, stop, **kwargs)
            shared = share_views(self.model, inputs, self._same_views)
            length, gained = inputs["input_ids"].shape[1], shared["input_ids"].shape[1]
            output = super()._model_multimodal_generate(shared, max_length + gained - length, stop, **kwargs)
            # the caller cuts off the prompt by its own length
            return torch.cat([inputs["input_ids"], output[:, gained:]], dim=1)


@contextmanager
def _cheap_collection() -> Iterator[None]:
    """lm-eval collects garbage after every batch; what exists now is kept out of that (0.3 s each time on a CPU)."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def journal_path(folder: Path, model: str) -> Path:
    """Where the answers of an interrupted run lie: a name that changes with the weights, so that none go stale."""
    files = sorted(path for path in resolve(model).iterdir() if path.suffix in (".safetensors", ".json", ".jinja"))
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return folder / f".answers-{sha256(repr(state).encode()).hexdigest()[:12]}.jsonl"


class Journal:
    """Answers kept on disk as they come: one JSON object per line; a line cut off by a crash is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """All complete answers by request key; empty when there is no file yet."""
        answers: dict[str, str] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    answers[row["key"]] = row["text"]
                except (ValueError, KeyError, TypeError):
                    continue
        return answers

    def append(self, answers: dict[str, str]) -> None:
        """Adds answers at the end of the file, starting on a fresh line."""
        rows = "".join(json.dumps({"key": key, "text": text}) + "\n" for key, text in answers.items())
        with self.path.open("a+", encoding="utf-8") as stream:
            # after a crash the last line may lack its end
            stream.write(rows if stream.tell() == 0 or _ends_with_newline(self.path) else "\n" + rows)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"


def _request_key(request: Instance) -> str:
    """What an answer depends on besides the model: prompt, generation settings, pictures."""
    context, settings, _ = request.args
    return sha256(json.dumps([context, settings, _sources(request)], sort_keys=True).encode()).hexdigest()


def _sources(request: Instance) -> Sequence[str]:
    return [_source(image) for image in request.args[2]["visual"]]


def _source(image: Image.Image) -> str:
    return str(getattr(image, "source_path", id(image)))


def _decode(image: Image.Image) -> Image.Image:
    """A decoded RGB picture; those from our tasks are read again, so that the request keeps no pixels."""
    path = getattr(image, "source_path", None)
    return _photo(path) if path else image.convert("RGB")


@lru_cache(maxsize=64)
def _photo(path: str) -> Image.Image:
    return load_photo(Path(path))
