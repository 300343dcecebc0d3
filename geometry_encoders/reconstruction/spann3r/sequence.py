"""One pass over a sequence of frames: what is carried from step to step, and what a step does (arXiv:2408.16061)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from geometry_encoders.reconstruction.dust3r.orientation import Pointmap

if TYPE_CHECKING:
    from geometry_encoders.reconstruction.spann3r.memory import SpatialMemory
    from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel

Tokens = Float[Tensor, "batch tokens channels"]
Positions = Int[Tensor, "batch tokens 2"]
Layers = list[Tokens]


@dataclass
class Step:
    """One pair of frames decoded: what the heads read for the reference (1) and for the target (2).

    Attributes:
        fused: the reference's tokens with what the memory added to them.
    """

    fused: Tokens
    layers1: Layers
    layers2: Layers


class SequencePass:
    """The state between two steps: the memory, the reference frame, and the query that stands for it.

    A step decodes the reference and a target frame; afterwards the target becomes the reference. Used for streams,
    for whole sequences, offline search and training alike.
    """

    def __init__(self, model: Spann3rModel, memory: SpatialMemory, shape: tuple[int, int]) -> None:
        self.model = model
        self.memory = memory
        self.shape = shape
        self.reference: Tokens | None = None
        self.query: Tokens | None = None

    def start(self, tokens: Tokens) -> None:
        """Makes a first frame, given by its encoder tokens, the reference."""
        self.reference, self.query = tokens, None

    def fuse(self) -> Tokens:
        """The reference's tokens as the memory changes them; its own while nothing is stored."""
        assert self.reference is not None, "start() comes first"
        return self.reference if self.query is None else self.memory.read(self.query)

    def decode(self, fused: Tokens, target: Tokens, positions: Positions) -> Step:
        """Decodes the fused reference against a target frame."""
        return Step(fused, *self.model.dust3r.decode(fused, positions, target, positions))

    def reference_pointmap(self, step: Step) -> Pointmap:
        """Points and confidence of the reference in the frame of the sequence's first camera."""
        return self.model.dust3r.pointmap(1, step.layers1, self.shape)

    def target_pointmap(self, step: Step) -> Pointmap:
        """The same of the target, a first guess that its own step as reference replaces."""
        return self.model.dust3r.pointmap(2, step.layers2, self.shape)

    def remember(self, step: Step, points: Float[Tensor, "batch height width 3"]) -> None:
        """Offers the reference, with its points, to the memory."""
        assert self.reference is not None, "start() comes first"
        keys = self.model.memory_keys(self.reference, step.layers1[-1])
        self.memory.insert(keys, self.model.memory_values(points) + keys)

    def advance(self, step: Step, target: Tokens) -> None:
        """Makes the target the reference of the next step."""
        self.query = self.model.memory_queries(target, step.layers2[-1])
        self.reference = target

    def follow(self, target: Tokens, positions: Positions, last: bool = False) -> tuple[Step, Pointmap]:
        """A whole step to the next frame, and the reference's pointmap; ``last`` leaves the memory as it is."""
        step = self.decode(self.fuse(), target, positions)
        points, confidence = self.reference_pointmap(step)
        if not last:
            self.remember(step, points)
            self.advance(step, target)
        return step, (points, confidence)
