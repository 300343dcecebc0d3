"""Names of the object categories and the builders behind them."""

from __future__ import annotations

from qa_generation.synthetic.objects import devices, flat, seating, small, storage, tables
from qa_generation.synthetic.objects.item import Builder

# a key is what the furnisher asks for; the category of the result may be shared (two kinds of pillow)
BUILDERS: dict[str, Builder] = {
    "chair": seating.chair,
    "office chair": seating.office_chair,
    "armchair": seating.armchair,
    "sofa": seating.sofa,
    "stool": seating.stool,
    "bench": seating.bench,
    "ottoman": seating.ottoman,
    "table": tables.table,
    "coffee table": tables.coffee_table,
    "desk": tables.desk,
    "bed": tables.bed,
    "nightstand": storage.nightstand,
    "wardrobe": storage.wardrobe,
    "dresser": storage.dresser,
    "cabinet": storage.cabinet,
    "bookshelf": storage.bookshelf,
    "shelf": storage.shelf,
    "box": storage.box,
    "basket": storage.basket,
    "bin": storage.bin_,
    "suitcase": storage.suitcase,
    "lamp": devices.lamp,
    "floor lamp": devices.floor_lamp,
    "ceiling lamp": devices.ceiling_lamp,
    "tv": devices.tv,
    "monitor": devices.monitor,
    "laptop": devices.laptop,
    "clock": devices.clock,
    "speaker": devices.speaker,
    "fan": devices.fan,
    "mug": small.mug,
    "bottle": small.bottle,
    "vase": small.vase,
    "bowl": small.bowl,
    "books": small.books,
    "candle": small.candle,
    "plant": small.plant,
    "pillow": small.cushion,
    "bed pillow": small.bed_pillow,
    "ball": small.toy_ball,
    "teddy bear": small.teddy_bear,
    "backpack": small.backpack,
    "picture": flat.picture,
    "mirror": flat.mirror,
    "rug": flat.rug,
    "radiator": flat.radiator,
}

# what the room itself brings along
OPENINGS = ("door", "window", "curtain")
