"""The dataset card ``README.md``: how ``datasets.load_dataset`` finds the files, and statistics for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from qa_generation.browser.distributions import write_plots
from qa_generation.generation_config import GenerationConfig
from qa_generation.licences import notice_of
from qa_generation.prompts import CHOICE_TYPES, QUESTION_TYPES
from qa_generation.splits import WARMUP
from qa_generation.statistics import LEVEL_TITLES, LEVELS, Statistics, family_of, gather, type_rank
from qa_generation.whole_files import write_whole

if TYPE_CHECKING:
    from qa_generation.generate import Report

TOP_CATEGORIES = 5
SHOWN_FAILURES = 30
_NO_MARKUP = str.maketrans({**{sign: "\\" + sign for sign in "\\`*_{}[]#!~"}, **{s: f"&#{ord(s)};" for s in "<>&|$"}})


def write_card(out: Path, report: Report, config: GenerationConfig, *, blind: Mapping[str, Any] | None = None) -> None:
    """Writes ``out/README.md`` and the drawings in ``out/plots`` that it shows.

    Args:
        out: the set; its shards are read once, column by column.
        report: scenes that failed.
        config: settings the card tells about.
        blind: what ``report.json`` will tell of the blind pruning; the report's own by default.
    """
    statistics = gather(out) if list((out / "data").glob("*/*.parquet")) else Statistics()
    filled = [split for split in report.questions if sum(report.questions[split].values())]
    paths = {split: f"data/{split}/*.parquet" for split in filled}
    scenes = {split: len(ids) for split, ids in report.scenes.items()}
    told = report.blind if blind is None else blind
    _write(out, statistics, paths, scenes, _tally(report.failures), config, told, "generated")


def write_packed_card(source: Path, target: Path, container: str, splits: Sequence[str]) -> None:
    """Writes ``target/README.md`` for a set packed from ``source``; tells what the source's report tells."""
    statistics = gather(source)
    ending = "parquet" if container == "parquet" else "tar"
    paths = {split: f"data/{split}-*.{ending}" for split in splits}
    report = _report_of(source)
    scenes = {split: len(names) for split, names in statistics.scenes.items() if split != WARMUP}
    reasons = [entry["reason"] for entry in report.get("failures", []) if isinstance(entry, dict) and "reason" in entry]
    _write(target, statistics, paths, scenes, dict(Counter(reasons)), None, _stored_blind(source), container)


