"""What a person meets at `spatialvlm ask` before and after the model runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from geometry_encoders.errors import InputError
from spatialvlm.ask import check_request, question_with_options
from spatialvlm.thought import Answer, split_thought


def test_thought_and_answer_are_told_apart() -> None:
    assert split_thought("<think>4 chairs</think>B") == Answer("B", "4 chairs")
    assert split_thought("B\n") == Answer("B")
    assert split_thought("<think>never ends") == Answer("", "never ends")
    assert split_thought("the template opened it</think> 4") == Answer("4", "the template opened it")


def test_options_are_lettered_in_the_published_form() -> None:
    text = question_with_options("How many?", ["1", "2"])
    assert text.splitlines()[1:5] == ["How many?", "Options:", "A. 1", "B. 2"]
    assert "Options" not in question_with_options("How many?", [])


@pytest.mark.parametrize(
    ("photos", "question", "options", "message"),
    [
        (0, "q", [], "0 photos given, expected 1 to 5"),
        (9, "q", [], "9 photos given, expected 1 to 5"),
        (2, " ", [], "--question is empty"),
        (2, "q", ["yes"], "one --option given"),
    ],
)
def test_impossible_requests(photos: int, question: str, options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_request(photos, question, options)


def run_ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spatialvlm.cli", "ask", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_command_says_one_sentence_and_fails(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (32, 24)).save(photo)
    empty = tmp_path / "model"
    empty.mkdir()
    for arguments, expected in [
        (["tiny", "--question", "q"], "0 photos"),
        (["tiny", *[str(photo)] * 9, "--question", "q"], "9 photos"),
        (["tiny", str(tmp_path / "none.jpg"), "--question", "q"], "none.jpg: no such file"),
        ([str(empty), str(photo), "--question", "q"], "model"),
    ]:
        done = run_ask(*arguments)
        assert done.returncode != 0
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
