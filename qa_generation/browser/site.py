"""Writes the static site that shows a set: pages, an index to filter by, records in pieces, small pictures.

    OUT/index.html, overview.html     open them from disk; nothing is fetched, no server is needed
    OUT/data/index.js                 columns to filter and sort by, one entry per record
    OUT/data/questions.js             the question texts, for searching
    OUT/data/records-00000.js         records, loaded when they are shown
    OUT/data/scene-00000.js           masks and lines of one scene, with --scenes
    OUT/pictures/*.jpg                small pictures

The data are scripts because a page opened from disk may load scripts and nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from tqdm import tqdm

from qa_generation.browser.distributions import drawings
from qa_generation.browser.entries import entry
from qa_generation.browser.index import Index
from qa_generation.browser.pick import Shown, all_records, choose_files, pick_records
from qa_generation.browser.scene_marks import MarkJob, Wanted, scene_marks
from qa_generation.browser.thumbnails import Thumbnails
from qa_generation.errors import InputError
from qa_generation.question_files import QuestionFile, question_files
from qa_generation.readers.base import SceneReader
from qa_generation.statistics import Statistics, gather_files
from qa_generation.workers import run_all

RECORDS_PER_FILE = 100
_MARK = "Written by spatialvlm browse"


@dataclass(frozen=True)
class BrowseConfig:
    """What is shown.

    Attributes:
        records: records per type; None shows all.
        max_scenes: scenes they come from; None takes all.
        width: of the small pictures, pixels.
        seed: of the choice.
        workers: processes for masks; 0 works in this one.
    """

    records: int | None = 40
    max_scenes: int | None = 64
    width: int = 480
    seed: int = 0
    workers: int = 0


@dataclass
class BrowseReport:
    """What was written: the page, records shown of how many, pictures and scenes that could not be shown and why."""

    page: Path
    shown: int
    records: int
    pictures: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def write_browser(
    dataset: Path,
    out: Path | None = None,
    *,
    reader: SceneReader | None = None,
    config: BrowseConfig | None = None,
    progress: bool = False,
) -> BrowseReport:
    """Writes the site that shows ``dataset`` into ``out`` (``dataset/browser`` by default) and tells what is in it.

    Args:
        dataset: a set that ``spatialvlm generate`` wrote; pictures that are missing show as empty frames.
        out: a new folder, or one of an earlier site, whose pictures are used again.
        reader: the captures, for masks and lines; without it marks are the boxes of the evidence.
        config: how much is shown.
        progress: show bars on a terminal.

    Raises:
        InputError: no questions, a packed set, or ``out`` holds something else or cannot be written.
    """
    config, out = config or BrowseConfig(), out or dataset / "browser"
    files = question_files(dataset)
    if any(file.path.parent == dataset / "data" for file in files):
        raise InputError(f"{dataset}: is packed, expected the set it was packed from, as spatialvlm generate wrote it")
    try:
        _prepare(out)
        return _write(dataset, files, out, reader, config, progress)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); run again when it can") from error


def _write(
    dataset: Path,
    files: list[QuestionFile],
    out: Path,
    reader: SceneReader | None,
    config: BrowseConfig,
    progress: bool,
) -> BrowseReport:
    statistics = gather_files(files)
    shown, number = _shown(files, config, statistics)
    thumbnails = Thumbnails(dataset, out / "pictures", config.width)
    wanted: dict[str, Wanted] | None = {} if reader else None
    index = Index()
    with tqdm(total=number, desc="records", disable=None if progress else True) as bar:
        for piece, entries in enumerate(_pieces(_entries(shown, thumbnails, index, wanted, bar))):
            _script(out / "data" / f"records-{piece:05d}.js", "records", piece, entries)
    scenes, failures = _write_marks(out, reader, wanted, config.workers, progress) if reader and wanted else ({}, {})
    _script(out / "data" / "questions.js", "questions", index.questions)
    _script(out / "data" / "index.js", "index", index.content(RECORDS_PER_FILE, scenes, statistics.records))
    _write_pages(out, dataset.resolve().name, statistics, len(index))
    return BrowseReport(
        out / "index.html", len(index), statistics.records, len(thumbnails.made), thumbnails.missing, failures
    )


def write_preview(out: Path, *, seed: int = 0, reader: SceneReader | None = None) -> Path:
    """Writes the site of a freshly generated set into ``out/browser``, and ``out/preview.html`` that leads there."""
    write_browser(out, reader=reader, config=BrowseConfig(seed=seed))
    page = out / "preview.html"
    page.write_text(_environment().get_template("preview.html.jinja").render(name=out.resolve().name), encoding="utf-8")
    return page


def _prepare(out: Path) -> None:
    """An empty folder, or an earlier site without its data."""
    index = out / "index.html"
    if out.is_dir() and any(out.iterdir()):
        if not index.is_file() or _MARK not in index.read_text(encoding="utf-8", errors="replace"):
            raise InputError(f"{out}: is not empty and no site of spatialvlm browse, expected a new folder")
        shutil.rmtree(out / "data", ignore_errors=True)
    (out / "data").mkdir(parents=True)


def _shown(files: list[QuestionFile], config: BrowseConfig, total: Statistics) -> tuple[Iterable[Shown], int]:
    if config.max_scenes is not None and len(files) > config.max_scenes:
        files = choose_files(files, config.max_scenes, config.seed)
    if config.records is None:
        number = total.records if config.max_scenes is None else gather_files(files).records
        return all_records(files), number
    picked = pick_records(files, config.records, config.seed)
    return picked, len(picked)


def _entries(
    shown: Iterable[Shown], thumbnails: Thumbnails, index: Index, wanted: dict[str, Wanted] | None, bar: tqdm
) -> Iterator[dict[str, Any]]:
    for each in shown:
        content = entry(each, thumbnails.of(each.record.images))
        index.add(each, content)
        if wanted is not None:
            instances = [int(number) for number in content["instances"]]
            wanted.setdefault(each.record.scene_name, Wanted()).add(each.record, instances)
        bar.update()
        yield content


def _pieces(entries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    piece: list[dict[str, Any]] = []
    for each in entries:
        piece.append(each)
        if len(piece) == RECORDS_PER_FILE:
            yield piece
            piece = []
    if piece:
        yield piece


def _write_marks(
    out: Path, reader: SceneReader, wanted: dict[str, Wanted], workers: int, progress: bool
) -> tuple[dict[str, int], dict[str, str]]:
    """Scene -> number of its file, and why others have none."""
    names = sorted(wanted)
    numbers = {name: number for number, name in enumerate(names)}
    made: dict[str, int] = {}
    failures: dict[str, str] = {}
    with tqdm(total=len(names), desc="masks", unit="scene", disable=None if progress else True) as bar:
        for outcome in run_all(partial(scene_marks, MarkJob(reader, wanted)), names, workers):
            if outcome.result is None:
                failures[outcome.item] = outcome.reason
            else:
                made[outcome.item] = numbers[outcome.item]
                _script(out / "data" / f"scene-{made[outcome.item]:05d}.js", "scene", outcome.item, outcome.result)
            bar.update()
    return dict(sorted(made.items())), dict(sorted(failures.items()))


def _script(path: Path, name: str, *arguments: object) -> None:
    """A script that hands its content to the page; ASCII, so that no reader can take it for another encoding."""
    texts = (json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False) for value in arguments)
    path.write_text(f"browser.{name}({','.join(texts)});\n", encoding="ascii")


def _environment() -> Environment:
    loader = PackageLoader("qa_generation", "browser/templates")
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _write_pages(out: Path, name: str, statistics: Statistics, shown: int) -> None:
    environment = _environment()
    static = package_files("qa_generation.browser") / "static"
    for asset in ("browser.css", "browser.js", "drawing.js"):
        (out / asset).write_text((static / asset).read_text(encoding="utf-8"), encoding="utf-8")
    facts = {"name": name, "records": statistics.records, "shown": shown, "mark": _MARK}
    overview = environment.get_template("overview.html.jinja").render(
        **facts,
        drawings=list(drawings(statistics).values()),
        scenes={split: len(names) for split, names in statistics.scenes.items()},
        sources=sorted(statistics.sources),
        types=len(statistics.types),
    )
    (out / "overview.html").write_text(overview, encoding="utf-8")
    (out / "index.html").write_text(environment.get_template("index.html.jinja").render(**facts), encoding="utf-8")
