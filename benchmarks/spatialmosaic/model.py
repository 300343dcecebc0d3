"""lm-eval's multimodal Hugging Face model with our models registered and nothing cut off in silence."""

from __future__ import annotations

import gc
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, Self

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import gather_object
from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_model
from lm_eval.models.hf_vlms import HFMultimodalLM
from lm_eval.models.utils import handle_stop_sequences, resize_image
from PIL import Image
from tqdm import tqdm

from benchmarks.spatialmosaic.journal import Journal
from benchmarks.spatialmosaic.requests import decoded, request_keys, sources
from benchmarks.spatialmosaic.shared_views import OncePerPicture, share_views, worth_sharing
from qa_generation.errors import InputError
from spatialvlm.loading import load_model
from spatialvlm.models import SpatialMosaicProcessor

# processes wait for the slowest; the default of half an hour would end a long run at its very end
_PATIENCE = timedelta(weeks=4)


@dataclass(frozen=True)
class Prepared:
    """A batch as the model takes it.

    Attributes:
        inputs: tensors on the model's device.
        settings: arguments of ``generate``.
        stop: texts that end an answer.
        same_views: for each sample the first sample with the same views.
    """

    inputs: Any
    settings: dict[str, Any]
    stop: list[str]
    same_views: list[int]


@register_model("spatialvlm")
class SpatialVLM(HFMultimodalLM):
    """Any Hugging Face image-text-to-text model, ours included, as lm-eval evaluates it.

    What it adds: folders, packaged names and LoRA adapters load alike, with errors in one sentence; questions about the
    same views are answered together and their views read once (models with ``encode_views``); pictures are decoded per
    batch, while the model works on the one before; a prompt that does not fit, or more views than ``max_images``, is an
    error; answers are kept in a journal, so that an interrupted run goes on.

    Several processes (``accelerate launch``, ``torchrun``; on CPU too) share the batches, not the questions: batches
    are the same however many processes there are and however often a run was interrupted, and so are the answers, bit
    for bit. lm-eval is told of one process, and the others end without results.

    Args:
        pretrained: model folder or packaged name, see `spatialvlm.loading.load_model`.
        dtype: of the weights; None is float32 on the CPU and as stored elsewhere.
        device: where to put the model; None is the first CUDA device where there is one, else the CPU.
        journal: JSON-lines file of answers; read at the start, appended after every batch.
        kwargs: those of ``HFMultimodalLM``, e.g. ``batch_size``, ``max_images``.

    Attributes:
        process, processes: number of this process and how many there are.
        journal: where answers are kept, or None.
        seconds_in_model: time spent generating in this process so far, vision and geometry towers included.
    """

    def __init__(
        self,
        pretrained: str,
        dtype: str | None = None,
        device: str | None = None,
        journal: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._distributed = _distributed()
        self.process = self._distributed.process_index if self._distributed else 0
        self.processes = self._distributed.num_processes if self._distributed else 1
        place = self._distributed.device if self._distributed else device
        if str(place).startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"device is {place}, but PyTorch finds no GPU here, expected cpu")
        model, self.processor = load_model(pretrained, dtype, place)
        if isinstance(self.processor, SpatialMosaicProcessor):
            self.processor.image_processor = OncePerPicture(self.processor.image_processor)
        super().__init__(model, **kwargs)
        self.journal = Journal(Path(journal), self.process) if journal else None
        self.seconds_in_model = 0.0
        self._same_views: list[int] = []
        self._tokenizing = Lock()  # a fast tokenizer refuses to be used by two threads at once
        self._end = self.tok_decode(self.eot_token_id, skip_special_tokens=False)

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None) -> Self:
        """The model as lm-eval's command makes it, whose default device, the first GPU, may not be there."""
        config = dict(additional_config or {})
        if str(config.get("device")).startswith("cuda") and not torch.cuda.is_available():
            config.pop("device")
        return super().create_from_arg_obj(arg_dict, config)

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, **_: Any) -> None:
        self.tokenizer = self.processor.tokenizer

    def get_model_info(self) -> dict[str, Any]:
        """Size and number type; unlike lm-eval's own, without asking the Hub about a local folder."""
        return {"model_num_parameters": self.model.num_parameters(), "model_dtype": str(self.model.dtype)}

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answers in the order of the requests.

        Raises:
            InputError: when a question shows more views than ``max_images``, or a prompt does not fit.
        """
        most = max((len(request.args[2]["visual"]) for request in requests), default=0)
        if self.max_images is not None and most > self.max_images:
            raise InputError(f"max_images is {self.max_images}, expected at least {most}, the most views of a question")
        keys = request_keys(requests)
        known = self.journal.read() if self.journal else {}
        mine = self._batches(requests)[self.process :: self.processes]
        answers = {index: known[keys[index]] for batch in mine for index in batch if keys[index] in known}
        # a batch is answered as a whole or not at all: its answers depend, if only in last digits, on all of it
        waiting = [batch for batch in mine if any(index not in answers for index in batch)]
        size, left = sum(map(len, mine)), sum(map(len, waiting))
        bar = tqdm(total=size, initial=size - left, disable=disable_tqdm or self.process > 0 or None)
        with bar, _cheap_collection(), ThreadPoolExecutor(1) as pool:
            ahead: deque[Future[Prepared]] = deque()
            for number, batch in enumerate(waiting):
                # the next batch is read and prepared while the model works on this one
                for later in waiting[number + len(ahead) : number + 2]:
                    ahead.append(pool.submit(self._prepare, [requests[index] for index in later]))
                texts = self._answer(ahead.popleft().result(), [requests[index] for index in batch])
                if self.journal:
                    self.journal.append({keys[index]: text for index, text in zip(batch, texts, strict=True)})
                answers |= dict(zip(batch, texts, strict=True))
                bar.update(len(batch))
        if self.processes > 1:
            answers = dict(gather_object(list(answers.items())))
        return [answers[index] for index in range(len(requests))]

    def _batches(self, requests: Sequence[Instance]) -> list[list[int]]:
        """Indices of the requests in batches of the same settings, those about the same views side by side."""
        shown = [sources(request) for request in requests]
        settings = [json.dumps(request.args[1], sort_keys=True) for request in requests]
        order = sorted(range(len(requests)), key=lambda i: (settings[i], len(shown[i]), shown[i], i))
        size = int(self.batch_size)
        return [
            alike[start : start + size]
            for _, group in groupby(order, key=settings.__getitem__)
            for alike in [list(group)]
            for start in range(0, len(alike), size)
        ]

    def _prepare(self, batch: Sequence[Instance]) -> Prepared:
        """Model inputs of a batch; works beside the model."""
        settings = dict(batch[0].args[1])
        room = int(settings.pop("max_gen_toks", self.max_gen_toks))
        stop = handle_stop_sequences(settings.pop("until", None), eos=self._end)
        pictures = [
            [resize_image(image, self.image_width, self.image_height, self.image_max_side) for image in views]
            if self.image_width or self.image_height or self.image_max_side
            else views
            for views in ([decoded(image) for image in request.args[2]["visual"]] for request in batch)
        ]
        contexts = [request.args[0] for request in batch]
        with self._tokenizing:
            inputs = self.tok_batch_multimodal_encode(
                contexts, pictures, left_truncate_len=self.max_length - room, truncation=self.truncation
            )
        settings.setdefault("max_length", inputs["input_ids"].shape[1] + room)
        shown = [tuple(sources(request)) for request in batch]
        return Prepared(inputs, settings, stop, [shown.index(views) for views in shown])

    def _answer(self, prepared: Prepared, batch: Sequence[Instance]) -> list[str]:
        """The model's words, cut at the first stop sequence."""
        self._same_views = prepared.same_views
        rows = self._model_multimodal_generate(prepared.inputs, stop=prepared.stop, **prepared.settings).tolist()
        length = prepared.inputs["input_ids"].shape[1]
        with self._tokenizing:
            texts = [self.tok_decode(row[length:]) for row in rows]
        for term in filter(None, prepared.stop):
            texts = [text.split(term)[0] for text in texts]
        for request, text in zip(batch, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args[:2], text)
        return texts

    def tok_batch_multimodal_encode(
        self,
        strings: list[str],
        images: list[list[Image.Image]],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> Any:
        """Model inputs of a batch; raises ``InputError`` where lm-eval would cut off the start of the prompt."""
        inputs = super().tok_batch_multimodal_encode(strings, images, padding_side, None, truncation)
        length = inputs["input_ids"].shape[1]
        if left_truncate_len is not None and length > left_truncate_len:
            raise InputError(
                f"a prompt of {len(images[0])} views has {length} tokens, expected at most {left_truncate_len} "
                f"(the model's {self.max_length} less the answer); show smaller pictures or choose another model"
            )
        return inputs

    def _model_multimodal_generate(self, inputs: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        start = time.perf_counter()
        with torch.inference_mode():
            if not worth_sharing(self.model, self._same_views):
                output = super()._model_multimodal_generate(inputs, max_length, stop, **kwargs)
            else:
                shared = share_views(self.model, inputs, self._same_views)
                length, gained = inputs["input_ids"].shape[1], shared["input_ids"].shape[1]
                output = super()._model_multimodal_generate(shared, max_length + gained - length, stop, **kwargs)
                # the caller cuts off the prompt by its own length
                output = torch.cat([inputs["input_ids"], output[:, gained:]], dim=1)
            output = output.cpu()  # waits for the device
        self.seconds_in_model += time.perf_counter() - start
        return output


def _distributed() -> Accelerator | None:
    """The processes that a launcher started together; None for a process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


@contextmanager
def _cheap_collection() -> Iterator[None]:
    """What exists now is kept out of garbage collections while batches come and go."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