def _write(
    folder: Path,
    statistics: Statistics,
    paths: Mapping[str, str],
    scenes: Mapping[str, int],
    failures: Mapping[str, int],
    config: GenerationConfig | None,
    blind: Mapping[str, Any] | None,
    kind: str,
) -> None:
    environment = Environment(
        loader=PackageLoader("qa_generation"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = table_cell
    splits = [split for split in statistics.splits if split != WARMUP]
    questions = {
        split: {t: n for (s, t), n in statistics.questions.items() if s == split} for split in statistics.splits
    }
    text = environment.get_template("dataset_card.md.jinja").render(
        front_matter=yaml.safe_dump(front_matter(paths, statistics, kind), sort_keys=False).strip(),
        kind=kind,
        records=statistics.records,
        splits=splits,
        scenes={split: scenes.get(split, len(statistics.scenes.get(split, ()))) for split in splits},
        rows=list(type_rows(questions)) if splits else [],
        warmup=sum(questions.get(WARMUP, {}).values()),
        plots=write_plots(folder / "plots", statistics),
        level_tables=[_level_table(statistics, column) for column in LEVELS],
        category_rows=_category_rows(statistics),
        answer_rows=_answer_rows(statistics),
        blind_rows=blind_rows(blind),
        failures=failures,
        shown=SHOWN_FAILURES,
        sources=[(name, notice_of(name)) for name in sorted(statistics.sources)],
        config=config,
    )
    write_whole(folder / "README.md", text)


def front_matter(paths: Mapping[str, str], statistics: Statistics, kind: str) -> dict[str, Any]:
    """The YAML block: splits with questions become splits of the configuration ``default``, warm-up its own."""
    configs: list[dict[str, Any]] = []
    files = [{"split": split, "path": path} for split, path in paths.items() if split != WARMUP]
    if files:
        configs.append({"config_name": "default", "default": True, "data_files": files})
    if WARMUP in paths:
        configs.append({"config_name": WARMUP, "data_files": [{"split": "train", "path": paths[WARMUP]}]})
    block: dict[str, Any] = {
        "pretty_name": "Multi-view spatial questions",
        "license": "other",
        "license_name": "terms-of-the-captures",
        "license_link": "#terms-of-the-captures",
        "task_categories": ["visual-question-answering"],
        "tags": ["spatial-reasoning", "multi-view"],
        "size_categories": [size_category(statistics.records)],
        "configs": configs,
    }
    if kind == "webdataset":
        from qa_generation.pack_formats import sample_features

        features = sample_features(max(size for _, size in statistics.views))._to_yaml_list()
        block["dataset_info"] = [{"config_name": each["config_name"], "features": features} for each in configs]
    return block


def size_category(records: int) -> str:
    """The hub's name for a number of records, e.g. ``100K<n<1M``."""
    names = ["1K", "10K", "100K", "1M", "10M", "100M"]
    if records < 1000:
        return "n<1K"
    power = min(len(str(records)) - 4, len(names) - 2)
    return f"{names[power]}<n<{names[power + 1]}"


def type_rows(questions: Mapping[str, Mapping[str, int]]) -> Sequence[tuple[str, str, list[int]]]:
    """Family, type and number per split for every type that has questions."""
    splits = [split for split in questions if split != WARMUP]
    asked = {t for split in splits for t, number in questions[split].items() if number}
    # published choice types are named even where they have none, unless the set is of another kind altogether
    expected = CHOICE_TYPES if asked & set(QUESTION_TYPES) or not asked else ()
    shown = sorted(asked.union(expected), key=type_rank)
    return [(family_of(t), t, [questions[split].get(t, 0) for split in splits]) for t in shown]


def table_cell(text: object) -> str:
    """Text that stays inside its cell of a Markdown table and is no markup: names come from other people's files."""
    return " ".join(str(text).split()).translate(_NO_MARKUP)


def _tally(failures: Mapping[str, str]) -> dict[str, int]:
    """Reason -> number of scenes; scene ids are taken out, so that like reasons are counted together."""
    reasons = Counter(reason.replace(scene, "<scene>") for scene, reason in failures.items())
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def _level_table(statistics: Statistics, column: str) -> dict[str, Any]:
    """Share of each label per type, percent; empty rows where the column has no labels at all."""
    rows = []
    for question_type in statistics.types:
        counts = [statistics.levels[(question_type, column, label)] for label in LEVELS[column]]
        if sum(counts):
            rows.append((question_type, [100 * count / sum(counts) for count in counts]))
    return {"title": LEVEL_TITLES[column], "labels": LEVELS[column], "rows": rows}


def _category_rows(statistics: Statistics) -> list[tuple[str, int, list[tuple[str, float]]]]:
    """(type, number of categories, the commonest with their share in percent)."""
    by_type: dict[str, Counter[str]] = {}
    for (question_type, category), count in statistics.categories.items():
        if category:
            by_type.setdefault(question_type, Counter())[category] += count
    rows = []
    for question_type in statistics.types:
        counts = by_type.get(question_type, Counter())
        top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP_CATEGORIES]
        if top:
            rows.append((question_type, len(counts), [(name, 100 * n / counts.total()) for name, n in top]))
    return rows


def _answer_rows(statistics: Statistics) -> list[tuple[str, str]]:
    """(type, how its answers are spread): letters, texts, or quartiles of numbers."""
    rows = []
    for question_type in statistics.types:
        parts = []
        for counter in (statistics.letters, statistics.answers):
            counts = Counter({key: n for (t, key), n in counter.items() if t == question_type})
            if counts:
                total = counts.total()
                keys = sorted(counts, key=lambda key: (len(key), key))
                parts.append(", ".join(f"{key} {100 * counts[key] / total:.1f} %" for key in keys))
        numbers = sorted((value, n) for (t, value), n in statistics.values.items() if t == question_type)
        if numbers:
            low, middle, high = (_quantile(numbers, share) for share in (0.05, 0.5, 0.95))
            parts.append(f"5 % up to {low:g}, half up to {middle:g}, 95 % up to {high:g}")
        if parts:
            rows.append((question_type, "; ".join(parts)))
    return rows


def _quantile(numbers: Sequence[tuple[float, int]], share: float) -> float:
    """The value that ``share`` of the counted numbers do not exceed."""
    wanted = share * sum(count for _, count in numbers)
    reached = 0
    for value, count in numbers:
        reached += count
        if reached >= wanted:
            return value
    return numbers[-1][0]


def _report_of(out: Path) -> dict[str, Any]:
    try:
        content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stored_blind(out: Path) -> Mapping[str, Any] | None:
    found = _report_of(out).get("blind")
    return found if isinstance(found, dict) else None


def blind_rows(blind: Mapping[str, Any] | None) -> list[tuple[str, str, list[str]]]:
    """(type, metric, [guesser, before, after, share kept] in percent) of the pruning that ``report.json`` tells of."""
    rows = []
    for question_type, found in sorted(((blind or {}).get("types") or {}).items(), key=lambda item: type_rank(item[0])):
        if "before" not in found:
            continue  # too few records to learn from
        kept = found["kept"] / max(found["records"], 1)
        numbers = (found["baseline"], found["before"], found["after"], kept)
        rows.append((question_type, str(found["metric"]), [f"{100 * number:.1f}" for number in numbers]))
    return rows
