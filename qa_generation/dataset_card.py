"""The dataset card ``README.md``: how ``datasets.load_dataset`` finds the shards, and statistics for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from qa_generation.generation_config import GenerationConfig
from qa_generation.prompts import CHOICE_TYPES, FAMILIES
from qa_generation.splits import WARMUP

if TYPE_CHECKING:
    from qa_generation.generate import Report


def write_card(out: Path, report: Report, config: GenerationConfig) -> None:
    """Writes ``out/README.md``."""
    environment = Environment(
        loader=PackageLoader("qa_generation"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("dataset_card.md.jinja").render(
        front_matter=yaml.safe_dump(front_matter(report), sort_keys=False).strip(),
        splits=[split for split in report.questions if split != WARMUP],
        scenes=report.scenes,
        questions=report.questions,
        rows=list(type_rows(report.questions)),
        records=report.records,
        failures=len(report.failures),
        config=config,
    )
    (out / "README.md").write_text(text, encoding="utf-8")


def front_matter(report: Report) -> dict[str, Any]:
    """The YAML block: splits with questions become splits of the configuration ``default``."""
    filled = [split for split, by_type in report.questions.items() if sum(by_type.values())]
    files = [{"split": split, "path": f"data/{split}/*.parquet"} for split in filled if split != WARMUP]
    configs: list[dict[str, Any]] = []
    if files:
        configs.append({"config_name": "default", "default": True, "data_files": files})
    if WARMUP in filled:
        warmup = [{"split": "train", "path": f"data/{WARMUP}/*.parquet"}]
        configs.append({"config_name": WARMUP, "data_files": warmup})
    return {
        "pretty_name": "Multi-view spatial questions",
        "task_categories": ["visual-question-answering"],
        "tags": ["spatial-reasoning", "multi-view"],
        "configs": configs,
    }


def type_rows(questions: Mapping[str, Mapping[str, int]]) -> Sequence[tuple[str, str, list[int]]]:
    """Family, type and number per split for every type that has questions."""
    splits = [split for split in questions if split != WARMUP]
    rows = []
    for family, types in FAMILIES.items():
        for question_type in types:
            numbers = [questions[split].get(question_type, 0) for split in splits]
            if question_type in CHOICE_TYPES or any(numbers):
                rows.append((family, question_type, numbers))
    return rows
