"""From the options of the command to the methods whose rows the table has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.reconstruction.baselines import BASELINES, ConstantDepth
from benchmarks.reconstruction.evaluate import Reconstructor
from qa_generation.errors import InputError

if TYPE_CHECKING:
    from geometry_encoders.reconstruction import Dust3rModel, Spann3rModel

PUBLISHED_MEMORY_TOKENS = 4000
BASELINE_IMAGE_PX = 224


@dataclass(frozen=True)
class MethodOptions:
    """What can be asked for besides the encoder.

    Attributes:
        order: ``online`` or ``offline``, of Spann3R.
        memory: changed settings of Spann3R's memory.
        ablations: run all ablations too.
        global_alignment: align DUSt3R's pairs globally.
        scene_graph: which pairs, see `dust3r.pairs.make_pairs`.
        baseline: add a row of the constant depth.
        compat: behave like the published programs.
    """

    order: str = "online"
    memory: Mapping[str, Any] | None = None
    ablations: bool = False
    global_alignment: bool = False
    scene_graph: str = "complete"
    baseline: bool = True
    compat: bool = False


@dataclass(frozen=True)
class Methods:
    """The rows of the table, and what identifies them in a resumed run."""

    rows: tuple[Reconstructor, ...]
    facts: Mapping[str, Any]
    image_px: int


def ablations(memory: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by name, after table 3 of Spann3R's paper: parts of the memory taken away, and smaller memories."""
    tokens = int(memory.get("long_mem_tokens", PUBLISHED_MEMORY_TOKENS))
    changes: dict[str, dict[str, Any]] = {
        "no long-term memory": {"long_mem_tokens": 0},
        "no clipping": {"attention_threshold": 0.0},
        "no similarity check": {"similarity_threshold": 1.0},
    }
    for part in (2, 4, 16):
        if tokens // part:
            changes[f"{tokens // part} memory tokens"] = {"long_mem_tokens": tokens // part}
    return {name: dict(memory) | change for name, change in changes.items()}


def build_methods(encoder: str, options: MethodOptions, image_px: int | None, device: str | None) -> Methods:
    """The methods of an encoder name, file or folder, or of a baseline.

    Args:
        encoder: see `geometry_encoders.loading.load_encoder`; or ``constant-depth``, ``ground-truth``.
        options: what to run.
        image_px: side of the pictures; None = what the encoder was trained at.
        device: e.g. ``cuda``; None = the first GPU, else the CPU.

    Raises:
        InputError: there is no such encoder, or it cannot do what the options ask for.
    """
    if encoder in BASELINES:
        _refuse(options, encoder, spann3r=True, dust3r=True)
        size = image_px or BASELINE_IMAGE_PX
        return Methods((BASELINES[encoder](size),), {"encoder": encoder}, size)
    from benchmarks.reconstruction.encoders import trained_image_px, weights_digest
    from geometry_encoders.loading import load_encoder

    model = load_encoder(encoder, device)
    size = image_px or trained_image_px(model)
    if size % model.patch_size:
        raise InputError(f"--size is {size}, expected a multiple of {model.patch_size}")
    rows = [*_encoder_rows(model, encoder, options, size)]
    if options.baseline:
        rows.append(ConstantDepth(size))
    facts = {"encoder": type(model).__name__, "weights": weights_digest(model), "methods": [row.name for row in rows]}
    return Methods(tuple(rows), facts, size)


def _encoder_rows(
    model: Dust3rModel | Spann3rModel, encoder: str, options: MethodOptions, size: int
) -> list[Reconstructor]:
    from benchmarks.reconstruction.encoders import AlignedReconstructor, AnchoredReconstructor, Spann3rReconstructor
    from geometry_encoders.reconstruction import Spann3rModel

    if isinstance(model, Spann3rModel):
        _refuse(options, f"{encoder} (Spann3R)", dust3r=True)
        base = dict(options.memory or {}) | ({"compat": True} if options.compat else {})
        model.memory_options(base)  # so that a wrong option is told before frames are read
        variants = {"spann3r": base} | (ablations(base) if options.ablations else {})
        order: Any = options.order
        return [Spann3rReconstructor(name, model, size, order, memory) for name, memory in variants.items()]
    _refuse(options, f"{encoder} (DUSt3R)", spann3r=True)
    if options.global_alignment:
        name = f"dust3r, global alignment ({options.scene_graph})"
        return [AlignedReconstructor(name, model, size, options.scene_graph, options.compat)]
    return [AnchoredReconstructor("dust3r, anchored pairs", model, size)]


def _refuse(options: MethodOptions, what: str, spann3r: bool = False, dust3r: bool = False) -> None:
    """Raises `InputError` for options of another kind of encoder, which would otherwise be without effect."""
    if spann3r:
        for asked, name in (
            (options.ablations, "--ablations"),
            (bool(options.memory), "memory options"),
            (options.order != "online", f"--order {options.order}"),
        ):
            if asked:
                raise InputError(f"{name} with {what}: expected a Spann3R, only that has a memory")
    if dust3r and options.global_alignment:
        raise InputError(f"--global-alignment with {what}: expected a DUSt3R, whose pairs it aligns")
