"""The lenient reading of answers that is reported beside the published one: what a patient person would have read.

The published scorer compares the first word as it stands: ``(B)``, ``Answer: B`` or ``230 cm`` for 2.3 m are wrong.
This mode reads letters in brackets or sentences and options by their text, numbers with units, thousands, fractions
and words, points in any brackets. It never guesses: where two readings are possible, the published one decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.spatialmosaic.quantities import after_statement, read_number, tidy, unit_of, without_frames
from benchmarks.spatialmosaic.scoring import (
    ACCURACY,
    MEAN_RELATIVE_ACCURACY,
    clean,
    metric_of,
    parse_number,
    parse_point,
    point_accuracy,
    relative_accuracy,
)

_CHOSEN = re.compile(
    r"\b(?:answer|option|choice|choose|select|pick)\b[\"'*]*\s*(?:(?:is|would be|should be|must be|[:=])\s*)?+"
    r"(?:the\s+)?(?:(?:correct|right|final|best)\s+)?(?:(?:option|choice|letter|answer)\s*(?:is|:)?\s*)?+"
    r"[\"'(\[{<]*([a-z])(?![\w'])",
    re.I,
)
_LEADING = re.compile(r"[\s\"'(\[{<]*+(?:(?:option|choice|letter)\s++[\"'(\[{<]*+)?+([a-z])(?![\w'])", re.I)
_BRACKETED = re.compile(r"[(\[{]\s*([A-Z])\s*[)\]}]")
_CAPITAL = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")
_ARTICLE = re.compile(r"\s+(?!(?:or|and|is|because|since|as|but)\b)[a-z]")
_PREFIX = re.compile(r"\s*([A-Za-z])\s*[.):]\s*")
_NOT = re.compile(r"\b(?:not|isn t|no longer|never)(?: (?:a|an|the|in|on|to|at))*$")

_N = r"(-?(?:\d++(?:\.\d++)?+|\.\d++))"
_PX = r"\s*(?:px|pixels?)?\s*"
_BOX = re.compile(rf"[(\[{{]\s*{_N}\s*,\s*{_N}\s*,\s*{_N}\s*,\s*{_N}\s*[)\]}}]")
_PAIRS = (
    re.compile(rf"[(\[{{<]\s*{_N}{_PX}(?:[,;]|\s)\s*{_N}{_PX}[)\]}}>]"),
    re.compile(rf"\bx[\s\"':=≈]{{0,8}}{_N}.{{0,16}}?\by[\s\"':=≈]{{0,8}}{_N}", re.I | re.S),
    re.compile(rf"(?<![\w.]){_N}{_PX}[,;]\s*{_N}(?![\w.])"),
)
_LONE = re.compile(rf"(?<![\w.]){_N}(?!\w)")


def score_repaired(record: Mapping[str, Any], prediction: str) -> tuple[float, bool]:
    """The score (0-1) after a lenient reading, and whether anything could be read.

    Numeric targets of 0 or below, which the published measure cannot take, are compared by equality. A box diagonal
    that is missing is worked out from the box where there is one; a missing letter from the answer's text.

    Raises:
        InputError: for an unknown question type.
    """
    metric = metric_of(record.get("question_type") or "")
    if metric == ACCURACY:
        letter = read_letter(prediction, list(record.get("options") or ()))
        return float(letter is not None and letter == true_letter(record)), letter is not None
    if metric == MEAN_RELATIVE_ACCURACY:
        return _score_number(record, prediction)
    point = read_point(prediction)
    target, diagonal_px = read_point(str(record.get("ground_truth") or "")), _diagonal_px(record)
    if point is None or target is None or not diagonal_px > 0:
        return 0.0, point is not None
    return point_accuracy(point, target, diagonal_px), True


def true_letter(record: Mapping[str, Any]) -> str | None:
    """The capital letter of the true option: ``mc_answer``, or where that is missing the option that is the answer."""
    options = list(record.get("options") or ())
    for value in (record.get("mc_answer"), record.get("ground_truth")):
        if isinstance(value, str) and value.strip():
            return read_letter(value, options)
    return None


def read_letter(text: str, options: Sequence[str]) -> str | None:
    """The capital letter of the option that a text chooses; None where it chooses none, or several.

    Args:
        text: the answer without its reasoning.
        options: ``"A. text"`` strings; letters are A to D where there are none.
    """
    offered = _offered(options)
    tidied = tidy(text)
    stated = after_statement(tidied)
    readers = (_leading, _same_text, _bracketed, _same_numbers, _mentioned)
    if chosen := _chosen(tidied, offered):
        return chosen
    for part in (stated, tidied):
        if part is None or _hedged(part, offered):
            continue
        for reader in readers:
            if letter := reader(part, offered):
                return letter
    if letter := _capital(tidied, offered):
        return letter
    published = clean(text.strip()).upper()
    return published if published in offered else None


def read_point(text: str) -> tuple[float, float] | None:
    """The point that a text answers with, pixels: in any brackets, as ``x`` and ``y``, or the centre of one box."""
    tidied = tidy(text)
    stated = after_statement(tidied)
    for part in (stated, without_frames(tidied)):
        if part is None:
            continue
        if box := _BOX.search(part):
            left, top, right, bottom = map(float, box.groups())
            return (left + right) / 2, (top + bottom) / 2
        for pattern in _PAIRS:
            if match := pattern.search(part):
                return float(match[1]), float(match[2])
        numbers = [float(match[1]) for _, match in zip(range(3), _LONE.finditer(part), strict=False)]
        if len(numbers) == 2:
            return numbers[0], numbers[1]
    return parse_point(text)


def _score_number(record: Mapping[str, Any], prediction: str) -> tuple[float, bool]:
    unit = unit_of(record)
    number, target = read_number(prediction, unit), read_number(str(record.get("ground_truth") or ""), unit)
    readable = number is not None and abs(number) < float("inf")
    if number is None or target is None or not readable:
        return 0.0, readable
    if target <= 0:
        return float(number == target), True
    return relative_accuracy(number, target), True


def _diagonal_px(record: Mapping[str, Any]) -> float:
    diagonal_px = parse_number(record.get("bbox_2d_diag")) or 0.0
    box = list(record.get("bbox_2d") or ())
    if not diagonal_px > 0 and len(box) == 4:
        return float(((box[2] - box[0]) ** 2 + (box[3] - box[1]) ** 2) ** 0.5)
    return diagonal_px


def _offered(options: Sequence[str]) -> dict[str, str]:
    """Letter -> option text, by the options' own letters, else by their place."""
    if not options:
        return dict.fromkeys("ABCD", "")
    offered = {}
    for place, option in enumerate(options):
        prefix = _PREFIX.match(option)
        letter = prefix[1].upper() if prefix else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[place % 26]
        offered[letter] = option[prefix.end() :] if prefix else option
    return offered


