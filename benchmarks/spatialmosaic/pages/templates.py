"""The environment in which pages are rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.spatialmosaic.texts import cell_text

FOLDER = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """The page of a template; everything that is put in is escaped, a name without a value is an error."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(text=cell_text, percent=percent)
    return environment.get_template(template).render(**values)


def percent(fraction: float) -> str:
    """``41.2`` for 0.412, kept within 0-100, as CSS and SVG lengths need it."""
    return f"{100 * min(1.0, max(0.0, fraction)):.1f}"
