"""ScanNet's label table for our categories: the official columns, with NYU40 classes for the words that have one."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

COLUMNS = (
    "id", "raw_category", "category", "count", "nyu40id", "eigen13id", "nyuClass", "nyu40class", "eigen13class",
    "ModelNet40", "ModelNet10", "ShapeNetCore55", "synsetoffset", "wnsynsetid", "wnsynsetkey", "mpcat40",
    "mpcat40index",
)  # fmt: skip

# the 40 class names of NYU-Depth v2 in the order of their ids, from 1
NYU40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
    "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes",
    "ceiling", "books", "refridgerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard",
    "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture",
    "otherprop",
)  # fmt: skip

# our words whose NYU40 class is called otherwise
NYU40_BY_WORD: Mapping[str, str] = {
    "armchair": "chair",
    "office chair": "chair",
    "stool": "chair",
    "couch": "sofa",
    "coffee table": "table",
    "dining table": "table",
    "side table": "table",
    "wardrobe": "cabinet",
    "shelf": "shelves",
    "nightstand": "night stand",
    "bedside table": "night stand",
    "tv": "television",
    "monitor": "television",
    "floor lamp": "lamp",
    "table lamp": "lamp",
    "desk lamp": "lamp",
    "ceiling lamp": "lamp",
    "book": "books",
    "backpack": "bag",
    "suitcase": "bag",
    "rug": "floor mat",
    "carpet": "floor mat",
    "cushion": "pillow",
    "bed pillow": "pillow",
    "painting": "picture",
    "refrigerator": "refridgerator",
    "fridge": "refridgerator",
    "bench": "otherfurniture",
    "ottoman": "otherfurniture",
}


def nyu40_class(category: str) -> str:
    """The NYU40 class of a category; what has none of its own is another prop."""
    word = category.lower()
    return word if word in NYU40 else NYU40_BY_WORD.get(word, "otherprop")


def write_label_table(path: Path, counts: Mapping[str, int]) -> None:
    """Writes the table for categories and how often each occurs; rows by falling count, ids from 1."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS, restval="", delimiter="\t", lineterminator="\n")
        table.writeheader()
        for number, (category, count) in enumerate(ordered, start=1):
            name = nyu40_class(category)
            table.writerow(
                {
                    "id": number,
                    "raw_category": category,
                    "category": category,
                    "count": count,
                    "nyu40id": NYU40.index(name) + 1,
                    "nyuClass": category,
                    "nyu40class": name,
                }
            )
