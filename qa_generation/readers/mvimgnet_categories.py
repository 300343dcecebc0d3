"""Names of MVImgNet's classes for display. The numbers are the keys: names repeat, and some are misspelt or missing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from qa_generation.errors import SceneError

JSON_FILE, TEXT_FILE = "mvimgnet2_category.json", "mvimgnet_category.txt"
NAMELESS = "object"
MAX_LENGTH = 40
# misspelt in the published files
_SPELLING = {"caninet": "cabinet", "wahser": "washer"}


def read_categories(root: Path) -> Mapping[int, str]:
    """Class id to cleaned name from the category file in ``root``; empty where there is none.

    The file of version 2 covers both versions and is preferred.

    Raises:
        SceneError: the file is no JSON object of texts, or a line is not ``id,name``.
    """
    if (path := root / JSON_FILE).is_file():
        return _from_json(path)
    if (path := root / TEXT_FILE).is_file():
        return _from_text(path)
    return {}


def clean_name(name: str) -> str:
    """A class name fit for a question: lower case, its first word or phrase, known misspellings mended."""
    first = re.split(r"[,;/(]", name.replace("_", " "))[0]
    words = re.sub(r"[^\w' -]", " ", first).lower().split()
    text = " ".join(_SPELLING.get(word, word) for word in words)
    return text if 0 < len(text) <= MAX_LENGTH else NAMELESS


def _from_json(path: Path) -> dict[int, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{path}: is not valid JSON ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise SceneError(f"{path}: found {type(content).__name__}, expected an object of class ids and names")
    names = {}
    for key, name in content.items():
        if not key.isdecimal() or not isinstance(name, str):
            raise SceneError(f"{path}: entry {key!r}: {name!r}, expected a class id and its name")
        names[int(key)] = clean_name(name)
    return names


def _from_text(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: cannot be read as text ({error})") from None
    names = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, comma, name = line.partition(",")
        if not comma or not key.strip().isdecimal():
            raise SceneError(f"{path}: line {number} is {line!r}, expected id,name")
        names[int(key)] = clean_name(name)
    return names
