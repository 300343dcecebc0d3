"""The contact sheet is one file that shows every family with its pictures, marks and answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qa_generation.errors import InputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.preview import pick_records, write_preview
from tests.qa_generation.rooms import RoomReader


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("preview")
    generate_dataset(RoomReader(root / "rooms", count=3), root / "out", GenerationConfig(per_type=10), workers=0)
    return root / "out"


def test_the_page_is_self_contained_and_the_same_every_time(out: Path):
    path = write_preview(out)
    page = path.read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="', page) and "http" not in page
    used = {int(number) for number in re.findall(r'class="picture i(\d+)"', page)}
    assert used == {int(number) for number in re.findall(r"\.i(\d+) \{ background-image", page)}
    assert write_preview(out).read_text(encoding="utf-8") == page


def test_every_card_marks_one_right_answer(out: Path):
    page = write_preview(out, number=48).read_text(encoding="utf-8")
    cards = page.split("<article>")[1:]
    assert 12 <= len(cards) <= 48
    for card in cards:
        assert card.count('<li class="right">') == 1
        assert 2 <= card.count("<figure") <= 5
    assert any('class="m target' in card for card in cards)
    assert any('class="p right"' in card for card in cards if "centre of its 2D box" in card)


def test_types_are_shown_equally_often(out: Path):
    types = [record.question_type for record in pick_records(out, seed=0, number=24)]
    assert max(types.count(t) for t in set(types)) <= 3 and types == sorted(types, key=types.index)


def test_a_category_name_cannot_inject_markup(out: Path, tmp_path: Path):
    from dataclasses import replace

    from qa_generation.shards import read_shard, write_shard

    source = next((out / "data" / "train").glob("*.parquet"))
    evil = [replace(record, question="<script>alert(1)</script>") for record in read_shard(source)][:3]
    write_shard(tmp_path / "data" / "train" / "a.parquet", evil, "x")
    (tmp_path / "images").symlink_to(out / "images")
    assert "<script>alert" not in write_preview(tmp_path).read_text(encoding="utf-8")


def test_nothing_to_show_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no questions found"):
        write_preview(tmp_path)
