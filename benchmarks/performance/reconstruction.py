"""How fast Spann3R runs by default, next to a straightforward float32 pass, and whether its memory stays flat.

    python -m benchmarks.performance.reconstruction speed --frames 6 --rounds 3
    python -m benchmarks.performance.reconstruction memory --frames 1000

``speed`` takes the published size (ViT-L, 659 M parameters) with random weights at 224 x 224. The straightforward side
does what the published program does: float32, one frame at a time through the encoder, attention written out, both
heads at every step. The default side is `Spann3rModel.reconstruct`. Both alternate in one process and count CPU
seconds, so that other load on the machine matters little; a third line gives the default pass in float32, to tell what
comes from 16 bits and what from the order of work. Every frame is stored, as where each shows something new.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import psutil
import torch
import typer
from jaxtyping import Float
from torch import Tensor

from geometry_encoders.reconstruction.dust3r.linear_head import LinearHead
from geometry_encoders.reconstruction.low_precision import shared_copy
from geometry_encoders.reconstruction.spann3r import Spann3rConfig, Spann3rModel, spann3r_tiny_config
from geometry_encoders.reconstruction.spann3r.presets import PRESETS

STORE_ALL = 1.0  # similarity threshold
CALM_HEAD = 0.15  # random heads give points at e^20 metres unless their last layer is small
MIB = 2**20

app = typer.Typer(help=__doc__.splitlines()[0] if __doc__ else None, no_args_is_help=True)


@dataclass(frozen=True)
class Side:
    """One way to run a sequence: CPU and wall seconds per frame, and its points."""

    cpu_s: list[float]
    wall_s: list[float]
    points: Float[np.ndarray, "views height width 3"]


def random_model(config: Spann3rConfig) -> Spann3rModel:
    """A network with random weights whose points are a few units away."""
    torch.manual_seed(0)
    model = Spann3rModel(config).eval().requires_grad_(False)
    for head in (model.dust3r.downstream_head1, model.dust3r.downstream_head2):
        last = head.proj if isinstance(head, LinearHead) else head.dpt.head[-1]
        last.weight.mul_(CALM_HEAD)
    return model


def noise(views: int, side: int) -> Float[Tensor, "views 3 side side"]:
    """Smooth random pictures in -1..1."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(views, 3, 8, 8, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


@torch.inference_mode()
def straightforward(model: Spann3rModel, frames: Float[Tensor, "views 3 side side"]) -> Float[np.ndarray, "..."]:
    """Frame by frame in float32, both heads every time, as the published program works."""
    options = model.memory_options({"similarity_threshold": STORE_ALL, "compat": True})
    run = model.new_pass((frames.shape[-2], frames.shape[-1]), options)
    points = []
    for view in range(len(frames)):
        tokens, positions = model.dust3r.encode(frames[view : view + 1])
        if view == 0:
            run.start(tokens)
            continue
        step, pointmap = run.follow(tokens, positions)
        last = run.target_pointmap(step)
        points.append(pointmap[0][0].numpy())
    return np.stack([*points, last[0][0].numpy()])


def alternate(
    sides: dict[str, Callable[[], Float[np.ndarray, "..."]]], views: int, rounds: int, warm_up: int
) -> dict[str, Side]:
    """All sides, one after the other, ``rounds`` times after some unmeasured ones."""
    result = {name: Side([], [], np.empty(0)) for name in sides}
    for number in range(warm_up + rounds):
        for name, run in sides.items():
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            points = run()
            if number >= warm_up:
                result[name].cpu_s.append((time.process_time() - cpu_s) / views)
                result[name].wall_s.append((time.perf_counter() - wall_s) / views)
            result[name] = replace(result[name], points=points)
    return result


