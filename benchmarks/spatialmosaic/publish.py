"""Writes the files of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.spatialmosaic.dataset import BenchData
from benchmarks.spatialmosaic.pages.examples import worst_examples
from benchmarks.spatialmosaic.pages.report_page import to_html
from benchmarks.spatialmosaic.render import to_markdown
from benchmarks.spatialmosaic.report import Report, compare
from benchmarks.spatialmosaic.results import PREDICTIONS, Run
from benchmarks.spatialmosaic.texts import TITLE
from qa_generation.whole_files import write_whole

RESULTS, MARKDOWN, PAGE = "results.json", "report.md", "report.html"
BASELINES = "baselines"  # folder with the answers of every baseline, for leaderboards


def write_report(
    folder: Path,
    runs: Sequence[Run],
    data: BenchData | None = None,
    facts: Mapping[str, Any] | None = None,
    title: str = TITLE,
) -> tuple[Report, list[Path]]:
    """The report over some runs and the files it was written to: ``results.json``, ``report.md``, ``report.html``.

    The answers of baselines are kept in a folder each below ``baselines``, as `Run.read` takes them.

    Args:
        folder: where to write.
        runs: as for `compare`; the last model is what the report is about.
        data: the questions, for examples with pictures; left out, the page has none.
        facts: shown in front of the facts of that model's run.
        title: name of the benchmark.

    Raises:
        InputError: as `compare`.
    """
    report = compare(runs)
    shown = {**(facts or {}), **report.subject.facts}
    examples = worst_examples(report, data) if data is not None else []
    contents = {
        RESULTS: json.dumps({"title": title, "facts": shown} | report.to_json(), indent=1, default=str) + "\n",
        MARKDOWN: to_markdown(report, shown, title),
        PAGE: to_html(report, shown, examples, title),
    }
    for name, text in contents.items():
        write_whole(folder / name, text)
    for run in runs:
        if run.role != "model" and run.answers:
            slug = re.sub(r"[^a-z0-9]+", "_", run.name.lower()).strip("_")
            kept = replace(run, facts={**run.facts, "title": run.name})
            (folder / BASELINES / slug).mkdir(parents=True, exist_ok=True)
            kept.write(folder / BASELINES / slug / PREDICTIONS)
    return report, [folder / name for name in contents]
