"""Which drawings tell what a set is made of, from its statistics."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from qa_generation.browser.charts import Bars, bars_svg, histogram_svg
from qa_generation.statistics import BIAS_BINS, LEVEL_TITLES, LEVELS, Statistics
from qa_generation.whole_files import write_whole

VALUE_BINS = 40
UNITS = {"obj_distance_occ_na": "metres", "obj_obj_distance_occ_na": "metres", "obj_size_occ_na": "centimetres"}
TOP = 8


def drawings(statistics: Statistics) -> dict[str, tuple[str, str]]:
    """File stem -> (title, SVG text), in the order to show; what the set has nothing of is left out."""
    charts = [
        _questions(statistics),
        _views(statistics),
        *_levels(statistics),
        _letters(statistics),
        _texts(statistics),
    ]
    found = {stem: (chart.title, bars_svg(chart)) for stem, chart in charts if chart.rows}
    found |= _values(statistics)
    if statistics.bias:
        total: Counter[int] = Counter()
        for (_, index), count in statistics.bias.items():
            total[index] += count
        title = "Blind bias score (1: the question alone gives the answer away)"
        found["bias"] = (title, histogram_svg(title, [total[i] for i in range(BIAS_BINS)], 0, 1))
    for question_type in statistics.types:
        chart = _categories(statistics, question_type)
        if chart.rows:
            found[f"categories_{question_type}"] = (chart.title, bars_svg(chart))
    return found


# what the card shows; the site's overview shows everything
CARD = ("questions", "levels_occ_level", "levels_trunc_level", "levels_overlap_level", "views", "bias")


def write_plots(folder: Path, statistics: Statistics) -> list[tuple[str, str]]:
    """Writes the card's drawings anew into ``folder``; (file name, title) of each."""
    shutil.rmtree(folder, ignore_errors=True)
    shown = [(stem, *drawing) for stem, drawing in drawings(statistics).items() if stem in CARD]
    if shown:
        folder.mkdir(parents=True)
    for stem, _, svg in shown:
        write_whole(folder / f"{stem}.svg", svg)
    return [(f"{stem}.svg", title) for stem, title, _ in shown]


def _questions(statistics: Statistics) -> tuple[str, Bars]:
    splits = statistics.splits
    rows = {t: [statistics.questions[(split, t)] for split in splits] for t in statistics.types}
    return "questions", Bars("Questions per type and split", rows, splits)


def _views(statistics: Statistics) -> tuple[str, Bars]:
    sizes = sorted({size for _, size in statistics.views})
    rows = {t: [statistics.views[(t, size)] for size in sizes] for t in statistics.types}
    return "views", Bars("Number of views", rows, [f"{size} view{'s' * (size != 1)}" for size in sizes], shares=True)


def _levels(statistics: Statistics) -> list[tuple[str, Bars]]:
    charts = []
    for column, labels in LEVELS.items():
        rows = {t: [statistics.levels[(t, column, label)] for label in labels] for t in statistics.types}
        rows = {t: numbers for t, numbers in rows.items() if sum(numbers)}
        charts.append((f"levels_{column}", Bars(LEVEL_TITLES[column], rows, labels, shares=True)))
    return charts


def _letters(statistics: Statistics) -> tuple[str, Bars]:
    letters = sorted({letter for _, letter in statistics.letters})
    rows = {t: [statistics.letters[(t, letter)] for letter in letters] for t in statistics.types}
    rows = {t: numbers for t, numbers in rows.items() if sum(numbers)}
    return "letters", Bars("Right letters", rows, letters, shares=True)


def _texts(statistics: Statistics) -> tuple[str, Bars]:
    texts = sorted(
        {text for _, text in statistics.answers}, key=lambda text: (text not in ("Yes", "No"), len(text), text)
    )
    rows = {t: [statistics.answers[(t, text)] for text in texts] for t in statistics.types}
    rows = {t: numbers for t, numbers in rows.items() if sum(numbers)}
    return "answers", Bars("Answers: yes or no, counts", rows, texts, shares=True)


def _values(statistics: Statistics) -> dict[str, tuple[str, str]]:
    """One histogram per numeric type, from the least to the greatest value; every count has a bin of its own."""
    found = {}
    for question_type in statistics.types:
        values = {value: count for (t, value), count in statistics.values.items() if t == question_type}
        if not values:
            continue
        low, high, number = min(values), max(values), VALUE_BINS
        if question_type == "obj_count_occ_na":
            low, high, number = low - 0.5, high + 0.5, round(high - low) + 1
        bins = [0] * number
        for value, count in values.items():
            bins[min(int((value - low) / ((high - low) or 1) * number), number - 1)] += count
        unit = UNITS.get(question_type, "")
        title = f"Answers of {question_type}" + (f", {unit}" if unit else "")
        found[f"values_{question_type}"] = (title, histogram_svg(title, bins, low, high))
    return found


def _categories(statistics: Statistics, question_type: str) -> Bars:
    counts = {name: n for (t, name), n in statistics.categories.items() if t == question_type and name}
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    total = sum(counts.values()) or 1
    rows = {name: [round(100 * count / total, 1)] for name, count in top}
    return Bars(f"{question_type}: commonest of {len(counts)} categories", rows, unit=" %")
