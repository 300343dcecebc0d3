"""The documented rules of the questions, written down a second time so that the audit shares no constant with them.

Sources: specs of the published data and our choices where they are silent; see the docstrings of what is audited.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qa_generation.scene import SceneKind

NEAR_M = 0.1  # what lies nearer to a camera is looked through
LETTERS = "ABCD"


@dataclass(frozen=True)
class Rules:
    """Thresholds of one kind of scene.

    Attributes:
        margin_m: gap along a camera axis from which on a relation is decided.
        voxel_m: edge of the voxels that overlap is counted in.
        depth_tolerance_m: how far behind the seen surface a point still counts as seen, or 2 % of its depth.
        max_side: longer side of the pixel grid that "visible" is defined on.
        min_pixels, min_frame_share: least pixels of a visible instance, absolute and as a share of the grid.
        min_visible_fraction: least visible share of the whole silhouette, parts beyond the frame included.
        guard: labels may call visible only what passes both by this factor; what lies between decides no answer.
        overlap_cap: largest overlap of two frames of one record, percent.
    """

    margin_m: float = 0.15
    voxel_m: float = 0.02
    depth_tolerance_m: float = 0.05
    depth_tolerance_ratio: float = 0.02
    max_side: int = 640
    min_pixels: int = 64
    min_frame_share: float = 0.0005
    min_visible_fraction: float = 0.05
    guard: float = 1.25
    overlap_cap: float = 30.0

    @classmethod
    def of(cls, kind: SceneKind) -> Rules:
        """The rules of rooms or of streets."""
        return cls(margin_m=0.5, voxel_m=0.2, depth_tolerance_m=0.2) if kind == "outdoor" else cls()

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the counting grid of a picture, pixels."""
        shrink = max(1.0, max(size) / self.max_side)
        return max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))

    def least_pixels(self, grid: tuple[int, int]) -> float:
        """Pixels from which on an instance is visible."""
        return max(self.min_pixels, self.min_frame_share * grid[0] * grid[1])


def _words(name: str) -> list[str]:
    return name.lower().replace("_", " ").replace("-", " ").split()


_ODD_PLURALS = {"shelves": "shelf", "bookshelves": "bookshelf", "knives": "knife", "people": "person", "mice": "mouse"}


def _one(noun: str) -> str:
    """The singular of an English noun, near enough for labels."""
    if noun in _ODD_PLURALS:
        return _ODD_PLURALS[noun]
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh")):
        if noun.endswith(ending) and len(noun) > len(ending) + 1:
            return noun[: -len(ending)] + instead
    return noun[:-1] if noun[-1:] == "s" and noun[-2:] not in ("ss", "us", "is") else noun


def kindred(first: str, second: str) -> bool:
    """Whether the one name may stand for the other's objects as well: an ``office chair`` is a chair."""
    a, b = _words(first), _words(second)
    if not a or not b:
        return False
    a[-1], b[-1] = _one(a[-1]), _one(b[-1])
    shorter, longer = sorted((a, b), key=len)
    return longer[len(longer) - len(shorter) :] == shorter


def kin_of(category: str, categories: Iterable[str]) -> set[str]:
    """The names among ``categories`` that are kin of this one, itself included."""
    return {name for name in categories if kindred(name, category)}
