"""JSON files of datasets, read with one clear sentence for whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qa_generation.errors import SceneError
from qa_generation.readers.checks import check_file


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file; raises ``SceneError`` when it is missing or holds anything else than ``what``."""
    check_file(path, what)
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # ValueError covers broken JSON and broken UTF-8
        raise SceneError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise SceneError(f"{path}: holds {type(data).__name__}, expected a JSON object with {what}")
    return data
