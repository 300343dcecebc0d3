"""Frames one at a time, for ever: one in, one pointmap out, memory bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.errors import InputError
from geometry_encoders.interface import GeometryOutput
from geometry_encoders.reconstruction.dust3r.orientation import Pointmap
from geometry_encoders.reconstruction.spann3r.frames import check_frames
from geometry_encoders.reconstruction.spann3r.memory_options import MemoryConfig
from geometry_encoders.reconstruction.spann3r.sequence import SequencePass

if TYPE_CHECKING:
    from geometry_encoders.reconstruction.spann3r.modeling_spann3r import Spann3rModel


class Spann3rStream:
    """A running reconstruction: `push` takes the next frame and says at once where its points are.

    Everything is in the frame of the first camera. The answer to a push is the second head's view of the new frame;
    the frame after it improves on that, see `settled`. The first frame, when nothing else is known, is paired with
    itself. Several sequences of one size can run side by side on the batch axis, they do not see each other.

    Attributes:
        settled: the final result of the frame before the last one pushed (what `reconstruct` returns for it), else
            None.
        frames_seen: frames pushed so far.
    """

    def __init__(self, model: Spann3rModel, options: MemoryConfig) -> None:
        self.model = model
        self.settled: GeometryOutput | None = None
        self.frames_seen = 0
        self._options = options
        self._pass: SequencePass | None = None
        self._batch = 0
        self._target_tokens: Tensor | None = None  # of the last frame, as a target

    @property
    def frames_in_memory(self) -> int:
        """Frames of which the memory still holds something, the most of any sample."""
        return 0 if self._pass is None else max(self._pass.memory.frames(), default=0)

    @property
    def tokens_in_memory(self) -> int:
        """Tokens stored, the most of any sample; never above ``long_mem_tokens`` and the working frames plus one."""
        if self._pass is None or self._pass.memory.is_empty:
            return 0
        return int(self._pass.memory.counts.max())

    @torch.inference_mode()
    def push(self, frame: Float[Tensor, "batch 3 height width"] | Float[Tensor, "3 height width"]) -> GeometryOutput:
        """Points, confidence and tokens of the frame, as (batch, 1, ...); see `encode_views` for the tokens.

        Raises:
            InputError: sides that are no multiples of the patch size, values that are not finite, or another shape
                than the first frame's.
        """
        frame = frame.unsqueeze(0) if frame.ndim == 3 else frame
        check_frames(frame, self.model.patch_size)
        shape = (frame.shape[-2], frame.shape[-1])
        if self._pass is None:
            self._pass, self._batch = self.model.new_pass(shape, self._options), len(frame)
        elif (shape, len(frame)) != (self._pass.shape, self._batch):
            raise InputError(
                f"{len(frame)} frames of {shape[0]} x {shape[1]} pixels, expected {self._batch} of "
                f"{self._pass.shape[0]} x {self._pass.shape[1]} as at the start of the stream"
            )
        tokens, positions = self.model.dust3r.encode(frame.to(self.model.device))
        self.frames_seen += 1
        if self._pass.reference is None:
            self._pass.start(tokens)
            step = self._pass.decode(tokens, tokens, positions)
            return self._output(step.layers1[-1], step.layers1[-1], self._pass.reference_pointmap(step))
        step, pointmap = self._pass.follow(tokens, positions)
        seen_as = step.layers1[-1] if self._target_tokens is None else self._target_tokens
        self.settled = self._output(step.layers1[-1], seen_as, pointmap)
        self._target_tokens = step.layers2[-1]
        return self._output(step.layers2[-1], step.layers2[-1], self._pass.target_pointmap(step))

    def _output(self, patch_tokens: Tensor, camera_tokens: Tensor, pointmap: Pointmap) -> GeometryOutput:
        assert self._pass is not None
        size = self.model.patch_size
        return GeometryOutput(
            pointmaps=pointmap[0].unsqueeze(1),
            confidence=pointmap[1].unsqueeze(1),
            patch_tokens=patch_tokens.unsqueeze(1),
            camera_tokens=camera_tokens.mean(dim=1, keepdim=True).unsqueeze(1),
            grid=(self._pass.shape[0] // size, self._pass.shape[1] // size),
        )