def relative_error(points: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Median and 95th percentile over pixels of the distance to the expected point, by that point's own distance."""
    error = np.linalg.norm(points - expected, axis=-1) / np.linalg.norm(expected, axis=-1).clip(min=1e-8)
    return float(np.median(error)), float(np.quantile(error, 0.95))


@app.command()
def speed(
    frames: Annotated[int, typer.Option(help="Frames of the sequence.")] = 6,
    rounds: Annotated[int, typer.Option(help="Measured runs of each side.")] = 3,
    warm_up: Annotated[int, typer.Option(help="Unmeasured runs of each side.")] = 1,
    side: Annotated[int, typer.Option(help="Side of the square frames, pixels.")] = 224,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")] = "vitl",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    dtype: Annotated[str, typer.Option(help="Number type of the default side: auto, bfloat16, float16.")] = "auto",
) -> None:
    """Print CPU seconds per frame of each side, their ratio, and the error that 16 bits cost.

    Example: python -m benchmarks.performance.reconstruction speed --frames 6 --rounds 3
    """
    torch.set_num_threads(threads)
    pictures = noise(frames, side)
    model = random_model(PRESETS[preset]())
    plain = model.for_inference("float32")
    fast = model.for_inference(dtype)  # built before measuring
    print(
        f"{preset}, {sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters, {frames} frames of {side} px"
    )
    written_out = eager_copy(plain)
    sides = {
        "straightforward float32": lambda: straightforward(written_out, pictures),
        "default pass in float32": lambda: default_pass(model, pictures, "float32"),
        f"default ({'16 bit' if fast is not model else 'float32'})": lambda: default_pass(model, pictures, dtype),
    }
    result = alternate(sides, frames, rounds, warm_up)
    baseline = next(iter(result.values()))
    print(f"{'':26}{'CPU s/frame':>12}{'wall s/frame':>14}{'speed':>8}{'median error':>14}{'95 %':>10}")
    for name, each in result.items():
        ratio = statistics.median(a / b for a, b in zip(baseline.cpu_s, each.cpu_s, strict=True))
        median, high = relative_error(each.points, baseline.points)
        print(
            f"{name:26}{statistics.median(each.cpu_s):12.3f}{statistics.median(each.wall_s):14.3f}{ratio:7.2f}x"
            f"{median:14.2e}{high:10.2e}"
        )


def eager_copy(model: Spann3rModel) -> Spann3rModel:
    """The same weights with attention written out instead of fused."""
    copy = shared_copy(model)
    copy.set_attn_implementation("eager")
    return copy


def default_pass(
    model: Spann3rModel, frames: Float[Tensor, "views 3 side side"], dtype: str
) -> Float[np.ndarray, "..."]:
    """What a user gets from `reconstruct`, every frame stored."""
    return model.reconstruct(frames, dtype=dtype, similarity_threshold=STORE_ALL).pointmaps


@app.command()
def memory(
    frames: Annotated[int, typer.Option(help="Frames pushed into the stream.")] = 1000,
    side: Annotated[int, typer.Option(help="Side of the square frames, pixels.")] = 224,
    samples: Annotated[int, typer.Option(help="Lines to print.")] = 10,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Print resident memory along a stream of a small network (tiny preset) with the published memory settings.

    The number of tokens per frame and the settings of the memory are those of the published model at 224 x 224, only
    the network is narrow. Every frame is new to the memory, which is the worst case.

    Example: python -m benchmarks.performance.reconstruction memory --frames 1000
    """
    torch.set_num_threads(threads)
    model = random_model(spann3r_tiny_config())
    print(f"tiny network ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters), {side} px")
    print(f"{'frame':>7}{'tokens':>9}{'frames in memory':>18}{'resident MiB':>14}")
    resident = []
    for number, tokens, held, mib in stream_memory(model, frames, side):
        resident.append(mib)
        if number % max(frames // samples, 1) == 0:
            print(f"{number:7}{tokens:9}{held:18}{mib:14.1f}")
    settled = resident[len(resident) // 10 :]
    print(f"after the first tenth: {min(settled):.1f} to {max(settled):.1f} MiB")


def stream_memory(model: Spann3rModel, frames: int, side: int) -> Iterator[tuple[int, int, int, float]]:
    """(frames so far, tokens stored, frames in memory, resident MiB) after each push."""
    process, stream = psutil.Process(), model.stream(similarity_threshold=STORE_ALL)
    bank = noise(16, side)
    for number in range(frames):
        shift = number // len(bank)
        stream.push(bank[number % len(bank)].roll(shift, dims=-1))
        yield number + 1, stream.tokens_in_memory, stream.frames_in_memory, process.memory_info().rss / MIB


if __name__ == "__main__":
    app()
