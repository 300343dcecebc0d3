"""Which pairs of views are put through the network: scene graphs and pre-filters by name."""

from __future__ import annotations

import re

from geometry_encoders.errors import InputError

Pair = tuple[int, int]


def make_pairs(
    count: int, scene_graph: str = "complete", symmetrize: bool = True, prefilter: str | None = None
) -> list[Pair]:
    """Index pairs of ``count`` views.

    Args:
        count: number of views, at least 1.
        scene_graph: ``complete``; ``swin-W`` (each view with the next W), ``logwin-W`` (with those at distance 1, 2,
            4, ... 2^(W-1) on both sides), both circular unless the name ends in ``-noncyclic``; ``oneref-R`` (view R
            with all others).
        symmetrize: append every pair once more, swapped.
        prefilter: ``seqN`` or ``cycN`` keeps pairs at most N apart, on the line or on the circle.

    Raises:
        InputError: a name that cannot be read.
    """
    pairs = _graph(count, scene_graph)
    if symmetrize:
        pairs = pairs + [(j, i) for i, j in pairs]
    if prefilter is None:
        return pairs
    match = re.fullmatch(r"(seq|cyc)(\d+)", prefilter)
    if match is None:
        raise InputError(f"prefilter {prefilter!r}: expected seqN or cycN, e.g. 'seq5'")
    limit, circular = int(match[2]), match[1] == "cyc"
    return [pair for pair in pairs if _distance(pair, count, circular) <= limit]


def _distance(pair: Pair, count: int, circular: bool) -> int:
    apart = abs(pair[0] - pair[1])
    return min(apart, count - apart) if circular else apart


def _graph(count: int, name: str) -> list[Pair]:
    if name == "complete":
        return [(i, j) for i in range(count) for j in range(i)]
    match = re.fullmatch(r"(swin|logwin|oneref)(?:-(\d+))?(-noncyclic)?", name)
    if match is None or (match[1] == "oneref" and match[3]):
        raise InputError(f"scene graph {name!r}: expected complete, swin-W, logwin-W or oneref-R")
    number, cyclic = match[2], match[3] is None
    if match[1] == "oneref":
        reference = int(number or 0)
        if reference >= count:
            raise InputError(f"scene graph {name!r}: expected a view number below {count}")
        return [(reference, j) for j in range(count) if j != reference]
    size = int(number or 3)
    offsets = range(1, size + 1) if match[1] == "swin" else [s * 2**k for k in range(size) for s in (-1, 1)]
    return _window(count, list(offsets), cyclic, keep_self=match[1] == "swin")


def _window(count: int, offsets: list[int], cyclic: bool, keep_self: bool) -> list[Pair]:
    """Unordered pairs of views that lie an offset apart, smaller index first, in order.

    A circular window at least as long as the sequence meets the view itself; the original keeps such pairs for
    ``swin`` only.
    """
    found: set[Pair] = set()
    for i in range(count):
        for offset in offsets:
            j = (i + offset) % count if cyclic else i + offset
            if 0 <= j < count and (keep_self or i != j):
                found.add((min(i, j), max(i, j)))
    return sorted(found)
