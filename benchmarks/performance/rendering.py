"""What a rendered room costs, next to the bare casting of its rays in the same run.

    python -m benchmarks.performance.rendering --rooms 10 --views 20 --size 160x120

The ray caster is wrapped by one that counts its rays and CPU seconds, so total and bare time come from the same run and
other load on the machine matters little. "views" is the rendering of all views (shading, shadows, exposure and tone
included), "room" also plan, furniture, baked light and the search for views, "disk" the encoding and writing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Bool, Float32

from qa_generation.commands.synth import parse_size
from qa_generation.raycast import Nearest, RayCaster
from qa_generation.scene import Mesh
from qa_generation.synthetic.build import RoomConfig, build_scene
from qa_generation.writers.native import write_native_scene


class TimedCaster(RayCaster):
    """A ray caster that keeps count of its rays and CPU seconds."""

    rays, seconds = 0, 0.0

    def nearest(self, rays: Float32[np.ndarray, "*shape 6"]) -> Nearest:
        start = time.process_time()
        answer = super().nearest(rays)
        self._add(rays, start)
        return answer

    def blocked(
        self, rays: Float32[np.ndarray, "*shape 6"], far: float, near: float = 0.0
    ) -> Bool[np.ndarray, "*shape"]:
        start = time.process_time()
        answer = super().blocked(rays, far, near)
        self._add(rays, start)
        return answer

    def _add(self, rays: np.ndarray, start: float) -> None:
        self.seconds += time.process_time() - start
        self.rays += rays.size // 6


@dataclass(frozen=True)
class Cost:
    """CPU seconds and rays, summed over rooms."""

    room_s: float = 0.0
    room_rays_s: float = 0.0
    views_s: float = 0.0
    views_rays_s: float = 0.0
    views_rays: int = 0
    disk_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    @property
    def views_ratio(self) -> float:
        """Rendering of the views over the bare casting of their rays."""
        return self.views_s / self.views_rays_s

    @property
    def ratio(self) -> float:
        """Everything but the disk over the bare casting of all rays."""
        return (self.room_s + self.views_s) / (self.room_rays_s + self.views_rays_s)


def measure(index: int, config: RoomConfig, folder: Path) -> Cost:
    """What room ``index`` costs."""
    casters: list[TimedCaster] = []

    def timed(mesh: Mesh) -> TimedCaster:
        casters.append(TimedCaster.of_mesh(mesh))
        return casters[0]

    start = time.process_time()
    scene = build_scene(0, index, config, caster_of=timed)
    room_s = time.process_time() - start
    caster = casters[0]
    room_rays_s, rays = caster.seconds, caster.rays
    start = time.process_time()
    views = list(scene.views)
    views_s = time.process_time() - start
    views_rays_s, views_rays = caster.seconds - room_rays_s, caster.rays - rays
    start = time.process_time()
    write_native_scene(replace(scene, views=views), folder)
    return Cost(room_s, room_rays_s, views_s, views_rays_s, views_rays, time.process_time() - start)


def main(
    rooms: Annotated[int, typer.Option(min=1)] = 10,
    views: Annotated[int, typer.Option(min=2)] = 20,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT")] = "160x120",
    samples: Annotated[int, typer.Option(help="1 or 4")] = 1,
) -> None:
    """Prints CPU seconds per room and the ratios to bare ray casting."""
    config = RoomConfig(views, parse_size(size), samples)
    total = Cost()
    with TemporaryDirectory() as folder:
        measure(rooms, config, Path(folder))  # warm-up: imports, first allocations
        for index in range(rooms):
            total += measure(index, config, Path(folder))
    print(f"{rooms} rooms of {views} views, {size}, {samples} sample(s) per pixel; CPU seconds per room")
    print(f"  room   {total.room_s / rooms:.3f}   of it bare ray casting {total.room_rays_s / rooms:.3f}")
    print(f"  views  {total.views_s / rooms:.3f}   of it bare ray casting {total.views_rays_s / rooms:.3f}")
    print(f"  disk   {total.disk_s / rooms:.3f}")
    print(f"  all    {(total.room_s + total.views_s + total.disk_s) / rooms:.3f}")
    print(f"rays of the views: {total.views_rays / rooms / 1e6:.2f} million per room")
    print(f"views / bare rays: {total.views_ratio:.2f}   room and views / bare rays: {total.ratio:.2f}")


if __name__ == "__main__":
    typer.run(main)
