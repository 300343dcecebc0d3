"""The `spatialvlm` command: collects the verbs that the packages register and prints errors as one sentence.

A verb is an entry point of the group ``spatialvlm.commands``; this way packages above this one (benchmarks, app) add
theirs without being imported from here. Modules that define verbs import heavy libraries inside the functions.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer

GROUP = "spatialvlm.commands"


def build_app() -> typer.Typer:
    """The Typer application with every registered verb, in alphabetical order."""
    app = typer.Typer(
        name="spatialvlm",
        help="Multi-view spatial reasoning with vision-language models: from posed captures to benchmarked answers.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.name):
        verb = point.load()
        if isinstance(verb, typer.Typer):  # a verb with verbs of its own
            app.add_typer(verb, name=point.name)
        else:
            app.command(point.name)(verb)
    return app


def is_input_error(error: BaseException) -> bool:
    """Whether the error is the user's to mend; every package has its own ``InputError`` family."""
    return any(cls.__name__ == "InputError" for cls in type(error).__mro__)


def main() -> None:
    """Runs the command; an `InputError` becomes one sentence on stderr and exit status 2."""
    if not sys.stderr.isatty():  # before tqdm is imported: other libraries show bars of their own
        os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        build_app()()
    except KeyboardInterrupt:
        sys.exit("spatialvlm: interrupted; run the same command again to go on")
    except Exception as error:
        if os.environ.get("SPATIALVLM_TRACEBACK") or not is_input_error(error):
            raise
        print(f"spatialvlm: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
