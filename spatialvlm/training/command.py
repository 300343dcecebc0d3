"""The command line that all training modules share: a recipe, overrides, and errors as one sentence."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from transformers.utils.logging import disable_progress_bar

from spatialvlm.cli import is_input_error
from spatialvlm.training.recipe import load_recipe

RecipeT = TypeVar("RecipeT")


def run_recipe_command(
    schema: type[RecipeT], run: Callable[[RecipeT], Any], module: str, arguments: Sequence[str] | None = None
) -> None:
    """Reads ``RECIPE [section.key=value ...]`` from the command line and runs it.

    Bad input is printed as one sentence with exit status 2, an interruption with status 130.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"Example: accelerate launch -m {module} recipes/NAME.yaml seed=1",
    )
    parser.add_argument("recipe", type=Path, help="YAML file, see recipes/")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="values that replace the recipe's")
    options = parser.parse_args(arguments)
    if not sys.stderr.isatty():
        disable_progress_bar()
    try:
        run(load_recipe(schema, options.recipe, options.overrides))
    except KeyboardInterrupt:
        print("spatialvlm: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("SPATIALVLM_TRACEBACK") or not is_input_error(error):
            raise
        print(f"spatialvlm: {one_sentence(error)}", file=sys.stderr)
        sys.exit(2)


def one_sentence(error: Exception) -> str:
    """The message of the error; loader workers wrap it into their traceback, of which it is the last line."""
    text = str(error).strip()
    last = text.splitlines()[-1] if text else ""
    return last.partition("InputError: ")[2] or last