def _words(text: str) -> str:
    """Lower-case words and numbers with single spaces, nothing else."""
    return " ".join(re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", text.casefold()))


def _without_article(words: str) -> str:
    return re.sub(r"^(?:an?|the|it is|it s|its) ", "", words)


def _hedged(text: str, offered: Mapping[str, str]) -> bool:
    """Whether a text is only a list of several offered letters."""
    words = re.findall(r"[^\W\d_]+", text)
    letters = {word.upper() for word in words if word.upper() in offered}
    return len(letters) > 1 and all(len(word) == 1 or word.lower() in ("and", "or") for word in words)


def _chosen(text: str, offered: Mapping[str, str]) -> str | None:
    """The letter of the last ``answer is B`` or ``option B``."""
    letters = [match[1].upper() for match in _CHOSEN.finditer(text) if _is_letter(match, text, offered)]
    return letters[-1] if letters else None


def _leading(text: str, offered: Mapping[str, str]) -> str | None:
    """The letter that begins the text: ``(B)``, ``B.``, ``b) chair``, ``B because``."""
    match = _LEADING.match(text)
    return match[1].upper() if match and _is_letter(match, text, offered, leading=True) else None


def _is_letter(match: re.Match[str], text: str, offered: Mapping[str, str], leading: bool = False) -> bool:
    """Whether a single letter is an option, and not the article of ``a chair`` or a letter within a sentence."""
    letter = match[1]
    if letter.upper() not in offered:
        return False
    in_sentence = bool(_ARTICLE.match(text, match.end(1)))
    if letter.islower():
        return not in_sentence
    if letter != "A" or not in_sentence:
        return True
    following = _words(text[match.end(1) :])
    own, texts = _words(offered["A"]), [_words(option) for option in offered.values()]
    if own and following.startswith(own):
        return True
    return not leading and not any(option and following.startswith(option) for option in texts)


def _same_text(text: str, offered: Mapping[str, str]) -> str | None:
    """The option whose text is the whole answer, or its first line."""
    for part in (text, text.split("\n", 1)[0]):
        said = _without_article(_words(part))
        same = [letter for letter, option in offered.items() if said and _without_article(_words(option)) == said]
        if len(same) == 1:
            return same[0]
    return None


def _bracketed(text: str, offered: Mapping[str, str]) -> str | None:
    found = {letter for letter in _BRACKETED.findall(text) if letter in offered}
    return found.pop() if len(found) == 1 else None


def _same_numbers(text: str, offered: Mapping[str, str]) -> str | None:
    """The option with two or more numbers whose numbers the answer gives in the same order, and no others."""
    said = re.findall(r"\d+(?:\.\d+)?", text)
    same = [letter for letter, option in offered.items() if re.findall(r"\d+(?:\.\d+)?", option) == said]
    return same[0] if len(same) == 1 and len(said) >= 2 else None


def _mentioned(text: str, offered: Mapping[str, str]) -> str | None:
    """The only option whose text occurs in the answer, not counting occurrences inside longer options' texts."""
    texts = {letter: _words(option) for letter, option in offered.items()}
    if all(re.fullmatch(r"\d+(?:\.\d+)?", option) for option in texts.values()):
        number = read_number(text, "objects")
        same = [letter for letter, option in texts.items() if number is not None and float(option) == number]
        return same[0] if len(same) == 1 else None
    said = _words(text)
    first = said.split(" ", 1)[0]
    if set(texts.values()) == {"yes", "no"} and first in ("yes", "no"):
        return next(letter for letter, option in texts.items() if option == first)
    found = {letter for letter, option in texts.items() if option and list(_occurrences(said, option, texts.values()))}
    return found.pop() if len(found) == 1 else None


def _occurrences(said: str, option: str, others: Any) -> Iterator[int]:
    """Where an option's words stand in the answer, neither denied nor as a part of a longer option."""
    for longer in others:
        if longer != option and f" {option} " in f" {longer} ":
            said = re.sub(rf"(?<!\S){re.escape(longer)}(?!\S)", "#", said)
    for match in re.finditer(rf"(?<!\S){re.escape(option)}(?!\S)", said):
        if not _NOT.search(said[: match.start()].strip()[-40:]):
            yield match.start()


def _capital(text: str, offered: Mapping[str, str]) -> str | None:
    """The only offered capital that stands alone in the text, articles at the start of sentences left out."""
    found = {
        match[1]
        for match in _CAPITAL.finditer(text)
        if match[1] in offered and not (match[1] == "A" and _ARTICLE.match(text, match.end()))
    }
    return found.pop() if len(found) == 1 else None
