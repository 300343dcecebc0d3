"""Numbers with units in free text: ``2.3 m``, ``230 cm``, ``1,000``, ``2 1/2``, ``one and a half metres``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from benchmarks.spatialmosaic.scoring import clean, parse_number

_LENGTHS_M = {
    ("mm", "millimetre", "millimetres", "millimeter", "millimeters"): 0.001,
    ("cm", "cms", "centimetre", "centimetres", "centimeter", "centimeters"): 0.01,
    ("dm", "decimetre", "decimetres", "decimeter", "decimeters"): 0.1,
    ("m", "ms", "metre", "metres", "meter", "meters"): 1.0,
    ("km", "kilometre", "kilometres", "kilometer", "kilometers"): 1000.0,
    ("in", "inch", "inches"): 0.0254,
    ("ft", "foot", "feet"): 0.3048,
    ("yd", "yds", "yard", "yards"): 0.9144,
}
_ANGLES_DEG = {("deg", "degs", "degree", "degrees", "°"): 1.0, ("rad", "rads", "radian", "radians"): 57.29577951308232}
# unit -> (dimension, size in the dimension's base unit)
UNITS: dict[str, tuple[str, float]] = {
    name: (dimension, size)
    for dimension, table in (("length", _LENGTHS_M), ("angle", _ANGLES_DEG))
    for names, size in table.items()
    for name in names
}

# fmt: off
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_WORDS = {word: value for value, word in enumerate(_SMALL)} | {word: 10 * (i + 2) for i, word in enumerate(_TENS)}
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3)}

_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
# "in" is a unit only where nothing follows that it could introduce: "3 in the first frame" are not inches
_UNIT_AFTER = rf"(?:\s*-?\s*(?P<unit>{_UNIT})(?![\w])(?!(?<=in)\s+\w))?+"
_PLAIN = r"(?:\d{1,3}(?:,\d{3})++(?!\d)(?:\.\d++)?+|\d++,\d{1,2}(?![\d,])|\d++(?:\.\d++)?+|\.\d++)(?:e[-+]?\d++)?+"
_NUMBER = re.compile(
    rf"(?<![\w.,/])(?P<sign>[-+]?)(?:(?:(?P<whole>\d++)\s++)?(?P<top>\d++)\s*/\s*(?P<bottom>\d++)|(?P<plain>{_PLAIN}))"
    rf"(?![/\d]){_UNIT_AFTER}"
)
_ONES, _BELOW_20, _BY_TEN = ("|".join(words) for words in (_SMALL[1:10], _SMALL[::-1], _TENS))
_BASE = rf"(?:(?:{_BY_TEN})(?:[\s-]+(?:{_ONES}))?|{_BELOW_20})"
_MANY = rf"(?:an?\s+|{_BASE}\s+)?(?:hundred|thousand|dozen)(?:(?:\s+and)?\s+{_BASE})?"
_PART = r"(?:(?:an?|one)[\s-]+(?:half|quarter|third)|half)"
_WORDED = re.compile(
    rf"\b(?P<words>{_PART}|(?:{_MANY}|{_BASE})(?:\s+and\s+{_PART})?)\b(?:\s+an?\b)?{_UNIT_AFTER}"
    rf"|\b(?P<article>an?)\s+(?P<bare>{_UNIT})\b"
)
_FRAMES = re.compile(
    r"\b(?:frame|image|view|picture|photo|camera)(?:s[\s_#:-]*\d++(?:(?:,|,?\s*(?:&|and|or))\s*\d++)*+|[\s_#:-]*\d++)",
    re.I,
)
_GROUPED = re.compile("(?<=\\d)[\u00a0\u202f\u2009'’_](?=\\d{3}(?!\\d))")
_VULGAR = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_STATEMENT = re.compile(
    r"\b(?:answer|total|result)\b[\"'*]*\s*"
    r"(?:(?:is|are|of|was|would be|will be|should be|about|approximately|[:=])\s*)*+",
    re.I,
)
_RANGE = ("-", "–", "—", "to", "or")


@dataclass(frozen=True)
class Quantity:
    """A number found in a text: its value, its unit (empty where none was written) and where it stands."""

    value: float
    unit: str
    start: int
    end: int


def tidy(text: str) -> str:
    """The text without markup that models wrap answers in: bold, code, LaTeX boxes and dollars; one form per sign."""
    text = _VULGAR.sub(" ", _GROUPED.sub("", text))
    text = unicodedata.normalize("NFKC", text).replace("\u2044", "/").replace("\u2212", "-")
    text = re.sub(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r"\1/\2", text)
    return re.sub(r"[*`$\\]+", "", text).strip()


def without_frames(text: str) -> str:
    """The text without the names of frames, whose numbers answer nothing."""
    return _FRAMES.sub(" ", text)


def after_statement(text: str) -> str | None:
    """What follows the last ``the answer is``, ``Answer:`` or ``total of``; None where nothing is stated."""
    ends = [match.end() for match in _STATEMENT.finditer(text)]
    return text[ends[-1] :] if ends and text[ends[-1] :].strip() else None


def read_number(text: str, unit: str = "") -> float | None:
    """The one number that a text answers with, in ``unit`` where both have one; None where it cannot be told.

    What follows ``the answer is`` comes first, then a number that begins the text, then the only number there is (of
    the asked dimension, if any is). Numbers of frames do not count. At last the published reading is tried.
    """
    tidied = without_frames(tidy(text)).strip()
    stated = after_statement(tidied)
    for part, must_lead in ((stated, True), (tidied, True), (stated, False), (tidied, False)):
        if part is None:
            continue
        values = [(quantity, _in_unit(quantity, unit)) for quantity in _quantities(part)]
        if must_lead and values and (values[0][1] is not None) and _leads(part, values[0][0]):
            return values[0][1]
        fitting = {round(value, 9): value for _, value in values if value is not None}
        measured = {round(value, 9): value for quantity, value in values if value is not None and quantity.unit}
        if not must_lead and len(fitting) == 1:
            return next(iter(fitting.values()))
        if not must_lead and len(measured) == 1:
            return next(iter(measured.values()))
    return parse_number(clean(text.strip()))


def _leads(text: str, quantity: Quantity) -> bool:
    """Whether a text begins with the quantity, but for words like ``about``."""
    lead = text[: quantity.start].strip(" \t(\"'~≈:=-").casefold()
    return lead in ("", "about", "approximately", "around", "roughly", "approx", "approx.", "circa", "ca.")


def _in_unit(quantity: Quantity, unit: str) -> float | None:
    """The value in the asked unit; None for a quantity of another dimension."""
    asked, found = UNITS.get(unit), UNITS.get(quantity.unit)
    if found is None:
        return quantity.value
    if asked is None or asked[0] != found[0]:
        return None
    # rounded, since 230 * 0.01 is a little more than 2.3
    return quantity.value if quantity.unit == unit else round(quantity.value * found[1] / asked[1], 9)


def _quantities(text: str) -> list[Quantity]:
    """All numbers in digits, or, where there are none, in words; ``1 m 20 cm`` is one, both ends of ``2-3 m`` none."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few letters change their length, and with it all positions
        lowered = text
    found = list(_in_digits(lowered)) or list(_in_words(lowered))
    ends = {i for i in range(len(found) - 1) if lowered[found[i].end : found[i + 1].start].strip() in _RANGE}
    joined: list[Quantity] = []
    for quantity in (one for i, one in enumerate(found) if i not in ends and i - 1 not in ends):
        last = joined[-1] if joined else None
        if last is not None and _continues(lowered, last, quantity):
            smaller = _in_unit(quantity, last.unit) or 0.0
            joined[-1] = Quantity(last.value + smaller, last.unit, last.start, quantity.end)
        else:
            joined.append(quantity)
    return joined


