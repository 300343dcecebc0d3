"""What lm-eval asks a model, told apart: keys for journals, pictures by their files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from lm_eval.api.instance import Instance
from PIL import Image

from spatialvlm.images import load_photo


def request_keys(requests: Sequence[Instance]) -> list[str]:
    """What each answer depends on besides the model: prompt, generation settings, pictures; equal ones are numbered."""
    seen: Counter[str] = Counter()
    keys = []
    for request in requests:
        context, settings, _ = request.args
        key = sha256(json.dumps([context, settings, sources(request)], sort_keys=True).encode()).hexdigest()
        keys.append(f"{key}-{seen[key]}" if seen[key] else key)
        seen[key] += 1
    return keys


def sources(request: Instance) -> list[str]:
    """What tells the pictures of a request apart: their files, where our tasks opened them."""
    return [source(image) for image in request.args[2]["visual"]]


def source(image: Image.Image) -> str:
    """The picture's file, else its place in memory."""
    return str(getattr(image, "source_path", id(image)))


def decoded(image: Image.Image) -> Image.Image:
    """A decoded RGB picture; those from our tasks are read again, so that the request keeps no pixels."""
    path = getattr(image, "source_path", None)
    return _photo(path) if path else image.convert("RGB")


@lru_cache(maxsize=64)
def _photo(path: str) -> Image.Image:
    return load_photo(Path(path))
