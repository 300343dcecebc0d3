"""Methods that complete windows, compared over many windows by the measures of `metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.retrieval.metrics import SAMPLES, MeshMetrics, SurfaceSamples, compare_surfaces
from geometry_encoders.retrieval.scale import GridScale
from geometry_encoders.retrieval.surfaces import extract_surface

COLUMNS = ("iou", "chamfer", "f1", "normal_consistency")


def window_surface(
    distance: Float[Tensor, "64 64 64"], scale: GridScale, samples: int = SAMPLES, seed: int = 0
) -> SurfaceSamples | None:
    """The surface of a window in voxel units, ready to be compared; None where the window shows none."""
    mesh = extract_surface(distance.numpy(), scale.occupied)
    return SurfaceSamples.of(mesh, samples, seed) if len(mesh.triangles) else None


@dataclass
class Tally:
    """The figures of one method over windows; lengths in the unit of the scale.

    Attributes:
        rows: per window with a predicted surface, by its name.
        without_surface: windows in which the method found nothing although there is something.
    """

    scale: GridScale
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    without_surface: list[str] = field(default_factory=list)

    def add(self, window: str, predicted: SurfaceSamples | None, true: SurfaceSamples) -> MeshMetrics | None:
        """Compares one window; returns its measures."""
        if predicted is None:
            self.without_surface.append(window)
            return None
        found = compare_surfaces(predicted, true)
        self.rows[window] = found.to_json(self.scale.voxel)
        return found

    def means(self) -> dict[str, float]:
        """The mean of each figure over windows.

        A window without a predicted surface counts as 0 in IoU and F1; the Chamfer distance and the normals leave it
        out, as the published evaluation leaves out failures altogether. An undefined F1 counts as 0 too.
        """
        missing = [0.0] * len(self.without_surface)
        figures: dict[str, float] = {}
        for column in COLUMNS:
            values = [row[column] for row in self.rows.values()]
            if column in ("iou", "f1"):
                values = [0.0 if np.isnan(value) else value for value in values] + missing
            figures[column] = float(np.mean(values)) if values else float("nan")
        return figures