def _continues(text: str, last: Quantity, quantity: Quantity) -> bool:
    """Whether a quantity adds to the one before: a smaller unit right behind a larger one."""
    if not (last.unit and quantity.unit) or UNITS[last.unit][0] != UNITS[quantity.unit][0]:
        return False
    between = text[last.end : quantity.start].strip()
    return between in ("", "and") and UNITS[quantity.unit][1] < UNITS[last.unit][1]


def _in_digits(text: str) -> Iterator[Quantity]:
    for match in _NUMBER.finditer(text):
        if match["plain"]:
            plain = match["plain"]
            decimal = re.fullmatch(r"(\d+),(\d{1,2})", plain)
            value = parse_number(".".join(decimal.groups()) if decimal else plain.replace(",", ""))
        elif int(match["bottom"][:18]) == 0:
            continue
        else:
            whole, top, bottom = (int((match[name] or "0")[:18]) for name in ("whole", "top", "bottom"))
            value = whole + top / bottom
        if value is not None:
            yield Quantity(-value if match["sign"] == "-" else value, match["unit"] or "", match.start(), match.end())


def _in_words(text: str) -> Iterator[Quantity]:
    for match in _WORDED.finditer(text):
        value = 1.0 if match["article"] else _worded_value(re.split(r"[\s-]+", match["words"]))
        yield Quantity(value, match["unit"] or match["bare"] or "", match.start(), match.end())


def _worded_value(words: list[str]) -> float:
    """``two hundred and five`` -> 205, ``one and a half`` -> 1.5, ``one third`` -> 1/3."""
    if words[0] == "one" and words[-1] in _PARTS and len(words) == 2:
        return float(_PARTS[words[-1]])
    total = Fraction(0)
    for word in words:
        if word in _PARTS:
            total += _PARTS[word]
        elif word in ("hundred", "thousand", "dozen"):
            total = max(total, Fraction(1)) * {"hundred": 100, "thousand": 1000, "dozen": 12}[word]
        else:
            total += _WORDS.get(word, 0)
    return float(total)


def unit_of(record: Mapping[str, Any]) -> str:
    """The unit of a numeric record's answer: as recorded, else as its question says, else the type's."""
    kind = str(record.get("question_type") or "")
    if record.get("unit") or kind == "obj_count_occ_na":
        return str(record.get("unit") or "objects").strip()
    question = str(record.get("question") or "").lower()
    for pattern, name in ((r"\b(?:centimet(?:er|re)s?|cm)\b", "cm"), (r"\b(?:met(?:er|re)s?|m)\b", "m")):
        if re.search(pattern, question):
            return name
    return "cm" if kind == "obj_size_occ_na" else "m" if "distance" in kind else ""
