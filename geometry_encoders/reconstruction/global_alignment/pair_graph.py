"""The views, which pairs of them were put through the network, and what it said about each pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.reconstruction.global_alignment.config import StorageConfig
from geometry_encoders.reconstruction.global_alignment.pair_storage import PairStorage

Edge = tuple[int, int]


@dataclass(frozen=True)
class PairPrediction:
    """What the network says about the directed pair (i, j), both pointmaps in the camera frame of i."""

    edge: Edge
    points: tuple[Float[Tensor, "height_i width_i 3"], Float[Tensor, "height_j width_j 3"]]
    confidence: tuple[Float[Tensor, "height_i width_i"], Float[Tensor, "height_j width_j"]]


class PairGraph:
    """Views as nodes, directed pairs as edges, with the predictions kept in a `PairStorage`.

    Attributes:
        edges: (i, j) in the order of the pair list.
        sizes: (height, width) of every view.
        images: RGB pictures.
        mean_confidence: of both sides of every edge, float32 (edges, 2).
        image_confidence: per view the largest confidence that any edge gives a pixel, float32 (pixels).
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        images: Sequence[UInt8[ndarray, "height width 3"]],
        storage: StorageConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """An empty graph; `put` every edge before use.

        Raises:
            InputError: no edge, a number that is no view, a view without an edge, or a graph that falls apart.
        """
        self.edges: tuple[Edge, ...] = tuple((int(i), int(j)) for i, j in edges)
        self.images = tuple(images)
        self.sizes = tuple((image.shape[0], image.shape[1]) for image in self.images)
        check_edges(self.edges, len(self.images))
        self.device = torch.device(device)
        self.pieces: list[list[tuple[int, int]]] = [[] for _ in self.images]  # per view: (edge number, side)
        self._slot: dict[tuple[int, int], int] = {}
        for number, edge in enumerate(self.edges):
            for side, view in enumerate(edge):
                self._slot[number, side] = len(self.pieces[view])
                self.pieces[view].append((number, side))
        pixels = [height * width for height, width in self.sizes]
        self.storage = PairStorage([len(p) for p in self.pieces], pixels, storage or StorageConfig(), device)
        self.mean_confidence = np.zeros((len(self.edges), 2), dtype=np.float32)
        self.image_confidence = [np.zeros(count, dtype=np.float32) for count in pixels]

    def __len__(self) -> int:
        return len(self.images)

    def put(self, number: int, prediction: PairPrediction) -> None:
        """Stores what is said about edge ``number``.

        Raises:
            InputError: shapes that are not those of the views, NaN, infinite values or negative confidences.
        """
        for side, view in enumerate(self.edges[number]):
            points, confidence = prediction.points[side].float(), prediction.confidence[side].float()
            size = self.sizes[view]
            if points.shape != (*size, 3) or confidence.shape != size:
                raise InputError(
                    f"pair {self.edges[number]}: points {tuple(points.shape)} and confidence "
                    f"{tuple(confidence.shape)} of view {view}, expected {(*size, 3)} and {size}"
                )
            _check_values(self.edges[number], view, points, confidence)
            flat = confidence.flatten()
            self.storage.write(view, self._slot[number, side], points.flatten(0, 1), flat)
            self.mean_confidence[number, side] = flat.mean().item()
            np.maximum(self.image_confidence[view], flat.cpu().numpy(), out=self.image_confidence[view])

    def points(self, number: int, side: int) -> Float[ndarray, "pixels 3"]:
        """Points of one side of an edge, in the camera frame of its first view."""
        return self._piece(number, side)[:3].T

    def confidence(self, number: int, side: int) -> Float[ndarray, " pixels"]:
        """Confidence of one side of an edge."""
        return self._piece(number, side)[3]

    def scores(self) -> Float[ndarray, " edges"]:
        """How sure the network is of every edge: the product of the mean confidences of both sides."""
        return self.mean_confidence[:, 0] * self.mean_confidence[:, 1]

    def _piece(self, number: int, side: int) -> ndarray:
        view, slot = self.edges[number][side], self._slot[number, side]
        return self.storage.read(view, slot, slot + 1)[0].cpu().numpy()


