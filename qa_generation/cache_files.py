"""Small files that carry outcomes to the next run: surveys, why a scene gave nothing, what a blind plan found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qa_generation.name_priors import Survey
from qa_generation.whole_files import write_whole


def write_survey(state_dir: Path, scene_id: str, settings: str, survey: Survey) -> None:
    """Keeps the survey of a scene made with these settings."""
    _write(state_dir / "surveys" / f"{scene_id}.json", {"settings": settings, **asdict(survey)})


def read_survey(state_dir: Path, scene_id: str, settings: str) -> Survey | None:
    """The survey of a scene; None where there is none of these settings."""
    content = _read(state_dir / "surveys" / f"{scene_id}.json", settings)
    return Survey(content["pairs"], content["counts"]) if content and {"pairs", "counts"} <= set(content) else None


def write_failure(state_dir: Path, scene_id: str, settings: str, reason: str) -> None:
    """Notes why a scene gave nothing, for runs that work on other scenes."""
    _write(state_dir / "failures" / f"{scene_id}.json", {"settings": settings, "reason": reason})


def read_failure(state_dir: Path, scene_id: str, settings: str) -> str | None:
    """Why a scene gave nothing; None where that is not known."""
    content = _read(state_dir / "failures" / f"{scene_id}.json", settings)
    return str(content["reason"]) if content and "reason" in content else None


def forget_failure(state_dir: Path, scene_id: str) -> None:
    """Takes the note back, before the scene is tried again."""
    (state_dir / "failures" / f"{scene_id}.json").unlink(missing_ok=True)


def write_summary(state_dir: Path, plan_id: str, summary: Mapping[str, Any]) -> None:
    """Keeps what a blind plan found and left out."""
    _write(state_dir / "plans" / f"{plan_id}.json", {"settings": plan_id, "summary": summary})


def read_summary(state_dir: Path, plan_id: str) -> Mapping[str, Any] | None:
    """What the plan of that id found; None where it is not known."""
    content = _read(state_dir / "plans" / f"{plan_id}.json", plan_id)
    return content["summary"] if content and "summary" in content else None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(content, ensure_ascii=False))


def _read(path: Path, settings: str) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("settings") == settings else None
