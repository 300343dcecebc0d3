"""What every dataset reader offers, and the registry that finds one by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from qa_generation.errors import InputError
from qa_generation.scene import Scene


class SceneReader(Protocol):
    """Turns one dataset layout on disk into scenes; listing must not open meshes or images.

    Options of a reader are the keyword-only parameters of its class, whole numbers or texts; it keeps each as an
    attribute of the same name, so that a dataset can tell which options it was made with.
    """

    dataset: str
    root: Path

    def scene_ids(self) -> Sequence[str]:
        """Ids of all scenes found under the root, sorted."""
        ...

    def read(self, scene_id: str) -> Scene:
        """Reads one scene; raises ``SceneError`` naming the file and the field that is wrong."""
        ...


# name -> "module:class"; modules are imported on use so that listing readers stays cheap
READERS: dict[str, str] = {
    "synthetic": "qa_generation.readers.synthetic:SyntheticReader",
    "scannet": "qa_generation.readers.scannet:ScanNetReader",
    "arkitscenes": "qa_generation.readers.arkitscenes:ARKitScenesReader",
    "scannetpp": "qa_generation.readers.scannetpp:ScanNetPPReader",
    "mvimgnet": "qa_generation.readers.mvimgnet:MVImgNetReader",
    "waymo": "qa_generation.readers.waymo:WaymoReader",
}


def open_reader(name: str, root: Path, options: Mapping[str, str] | None = None) -> SceneReader:
    """The reader called ``name`` over the folder ``root``.

    Raises:
        InputError: an unknown name, no such folder, or an option that the reader does not have or cannot take.
    """
    if name not in READERS:
        raise InputError(f"--reader {name!r} is unknown, expected one of {', '.join(sorted(READERS))}")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected the root of a {name} dataset")
    module, attribute = READERS[name].split(":")
    factory: Callable[..., SceneReader] = getattr(import_module(module), attribute)
    return factory(root, **_converted(name, factory, options or {}))


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Options from ``KEY=VALUE`` texts; raises ``InputError`` for another form or a key that stands twice."""
    options: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--reader-option is {text!r}, expected KEY=VALUE, e.g. frame_stride=5")
        if key in options:
            raise InputError(f"--reader-option {key} is given twice, expected each key once")
        options[key] = value
    return options


def options_of(reader: SceneReader) -> dict[str, Any]:
    """The options of an open reader that are not its defaults."""
    defaults = {name: parameter.default for name, parameter in _parameters(type(reader)).items()}
    return {name: getattr(reader, name) for name in defaults if getattr(reader, name) != defaults[name]}


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(factory).parameters
    return {name: p for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _converted(reader: str, factory: Callable[..., Any], options: Mapping[str, str]) -> dict[str, int | str]:
    """The options as the numbers or texts that the reader's parameters are."""
    known = _parameters(factory)
    hints = get_type_hints(factory.__init__) if known else {}
    values: dict[str, int | str] = {}
    for key, text in options.items():
        if key not in known:
            expected = f"expected one of {', '.join(sorted(known))}" if known else "it has none"
            raise InputError(f"--reader-option {key!r} is unknown to the reader {reader}; {expected}")
        if hints[key] in (int, int | None):
            try:
                values[key] = int(text)
            except ValueError:
                raise InputError(f"--reader-option {key} is {text!r}, expected a whole number") from None
        else:
            values[key] = text
    return values
