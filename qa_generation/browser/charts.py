"""Bar charts as SVG texts that follow the reader's light or dark theme, inside a page or as a file of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

# calm, told apart by lightness too, so that they work without colour
PALETTE = (
    *("#1c7ed6", "#74c0fc", "#f59f00", "#e8590c", "#868e96", "#2b8a3e"),
    *("#9775fa", "#e64980", "#0ca678", "#a9e34b", "#5c3b1e", "#ffd8a8"),
)
_STYLE = """
.t{font:600 14px system-ui,sans-serif;fill:var(--ink,#22262b)}.l{font:12px system-ui,sans-serif;fill:var(--ink,#22262b)}
.s{font:11px system-ui,sans-serif;fill:var(--soft,#6d747c)}.g{stroke:var(--line,#e2dfd6);stroke-width:1}
@media(prefers-color-scheme:dark){.t,.l{fill:var(--ink,#e8e6e1)}.s{fill:var(--soft,#9aa1a9)}.g{stroke:var(--line,#33373d)}}
"""
_LABEL, _PLOT, _NUMBER, _ROW = 190, 420, 70, 21
WIDTH = _LABEL + _PLOT + _NUMBER


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, one per row, each cut into the same series.

    Attributes:
        title: what is shown, also the text for readers who do not see it.
        rows: label -> one number per series.
        series: names of the parts; a single nameless one for plain bars.
        shares: every bar is as wide as the plot and shows shares of its row.
        unit: written behind the row's total.
    """

    title: str
    rows: Mapping[str, Sequence[float]]
    series: Sequence[str] = ("",)
    shares: bool = False
    unit: str = ""


def bars_svg(chart: Bars) -> str:
    """The chart as one ``<svg>`` element; all texts are escaped."""
    top = 30 + (22 if len(chart.series) > 1 else 0)
    height = top + _ROW * len(chart.rows) + 8
    widest = max((sum(numbers) for numbers in chart.rows.values()), default=0) or 1
    parts = [_text(0, 16, "t", chart.title), *_legend(chart.series)]
    for share in (0.0, 0.5, 1.0):
        x = _LABEL + share * _PLOT
        parts.append(f'<line class="g" x1="{x:g}" x2="{x:g}" y1="{top - 4}" y2="{height - 6}"/>')
    for index, (label, numbers) in enumerate(chart.rows.items()):
        y, total = top + index * _ROW, sum(numbers)
        scale = _PLOT / ((total or 1) if chart.shares else widest)
        parts.append(_text(_LABEL - 8, y + 13, "l", _shortened(label, 28), "end"))
        parts += _segments(chart, label, numbers, y, scale)
        end = _LABEL + (_PLOT if chart.shares else total * scale) + 6
        parts.append(_text(end, y + 13, "s", f"{total:,.10g}{chart.unit}"))
    return _svg(chart.title, WIDTH, height, parts)


def _segments(chart: Bars, label: str, numbers: Sequence[float], y: float, scale: float) -> list[str]:
    parts, x, total = [], float(_LABEL), sum(numbers) or 1
    for index, number in enumerate(numbers):
        if number > 0:
            name = f"{label}, {chart.series[index]}" if chart.series[index] else label
            tip = escape(f"{name}: {number:,.10g} ({100 * number / total:.1f} %)")
            colour = PALETTE[index % len(PALETTE)]
            box = f'x="{x:.2f}" y="{y}" width="{max(number * scale, 0.5):.2f}" height="{_ROW - 5}"'
            parts.append(f'<rect {box} fill="{colour}"><title>{tip}</title></rect>')
        x += number * scale
    return parts


def histogram_svg(title: str, counts: Sequence[float], low: float, high: float, unit: str = "") -> str:
    """Equal bins of ``low`` to ``high`` as upright bars, one ``<svg>`` element."""
    height, base, left = 190, 160, 10
    widest = max(counts, default=0) or 1
    step = (WIDTH - 2 * left) / max(len(counts), 1)
    parts = [_text(0, 16, "t", title)]
    for index, count in enumerate(counts):
        tall = (base - 36) * count / widest
        start = low + (high - low) * index / len(counts)
        tip = escape(f"{start:.3g} to {start + (high - low) / len(counts):.3g}{unit}: {count:,.10g}")
        across = f'x="{left + index * step:.2f}" width="{max(step - 1.5, 0.5):.2f}"'
        down = f'y="{base - tall:.2f}" height="{tall:.2f}"'
        parts.append(f'<rect {across} {down} fill="{PALETTE[0]}"><title>{tip}</title></rect>')
    parts.append(f'<line class="g" x1="{left}" x2="{WIDTH - left}" y1="{base}" y2="{base}"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        label = f"{low + share * (high - low):.3g}{unit}"
        parts.append(_text(left + share * (WIDTH - 2 * left), base + 16, "s", label, anchor))
    return _svg(title, WIDTH, height, parts)


def _legend(series: Sequence[str]) -> list[str]:
    parts, x = [], float(_LABEL)
    for index, name in enumerate(series if len(series) > 1 else ()):
        parts.append(f'<rect x="{x:g}" y="27" width="10" height="10" fill="{PALETTE[index % len(PALETTE)]}"/>')
        parts.append(_text(x + 14, 36, "s", name))
        x += 30 + 6.2 * len(name)
    return parts


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(x: float, y: float, kind: str, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
    return f'{head} aria-label="{escape(title)}"><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
