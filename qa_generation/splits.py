"""Which scenes go to training and which are held out: by place, never by question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qa_generation.errors import InputError
from qa_generation.seeding import stable_int

TRAIN = "train"
# folder of auxiliary questions about training scenes, not a split of its own
WARMUP = "warmup"
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
# ScanNet numbers the scans of one room scene0012_00, scene0012_01, ...
_RESCAN = re.compile(r"(scene\d{4})_\d{2}\Z")
# moments of one Waymo segment are called <segment>_t000, <segment>_t010, ...
_MOMENT = re.compile(r"(\d+_\d+_\d+_\d+_\d+)_t\d{3,}\Z")
# ARKitScenes' videos of one visit to a venue are called visit<id>_<video>
_VISIT = re.compile(r"(visit\d+)_\d+\Z")


def parse_splits(texts: Sequence[str]) -> dict[str, float]:
    """Shares from ``["test=0.2"]``; raises ``InputError`` for a bad name or shares that leave nothing to train on."""
    shares: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not _NAME.match(name) or name in (TRAIN, WARMUP) or name in shares or not 0.0 <= share < 1.0:
            raise InputError(f"--split {text!r} cannot be used, expected NAME=SHARE such as test=0.2, each name once")
        shares[name] = share
    if sum(shares.values()) >= 1.0:
        raise InputError(
            f"--split shares add up to {sum(shares.values()):g}, expected less than 1 so that train is left"
        )
    return shares


def place_of(scene_id: str) -> str:
    """The physical place of a scan; scans of one place share a split, or the test would show rooms seen in training."""
    match = _RESCAN.match(scene_id) or _MOMENT.match(scene_id) or _VISIT.match(scene_id)
    return match.group(1) if match else scene_id


def assign_splits(scene_ids: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Split name of every scene.

    Places are ranked by a hash of ``(seed, place)``; each split takes places from the top until it holds its share of
    the scenes, at least one where the share is positive and two places exist. The order of the input does not matter.
    """
    groups: dict[str, list[str]] = {}
    for scene_id in sorted(scene_ids):
        groups.setdefault(place_of(scene_id), []).append(scene_id)
    ranked = sorted(groups, key=lambda place: (stable_int(seed, "split", place), place))
    assigned: dict[str, str] = {}
    for name, share in sorted(shares.items()):
        wanted = max(round(share * len(scene_ids)), int(share > 0))
        taken = 0
        # one place always remains for training
        while taken < wanted and len(ranked) > 1:
            for scene_id in groups[ranked.pop(0)]:
                assigned[scene_id] = name
                taken += 1
    return {scene_id: assigned.get(scene_id, TRAIN) for scene_id in sorted(scene_ids)}