def check_edges(edges: Sequence[Edge], views: int) -> None:
    """Raises InputError where edges do not join all views (naming those left apart), repeat or are no views."""
    if views < 2 or not edges:
        raise InputError(f"{views} views and {len(edges)} pairs: expected at least two views and one pair")
    wrong = [edge for edge in edges if min(edge) < 0 or max(edge) >= views]
    if wrong:
        raise InputError(f"pair {wrong[0]}: expected numbers of views from 0 to {views - 1}")
    if len(set(edges)) < len(edges):
        raise InputError(f"pair {next(edge for edge in edges if edges.count(edge) > 1)}: occurs more than once")
    rows, columns = np.array(edges).T
    count, group = connected_components(coo_matrix((np.ones(len(edges)), (rows, columns)), (views, views)), False)
    if count > 1:
        apart = [np.flatnonzero(group == number).tolist() for number in range(count)]
        shown = "; ".join(", ".join(map(str, views[:8])) + (", ..." if len(views) > 8 else "") for views in apart[:4])
        raise InputError(
            f"the pairs leave the views in {count} groups that no pair joins ({shown}), expected one connected graph"
        )


def read_predictions(output: Mapping[str, Mapping[str, Any]]) -> Iterator[PairPrediction]:
    """The pairs in what `dust3r.inference.reconstruct_pairs` returned, one by one.

    Raises:
        InputError: entries are missing.
    """
    for part, name in (("view1", "idx"), ("view2", "idx"), ("pred1", "pts3d"), ("pred1", "conf")):
        if name not in output.get(part, {}):
            raise InputError(f"pair predictions: no {part}.{name}, expected the output of reconstruct_pairs")
    first, second = (_numbers(output[part]["idx"]) for part in ("view1", "view2"))
    points = _rows(output["pred1"]["pts3d"]), _rows(output["pred2"]["pts3d_in_other_view"])
    confidence = _rows(output["pred1"]["conf"]), _rows(output["pred2"]["conf"])
    counts = {len(first), len(second), *(len(rows) for rows in points + confidence)}
    if len(counts) != 1:
        raise InputError(f"pair predictions: {sorted(counts)} entries in different fields, expected one per pair")
    for row, edge in enumerate(zip(first, second, strict=True)):
        yield PairPrediction(edge, (points[0][row], points[1][row]), (confidence[0][row], confidence[1][row]))


def read_images(output: Mapping[str, Mapping[str, Any]]) -> list[UInt8[ndarray, "height width 3"]]:
    """The pictures of all views in what `reconstruct_pairs` returned.

    Raises:
        InputError: a view is in no pair.
    """
    found: dict[int, ndarray] = {}
    for part in ("view1", "view2"):
        for number, image in zip(_numbers(output[part]["idx"]), _rows(output[part]["img"]), strict=True):
            if number not in found:
                found[number] = to_uint8(image)
    missing = sorted(set(range(max(found, default=-1) + 1)) - set(found))
    if missing:
        raise InputError(f"view {missing[0]} is in no pair, expected all numbers from 0 to {max(found)}")
    return [found[number] for number in range(len(found))]


def to_uint8(image: Float[Tensor, "3 height width"]) -> UInt8[ndarray, "height width 3"]:
    """A picture from network input in -1..1."""
    scaled = (image.float().nan_to_num() * 0.5 + 0.5).clamp(0, 1) * 255
    return scaled.round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def _numbers(values: Any) -> list[int]:
    """View numbers of all pairs; lists within lists where pictures differ in size."""
    flat: list[int] = []
    for value in values:
        flat += [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return flat


def _rows(values: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """One tensor per pair."""
    return list(values) if isinstance(values, Tensor) else [row for value in values for row in value]


def _check_values(edge: Edge, view: int, points: Tensor, confidence: Tensor) -> None:
    broken = int((~(torch.isfinite(points).all(-1) & torch.isfinite(confidence))).sum())
    if broken:
        raise InputError(
            f"pair {edge}: {broken} pixels of view {view} are NaN or infinite, expected finite predictions"
        )
    if (confidence < 0).any():
        raise InputError(f"pair {edge}: negative confidences of view {view}, expected at least 0")
