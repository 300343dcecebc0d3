"""What goes into a room: groups that belong together, then extras, then small things and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qa_generation.synthetic.catalogue import BUILDERS
from qa_generation.synthetic.layout import Room
from qa_generation.synthetic.objects import flat
from qa_generation.synthetic.objects.item import Item
from qa_generation.synthetic.placement import Arrangement, Placed
from qa_generation.synthetic.shell import WINDOW_RECESS
from qa_generation.synthetic.style import Style, fabric_of, vary

# how often each kind of room is drawn, and the extra furniture that suits it
PROGRAMS: dict[str, tuple[str, ...]] = {
    "living": ("bookshelf", "cabinet", "plant", "floor lamp", "ottoman", "speaker", "basket", "dresser", "box"),
    "bedroom": ("wardrobe", "dresser", "armchair", "bench", "plant", "basket", "suitcase", "floor lamp", "box"),
    "office": ("bookshelf", "bookshelf", "cabinet", "bin", "plant", "box", "floor lamp", "stool", "desk"),
    "dining": ("cabinet", "stool", "stool", "plant", "bench", "bin", "dresser", "shelf", "armchair"),
    "studio": ("wardrobe", "bookshelf", "stool", "plant", "suitcase", "bin", "floor lamp", "box", "cabinet"),
}
# small things, drawn by weight for every support
SMALL = {
    "mug": 3, "bottle": 3, "books": 3, "vase": 2, "bowl": 2, "candle": 2, "plant": 2,
    "lamp": 1.5, "clock": 0, "box": 1, "laptop": 1, "speaker": 0.7, "fan": 0.8, "teddy bear": 1,
}  # fmt: skip
ON_FLOOR = (
    "box",
    "basket",
    "ball",
    "backpack",
    "bin",
    "suitcase",
    "plant",
    "stool",
    "teddy bear",
    "books",
    "floor lamp",
)
ON_SHELF = {"books": 7, "vase": 1.2, "box": 0.8, "bowl": 1, "plant": 1, "candle": 1, "teddy bear": 0.6, "speaker": 0.6}
AGAINST_WALL = frozenset(
    {"bookshelf", "cabinet", "dresser", "wardrobe", "desk", "bench", "floor lamp", "speaker", "suitcase"}
)


@dataclass(eq=False)
class Furnisher:
    """Fills one `Arrangement`; ``extra`` maps further categories to ready items (the user's meshes)."""

    arrangement: Arrangement
    style: Style
    rng: np.random.Generator
    extra: Mapping[str, Sequence[Item]]

    def build(self, name: str) -> Item:
        """A new item of that kind."""
        return BUILDERS[name](self.rng, self.style)

    def at_wall(self, name: str) -> int | None:
        return self.arrangement.place_at_wall(self.build(name))

    def free(self, name: str, gap: float = 0.15) -> int | None:
        return self.arrangement.place_free(self.build(name), gap=gap)

    def on(self, name: str, parent: int | None, yaw: float | None = None, level: int | None = None) -> int | None:
        if parent is None:
            return None
        return self.arrangement.place_on(self.build(name), parent, yaw=yaw, level=level)

    def furnish(self) -> None:
        """Everything, from the biggest to the smallest."""
        kind = str(self.rng.choice(list(PROGRAMS)))
        hang_openings(self.arrangement, self.style, self.rng)
        dress_windows(self.arrangement, self.style, self.rng)
        self.ceiling_lamps()
        groups = {
            "living": (self.sofa_group,), "bedroom": (self.bed_group,), "office": (self.desk_group, self.desk_group),
            "dining": (self.dining_group,), "studio": (self.bed_group, self.desk_group, self.dining_group),
        }  # fmt: skip
        for group in groups[kind]:
            group()
        if self.arrangement.room.area > 15:
            second = (self.dining_group, self.desk_group, self.sofa_group, self.bed_group)
            second[int(self.rng.integers(4))]()
        self.extras(PROGRAMS[kind])
        self.foreign()
        self.repeated()
        self.wall_things()
        self.small_things()

    def ceiling_lamps(self) -> None:
        room = self.arrangement.room
        for x0, y0, x1, y1 in sorted(room.rectangles, key=lambda r: -(r[2] - r[0]) * (r[3] - r[1]))[:1]:
            item = self.build("ceiling lamp")
            z = room.height - float(item.size[2]) - 0.001
            count = 2 if max(x1 - x0, y1 - y0) > 4.6 and self.rng.random() < 0.5 else 1
            for k in range(count):
                t = (k + 0.5) / count
                x, y = (x0 + t * (x1 - x0), (y0 + y1) / 2) if x1 - x0 > y1 - y0 else ((x0 + x1) / 2, y0 + t * (y1 - y0))
                self.arrangement.add(item, (float(x), float(y), z), 0.0)

    def sofa_group(self) -> None:
        """Sofa at a wall, rug and coffee table before it, armchairs about, a television somewhere."""
        sofa = self.at_wall("sofa")
        if sofa is not None:
            base, depth = self.arrangement.placed[sofa], self.arrangement.placed[sofa].item.size[1]
            rug, low = self.build("rug"), self.build("coffee table")
            parent, z = -1, 0.0
            x, y = base.to_room(0, depth / 2 + rug.size[1] / 2 + 0.05)
            if self.rng.random() < 0.7:
                found = self.arrangement.try_at(rug, x, y, base.yaw)
                parent, z = (found, 0.0085) if found is not None else (-1, 0.0)
            x, y = base.to_room(0, depth / 2 + low.size[1] / 2 + float(self.rng.uniform(0.3, 0.4)))
            self.arrangement.try_at(low, x, y, base.yaw, z, parent)
            for side in (-1, 1):
                if self.rng.random() < 0.5:
                    x, y = base.to_room(side * (base.item.size[0] / 2 + 0.3), depth / 2 + 0.7)
                    self.arrangement.try_at(self.build("armchair"), x, y, base.yaw + side * 1.3, gap=0.03)
            for _ in range(int(self.rng.integers(1, 5))):
                self.on("pillow", sofa, yaw=float(self.rng.uniform(-0.2, 0.2)))
        if self.rng.random() < 0.85:
            stand = self.at_wall("cabinet")
            self.on("tv", stand, yaw=0.0)

    def bed_group(self) -> None:
        """Bed with pillows, nightstands with lamps beside it."""
        bed = self.at_wall("bed")
        if bed is None:
            return
        base = self.arrangement.placed[bed]
        size = base.item.size
        for _ in range(1 if size[0] < 1.3 else 2):
            self.on("bed pillow", bed, yaw=0.0, level=0)
        for name in ("pillow", "teddy bear"):
            if self.rng.random() < 0.5:
                self.on(name, bed)
        for side in (-1, 1):
            stand = self.build("nightstand")
            x, y = base.to_room(side * (size[0] / 2 + stand.size[0] / 2 + 0.05), -size[1] / 2 + stand.size[1] / 2)
            index = self.arrangement.try_at(stand, x, y, base.yaw)
            if index is not None and self.rng.random() < 0.7:
                self.on("lamp", index)
        if self.rng.random() < 0.5:
            x, y = base.to_room(0, size[1] / 2 + 0.85)
            self.arrangement.try_at(self.build("rug"), x, y, base.yaw)

    def desk_group(self) -> None:
        """Desk at a wall, office chair before it, screens and a lamp on it."""
        desk = self.at_wall("desk")
        if desk is None:
            return
        base = self.arrangement.placed[desk]
        size = base.item.size
        for k in range(1 if self.rng.random() < 0.6 else 2):
            screen = self.build("monitor")
            x, y = base.to_room(float(self.rng.uniform(-0.1, 0.1)) + (k - 0.3) * 0.6, -size[1] / 2 + 0.18)
            self.arrangement.try_at(
                screen, x, y, base.yaw + float(self.rng.uniform(-0.15, 0.15)), float(size[2]) + 0.0005, desk
            )
        if self.rng.random() < 0.5:
            self.on("laptop", desk, yaw=float(self.rng.uniform(-0.3, 0.3)))
        if self.rng.random() < 0.6:
            self.on("lamp", desk)
        seat = self.build("office chair" if self.rng.random() < 0.75 else "chair")
        x, y = base.to_room(
            float(self.rng.uniform(-0.15, 0.15)), size[1] / 2 + seat.size[1] / 2 + float(self.rng.uniform(0.04, 0.25))
        )
        self.arrangement.try_at(seat, x, y, base.yaw + np.pi + float(self.rng.uniform(-0.5, 0.5)))
        if self.rng.random() < 0.5:
            self.at_wall("bin")

    def dining_group(self) -> None:
        """Table with two to six chairs of one kind around it."""
        table = self.arrangement.place_free(
            self.build("table"), gap=0.55, tries=30, yaw=float(self.rng.integers(2)) * np.pi / 2
        )
        if table is None:
            return
        base = self.arrangement.placed[table]
        x, y = base.item.size[0] / 2, base.item.size[1] / 2
        model = self.build("chair")
        across = [-0.25, 0.25] if x > 0.6 else [0.0]
        seats = [(cx * 2 * x, side * y, side) for side in (-1, 1) for cx in across]
        spots = [(cx, cy, np.pi if side > 0 else 0.0) for cx, cy, side in seats] + [
            (x, 0.0, np.pi / 2),
            (-x, 0.0, -np.pi / 2),
        ]
        wanted = int(self.rng.integers(2, len(spots) + 1))
        for k in self.rng.permutation(len(spots))[:wanted]:
            cx, cy, turn = spots[int(k)]
            away = model.size[1] / 2 + float(self.rng.uniform(0.03, 0.16))
            px, py = base.to_room(cx + np.sign(cx) * away * (cy == 0), cy + np.sign(cy) * away * (cy != 0))
            self.arrangement.try_at(model, px, py, base.yaw + turn + float(self.rng.normal(0, 0.12)))

    def extras(self, names: Sequence[str]) -> None:
        """Some further furniture of the kind the room asks for."""
        for name in self.rng.permutation(names)[: int(self.rng.integers(5, 10))]:
            if name == "shelf":
                self.arrangement.place_on_wall(self.build("shelf"), float(self.rng.uniform(1.2, 1.6)))
            elif name in AGAINST_WALL or self.rng.random() < 0.5:
                self.at_wall(str(name))
            else:
                self.free(str(name))

    def foreign(self) -> None:
        """One to three of every second category of the user's meshes."""
        for name in sorted(self.extra):
            if self.rng.random() < 0.3:
                continue
            for _ in range(int(self.rng.integers(1, 4))):
                models = self.extra[name]
                item = models[int(self.rng.integers(len(models)))]
                if max(item.size) > 0.7 or self._on_any(item) is None:
                    self.arrangement.place_free(item)

    def _on_any(self, item: Item) -> int | None:
        parents = [i for i, p in enumerate(self.arrangement.placed) if p.item.supports and p.position[2] < 0.3]
        for index in self.rng.permutation(parents)[:6]:
            found = self.arrangement.place_on(item, int(index))
            if found is not None:
                return found
        return None

    def repeated(self) -> None:
        """Two kinds of floor things that come in numbers, so that counting is worth asking."""
        for name in self.rng.choice(ON_FLOOR, size=3, replace=False):
            for _ in range(int(self.rng.integers(1, 5))):
                place = self.arrangement.place_at_wall if self.rng.random() < 0.5 else self.arrangement.place_free
                place(self.build(str(name)), gap=0.05)

    def wall_things(self) -> None:
        for _ in range(int(self.rng.integers(1, 6))):
            item = self.build("picture")
            self.arrangement.place_on_wall(item, 1.62 - float(item.size[2]) / 2 + float(self.rng.uniform(-0.1, 0.15)))
        for name, chance, z in (("mirror", 0.4, 0.85), ("clock", 0.5, 1.75), ("shelf", 0.3, 1.35)):
            if self.rng.random() < chance:
                self.arrangement.place_on_wall(self.build(name), z + float(self.rng.uniform(-0.1, 0.15)))

    def small_things(self) -> None:
        """Books and the like on shelves, mugs and the like on everything else."""
        favourite = str(self.rng.choice(["mug", "bottle", "books", "bowl", "candle", "vase"]))
        for index in range(len(self.arrangement.placed)):
            item = self.arrangement.placed[index].item
            name = item.category
            if name in ("bookshelf", "shelf"):
                for level in range(len(item.supports)):
                    for _ in range(int(self.rng.integers(0, 4))):
                        self.on(_draw(self.rng, ON_SHELF), index, yaw=float(self.rng.uniform(-0.06, 0.06)), level=level)
            elif name in ("table", "desk", "coffee table", "cabinet", "dresser", "nightstand"):
                for _ in range(int(self.rng.integers(1, 5 if name != "nightstand" else 3))):
                    self.on(favourite if self.rng.random() < 0.3 else _draw(self.rng, SMALL), index)
            elif name in ("bench", "stool", "ottoman", "bed", "armchair", "box") and self.rng.random() < 0.3:
                self.on(str(self.rng.choice(["books", "backpack", "teddy bear", "pillow", "ball"])), index)
            elif name == "rug":
                for _ in range(int(self.rng.integers(0, 3))):
                    self.on(str(self.rng.choice(["ball", "teddy bear", "basket", "ottoman", "books"])), index)


def hang_openings(arrangement: Arrangement, style: Style, rng: np.random.Generator) -> None:
    """Doors and windows in their openings."""
    for wall in arrangement.room.walls:
        for opening in wall.openings:
            width, height = opening.along[1] - opening.along[0], opening.z[1] - opening.z[0]
            middle = sum(opening.along) / 2
            if opening.kind == "door":
                item, proud, z = flat.door(rng, style, width, height), 0.05, 0.001
            else:
                item, proud = flat.window(rng, style, width, height, WINDOW_RECESS), 0.06
                z = opening.z[0] - 0.035
            at = wall.point(middle, proud - float(item.size[1]) / 2)
            arrangement.add(item, (float(at[0]), float(at[1]), z), wall.yaw)


def dress_windows(arrangement: Arrangement, style: Style, rng: np.random.Generator) -> None:
    """Curtains beside the windows and radiators below them, in some rooms."""
    curtains, radiators = rng.random() < 0.5, rng.random() < 0.4
    cloth, down = fabric_of(rng, style, 0.5), bool(rng.random() < 0.5)
    for wall in arrangement.room.walls:
        for opening in (o for o in wall.openings if o.kind == "window"):
            top = min(opening.z[1] + 0.13, arrangement.room.height - 0.03)
            low = 0.03 if down else opening.z[0] - 0.18
            for side, edge in ((-1, opening.along[0]), (1, opening.along[1])) if curtains else ():
                width = float(rng.uniform(0.24, 0.36))
                item = flat.curtain(rng, style, width, top - low, vary(rng, cloth, 0.01))
                at = wall.point(edge + side * (width / 2 - 0.03), 0.075 + float(item.size[1]) / 2)
                placed = Placed(item, (float(at[0]), float(at[1]), low), wall.yaw)
                if 0.02 < edge + side * (width - 0.03) < wall.length - 0.02 and arrangement.is_free(placed):
                    arrangement.add(item, placed.position, wall.yaw)
            if radiators:
                item = flat.radiator(rng, style)
                at = wall.point(sum(opening.along) / 2, float(item.size[1]) / 2 + 0.03)
                arrangement.try_at(item, float(at[0]), float(at[1]), wall.yaw)


def furnish(
    room: Room, style: Style, rng: np.random.Generator, extra: Mapping[str, Sequence[Item]] | None = None
) -> Arrangement:
    """The room filled with things that do not run into each other."""
    arrangement = Arrangement(room, rng)
    Furnisher(arrangement, style, rng, extra or {}).furnish()
    return arrangement


def _draw(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    p = np.array([weights[n] for n in names], dtype=np.float64)
    return str(rng.choice(names, p=p / p.sum()))
