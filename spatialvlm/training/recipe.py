"""Recipes: YAML files read into frozen dataclasses, where an unknown key or a wrong value is one clear sentence."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from geometry_encoders.errors import InputError

RecipeT = TypeVar("RecipeT")


def load_recipe(schema: type[RecipeT], path: Path, overrides: Sequence[str] = ()) -> RecipeT:
    """The recipe of that YAML file as an instance of the dataclass ``schema``.

    Args:
        schema: a frozen dataclass; nested dataclasses are sections, fields without a default must be given.
        path: YAML file with a mapping at the top.
        overrides: ``section.key=value`` strings applied last; the value is read as YAML.

    Raises:
        InputError: no such file, no YAML, an unknown or missing key, a value of the wrong type.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: recipe cannot be read ({error.strerror}), expected a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {_describe(content)}, expected a mapping of recipe sections")
    for override in overrides:
        _apply_override(content, override)
    return build(schema, content, str(path))


def build(schema: type[RecipeT], content: Mapping[str, Any], source: str, prefix: str = "") -> RecipeT:
    """An instance of the dataclass ``schema`` from a plain mapping; ``source`` and ``prefix`` name it in errors."""
    assert is_dataclass(schema)
    known: dict[str, Field[Any]] = {field.name: field for field in fields(schema)}
    for key in content:
        if key not in known:
            expected = ", ".join(known)
            raise InputError(f"{source}: unknown key {f'{prefix}{key}'!r}, expected one of {expected}")
    hints = get_type_hints(schema)
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in content:
            values[name] = _convert(hints[name], content[name], source, f"{prefix}{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{source}: key {f'{prefix}{name}'!r} is missing, expected {_type_name(hints[name])}")
    try:
        return schema(**values)
    except ValueError as error:  # checks across fields live in __post_init__
        raise InputError(f"{source}: {error}") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"override {override!r} cannot be read, expected section.key=value")
    *sections, last = key.strip().split(".")
    target = content
    for section in sections:
        inner = target.setdefault(section, {})
        if inner is None:
            inner = target[section] = {}
        if not isinstance(inner, dict):
            raise InputError(f"override {override!r}: {section!r} is {_describe(inner)}, expected a section")
        target = inner
    try:
        target[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"override {override!r}: the value is not YAML") from error


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """``value`` as the annotated type, or an `InputError` that names the key."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1:
            return _convert(inner[0], value, source, key)
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is tuple and isinstance(value, list):
        return tuple(_convert(arguments[0], item, source, f"{key}[{i}]") for i, item in enumerate(value))
    elif origin is dict and isinstance(value, dict):
        return {str(k): _convert(arguments[1], item, source, f"{key}.{k}") for k, item in value.items()}
    elif is_dataclass(hint) and isinstance(value, dict):
        return build(hint, value, source, f"{key}.")  # type: ignore[arg-type]
    elif isinstance(hint, type):
        converted = _scalar(hint, value)
        if converted is not None:
            return converted
    raise InputError(f"{source}: {key} is {_describe(value)}, expected {_type_name(hint)}")


def _scalar(hint: type, value: Any) -> Any:
    """The value as a scalar of that type, None where it is of another kind."""
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else None
    if hint is float and isinstance(value, int | float | str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as a string
        except ValueError:
            return None
    return value if isinstance(value, hint) else None


def _describe(value: Any) -> str:
    return "empty" if value is None else f"{value!r}"


def _type_name(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if argument is type(None) else _type_name(argument) for argument in arguments)
    if origin is tuple:
        return f"a list of {_type_name(arguments[0])}"
    if origin is dict or is_dataclass(hint):
        return "a mapping"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(hint, str(hint))
