"""Reads checkpoint files of other programs without running anything that is in them."""

from __future__ import annotations

import argparse
import ast
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geometry_encoders.errors import InputError

MAX_CALL_LENGTH = 10_000


def read_pickled_checkpoint(path: Path, stand_ins: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The dictionary in a ``.pth`` file; besides tensors and plain values only ``argparse.Namespace`` is unpickled.

    Args:
        stand_ins: full names of further classes that the file may mention, and our own classes that take their place,
            so that nothing of the other program is imported or run.

    Raises:
        InputError: no such file, not a checkpoint, truncated, or holding any other kind of object (which is not run).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a checkpoint")
    try:
        known: list[Any] = [(own, name) for name, own in (stand_ins or {}).items()]
        with torch.serialization.safe_globals([argparse.Namespace, *known]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds {named[1]}, which is not loaded for safety" if named else "is no checkpoint or not a safe one"
        raise InputError(f"{path}: {what}; expected tensors, plain values and argparse.Namespace only") from error
    except (RuntimeError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OSError) as error:
        reason = str(error).split(". ")[0].strip() or "nothing inside"
        raise InputError(
            f"{path}: damaged or no checkpoint ({reason}), expected a file written by torch.save"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dictionary with the key 'model'")
    return content


def parse_constructor_call(text: str, source: str) -> tuple[str, dict[str, Any]]:
    """The name and the keyword arguments of a call written as text, e.g. ``Net(depth=12, mode=('exp', inf))``.

    The text is taken apart, never run: values may be constants, tuples, lists, a minus sign and the name ``inf``.

    Raises:
        InputError: anything else; ``source`` says in the message where the text came from.
    """
    expected = f"{source}: expected a call with keyword arguments and literal values"
    if len(text) > MAX_CALL_LENGTH:
        raise InputError(f"{expected}, found {len(text)} characters")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{expected}, found {text[:80]!r}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise InputError(f"{expected}, found {text[:80]!r}")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise InputError(f"{expected}, found {text[:80]!r}")
        arguments[keyword.arg] = _literal(keyword.value, expected)
    return call.func.id, arguments


def _literal(node: ast.expr, expected: str) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(item, expected) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand, expected)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise InputError(f"{expected}, found {ast.unparse(node)[:80]!r}")
