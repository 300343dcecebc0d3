"""Models behind lm-eval's other classes, such as servers with a chat API, with journal and pictures in their place."""

from __future__ import annotations

import base64
import copy
import json
import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.models.api_models import JsonChatStr
from PIL import Image
from tqdm import tqdm

from benchmarks.spatialmosaic.journal import Journal
from benchmarks.spatialmosaic.prompt import IMAGE
from benchmarks.spatialmosaic.requests import decoded, request_keys
from qa_generation.errors import InputError

_AT_ONCE = 32  # requests handed over together, and written to the journal together


class Backend(LM):
    """A model of any multimodal class of lm-eval, asked in portions that are kept in a journal.

    Servers with a chat API get every picture where the prompt has it, as a data URL of the unchanged JPEG or PNG file;
    lm-eval by itself would put all pictures in front and leave their marks in the text.

    Args:
        backend: lm-eval's name of the class, e.g. ``local-chat-completions`` or ``vllm-vlm``.
        model: what the class calls its model.
        model_args: further arguments of the class, ``name=value`` separated by commas.
        max_views: the most views of a question; the class is told not to drop any.
        batch_size: questions handed over at once by classes that have batches.

    Attributes:
        process, processes, journal, seconds_in_model: as of `benchmarks.spatialmosaic.model.SpatialVLM`.
    """

    MULTIMODAL = True

    def __init__(self, backend: str, model: str, model_args: str, max_views: int, batch_size: int) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(f"--backend {backend}: runs in one process, expected no launcher around it")
        chat = "chat-completions" in backend
        try:
            kind = get_model(backend)
            wanted = f"pretrained={model},{model_args}".rstrip(",")
            extra = {"batch_size": 1 if chat else batch_size}
            extra |= {} if "max_images=" in model_args else {"max_images": max_views}
            self.inner: LM = kind.create_from_arg_string(wanted, extra)
        except (ValueError, KeyError, TypeError, OSError, ImportError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"--backend {backend} with {model}: {type(error).__name__}: {reason}") from error
        if not getattr(self.inner, "MULTIMODAL", False):
            raise InputError(f"--backend {backend}: takes no pictures, expected one of lm-eval's multimodal classes")
        self._name, self._chat = backend, chat
        self.process, self.processes = 0, 1
        self.journal: Journal | None = None
        self.seconds_in_model = 0.0

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> Any:
        """As the wrapped class does it."""
        return self.inner.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """As of the wrapped class."""
        return self.inner.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        """As of the wrapped class."""
        return str(self.inner.tokenizer_name)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answers in the order of the requests; an answer that the server does not give is empty.

        Raises:
            InputError: when the class gives up; what was answered before is kept in the journal.
        """
        keys = request_keys(requests)
        answers = self.journal.read() if self.journal else {}
        waiting = [index for index, key in enumerate(keys) if key not in answers]
        with tqdm(total=len(requests), initial=len(requests) - len(waiting), disable=disable_tqdm or None) as bar:
            for start in range(0, len(waiting), _AT_ONCE):
                portion = waiting[start : start + _AT_ONCE]
                asked = [self._with_pictures(requests[index]) for index in portion]
                texts = self._ask(asked)
                fresh = {keys[index]: text or "" for index, text in zip(portion, texts, strict=True)}
                if self.journal:
                    self.journal.append(fresh)
                answers |= fresh
                bar.update(len(portion))
        return [answers[key] for key in keys]

    def _ask(self, requests: list[Instance]) -> list[str]:
        begin = time.perf_counter()
        try:
            return self.inner.generate_until(requests, disable_tqdm=True)
        except Exception as error:  # of whatever network library the class uses
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            kept = "answers so far are kept, the same command goes on from there"
            raise InputError(f"--backend {self._name}: no answer after all tries ({reason}); {kept}") from error
        finally:
            self.seconds_in_model += time.perf_counter() - begin

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        """Not needed: all questions are answered in words."""
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
        """Not needed."""
        raise NotImplementedError

    def _with_pictures(self, request: Instance) -> Instance:
        """The request with its pictures decoded, or for chat APIs inside its message; the original keeps no pixels."""
        context, settings, extra = request.args
        changed = copy.copy(request)
        if self._chat:
            chat = json.loads(context.prompt)
            chat[-1]["content"] = list(_parts(chat[-1]["content"], extra["visual"]))
            changed.arguments = (JsonChatStr(json.dumps(chat)), settings)
        else:
            changed.arguments = (context, settings, {**extra, "visual": [decoded(image) for image in extra["visual"]]})
        return changed


def _parts(text: str, images: list[Image.Image]) -> Iterator[dict[str, Any]]:
    """Text and pictures of a message in the order of its ``<image>`` marks."""
    texts = text.split(IMAGE)
    for before, image in zip(texts, [*images, None], strict=True):
        if before.strip():
            yield {"type": "text", "text": before}
        if image is not None:
            yield {"type": "image_url", "image_url": {"url": _data_url(image), "detail": "auto"}}


def _data_url(image: Image.Image) -> str:
    path = getattr(image, "source_path", None)
    # a file that decodes as it stands is sent as it is; others, turned ones among them, as a new PNG
    if path and image.format:
        content, kind = Path(path).read_bytes(), image.format.lower()
    else:
        buffer = BytesIO()
        decoded(image).save(buffer, format="PNG")
        content, kind = buffer.getvalue(), "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
