"""The page in a real browser, opened from disk: it lists, filters, sorts, searches and shows single records."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from qa_generation.browser.site import write_browser
from tests.qa_generation.question_set import record, write_set

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
EVIL = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    records = [record(n, bias_score=n / 20, occ_level="high" if n % 2 else "low") for n in range(15)]
    records.append(record(0, question_type="obj_attribute_occ_ab", target_category=EVIL, question=f"What is {EVIL}?"))
    distance = {"question_type": "obj_distance_occ_na", "options": (), "mc_answer": "", "unit": "m"}
    records.append(record(0, "room_1", ground_truth="2.3", answer_value=2.3149, **distance))
    out = write_set(root / "set", {"train/room_0": records[:-1], "test/room_1": records[-1:]})
    write_browser(out, root / "a folder with spaces")
    return root / "a folder with spaces"


@pytest.fixture
def dom(site: Path, tmp_path: Path):
    """The page's elements after its scripts have run, for an address' part behind ``#``."""

    def dump(fragment: dict[str, str] | None = None, page: str = "index.html") -> str:
        address = (site / page).as_uri() + "#" + urlencode(fragment or {})
        command = [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
        ]
        command += ["--virtual-time-budget=10000", "--dump-dom", address]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return dump


def ids(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<article data-id="([^"]*)"', html)]


def test_the_first_page_lists_twelve_and_tells_how_many_there_are(dom):
    html = dom()
    assert len(ids(html)) == 12 and "17 of 17 records" in html and "page 1 of 2" in html
    assert 'data-ready="yes"' in html and html.count('class="m target') >= 12
    assert re.search(r'src="pictures/[0-9a-f]{16}\.jpg" alt="Frame 2, the frame asked about"', html)


def test_filters_and_sorting_come_from_the_address(dom):
    html = dom({"type": "obj_existence_occ_lr", "occlusion": "high", "sort": "bias-down"})
    assert ids(html) == [f"synthetic.room_0.obj_existence_occ_lr.{n:03d}" for n in (13, 11, 9, 7, 5, 3, 1)]
    assert ids(dom({"min": "0.6", "sort": "bias-up"})) == [
        f"synthetic.room_0.obj_existence_occ_lr.{n:03d}" for n in (12, 13, 14)
    ]
    assert ids(dom({"split": "test"})) == ["synthetic.room_1.obj_distance_occ_na.000"]


def test_words_are_searched_in_questions(dom):
    assert ids(dom({"q": "left (7)"})) == ["synthetic.room_0.obj_existence_occ_lr.007"]
    html = dom({"q": "zebra"})
    assert ids(html) == [] and '<p id="empty">' in html


def test_a_permalink_shows_one_record_with_its_answer(dom):
    html = dom({"id": "synthetic.room_1.obj_distance_occ_na.000"})
    assert ids(html) == ["synthetic.room_1.obj_distance_occ_na.000"]
    assert "2.3 m" in html and "unrounded 2.3149" in html and "instance 4" in html


def test_hostile_names_stay_text(dom):
    html = dom({"type": "obj_attribute_occ_ab"})
    assert "<title>set - questions</title>" in html and "What is &lt;script&gt;" in html
    overview = dom(page="overview.html")
    assert "<title>set - overview</title>" in overview and "<script>document" not in overview
    assert "&lt;script&gt;" in overview  # among the categories, cut short
