"""From a seed to a whole room: plan, furniture, surface, cameras, light, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from qa_generation.raycast import RayCaster
from qa_generation.scene import Instance, Mesh
from qa_generation.seeding import generator
from qa_generation.synthetic.cameras import draw_views
from qa_generation.synthetic.content import RenderedView, SyntheticScene
from qa_generation.synthetic.furnish import furnish
from qa_generation.synthetic.layout import draw_room
from qa_generation.synthetic.lighting import draw_lighting
from qa_generation.synthetic.loose import scatter
from qa_generation.synthetic.objects.item import Item
from qa_generation.synthetic.placement import Arrangement
from qa_generation.synthetic.render import Renderer
from qa_generation.synthetic.shell import build_shell
from qa_generation.synthetic.style import draw_style
from qa_generation.synthetic.surface import Surface, join


@dataclass(frozen=True)
class RoomConfig:
    """What one set of rooms has in common.

    Attributes:
        views: views per room.
        size: (width, height) of the pictures, pixels.
        samples: 1, or 4 for smooth edges.
        loose: things that lie about at heights and of sizes that their names do not promise, at most.
    """

    views: int = 24
    size: tuple[int, int] = (640, 480)
    samples: int = 1
    loose: int = 16


def scene_name(seed: int, index: int) -> str:
    """Id of room ``index`` of a seed."""
    return f"room_{seed}_{index:05d}"


def scene_rng(seed: int, index: int) -> np.random.Generator:
    """The generator that decides everything about one room."""
    return generator(seed, "synthetic room", str(index))


def build_scene(
    seed: int,
    index: int,
    config: RoomConfig,
    extra: Mapping[str, Sequence[Item]] | None = None,
    caster_of: Callable[[Mesh], RayCaster] = RayCaster.of_mesh,
) -> SyntheticScene:
    """Room ``index`` of ``seed``, its views rendered when asked for.

    Args:
        extra: further categories and their ready items.
        caster_of: makes the ray caster; to be replaced where rays are counted or timed.
    """
    rng = scene_rng(seed, index)
    style, room = draw_style(rng), draw_room(rng)
    arrangement = furnish(room, style, rng, extra)
    scatter(arrangement, style, rng, config.loose)
    surface, mesh = _mesh(arrangement, build_shell(room, style, rng))
    caster = caster_of(mesh)
    lighting = draw_lighting(arrangement, rng)
    intrinsics, poses = draw_views(arrangement, caster, mesh.triangle_instances, config.views, config.size, rng)
    renderer = Renderer(mesh, surface.colors, surface.normals, surface.glow, lighting, caster)
    renderer.expose(intrinsics, poses, config.size)
    instances = {
        i: Instance(i, placed.item.category, placed.obb) for i, placed in enumerate(arrangement.placed, start=1)
    }
    views = LazyViews(renderer, intrinsics, poses, config)
    return SyntheticScene(scene_name(seed, index), seed, mesh, instances, views)


def _mesh(arrangement: Arrangement, shell: Surface) -> tuple[Surface, Mesh]:
    """Shell and furniture as one surface; furniture carries ids 1, 2, ... in the order it was placed."""
    parts = [shell, *(p.surface for p in arrangement.placed)]
    surface = join(parts)
    ids = np.repeat(np.arange(len(parts)), [len(p.triangles) for p in parts])
    mesh = Mesh(
        vertices=surface.vertices.astype(np.float32),
        triangles=surface.triangles.astype(np.int32),
        triangle_instances=ids.astype(np.int32),
        vertex_colors=np.round(255 * np.clip(surface.colors, 0, 1)).astype(np.uint8),
    )
    return surface, mesh


class LazyViews(Sequence[RenderedView]):
    """The views of a room, each rendered when it is asked for."""

    def __init__(
        self,
        renderer: Renderer,
        intrinsics: Float64[np.ndarray, "3 3"],
        poses: Sequence[Float64[np.ndarray, "4 4"]],
        config: RoomConfig,
    ) -> None:
        self._renderer, self._intrinsics, self._poses, self._config = renderer, intrinsics, poses, config

    def __len__(self) -> int:
        return len(self._poses)

    def __getitem__(self, index: int) -> RenderedView:  # type: ignore[override]
        pose = self._poses[index]
        name = f"frame_{range(len(self))[index]:06d}"
        rgb, depth, instance = self._renderer.render(self._intrinsics, pose, self._config.size, self._config.samples)
        return RenderedView(name, self._intrinsics, pose, self._config.size, rgb, depth, instance)


__all__ = ["LazyViews", "RenderedView", "RoomConfig", "SyntheticScene", "build_scene", "scene_name", "scene_rng"]
