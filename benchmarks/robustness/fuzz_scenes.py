"""Feeds spoiled scene folders of every reader to the generator and looks for anything but a clear refusal.

    python -m benchmarks.robustness.fuzz_scenes --count 1000 --seed 0 --out fuzz.jsonl

Every folder is a small whole one with one to three things spoiled in it (see ``mutations``), read in a process of its
own. A finding is a traceback (an exception that is no ``InputError``), a crash, a run over the time or memory limit, or
a file outside of the output folder that was written, changed or removed. Exits 1 when there is one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.robustness.mutations import spoil
from benchmarks.robustness.seeds import SEEDS
from qa_generation.errors import InputError
from qa_generation.generate import generate_dataset
from qa_generation.generation_config import GenerationConfig
from qa_generation.readers.base import open_reader
from qa_generation.sampling import SamplingConfig
from qa_generation.scene import View
from qa_generation.seeding import generator

CONFIG = GenerationConfig(
    per_type=2, visibility_max_side=64, sampling=SamplingConfig(view_sets=4, sizes=(2,), min_visible_instances=1)
)


@dataclass(frozen=True)
class Limits:
    """What one folder may cost: time, and memory beyond what the process holds at its start."""

    seconds: float = 60.0
    memory_mb: float = 500.0


@dataclass
class Case:
    """One spoiled folder and what came of it.

    Attributes:
        number: with the seed, it decides everything about the case.
        reader: name in ``seeds.SEEDS``, a reader with options.
        spoiled: what was done to the folder.
        outcome: ``made`` (questions), ``empty`` (none), ``skipped`` (the report has a reason) or ``refused`` (the whole
            run was), or a finding: ``traceback``, ``crash``, ``hang``, ``memory``, ``wrote outside``.
        reasons: what a person is told, or the traceback.
        grown_mb: by how much the process grew at most.
    """

    number: int
    reader: str
    spoiled: list[str]
    outcome: str = ""
    reasons: list[str] = field(default_factory=list)
    grown_mb: float = 0.0

    @property
    def is_finding(self) -> bool:
        return self.outcome not in ("made", "empty", "skipped", "refused")


def fuzz(
    count: int, seed: int = 0, readers: Sequence[str] = tuple(SEEDS), limits: Limits | None = None, first: int = 0
) -> Iterator[Case]:
    """Cases ``first`` to ``first + count``, readers in turn; same seed and number, same spoiled folder."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as text:
        work = Path(text)
        for name in readers:
            SEEDS[name].write(work / "whole" / name)
            # also loads every module once, before the processes divide
            if (outcome := _generate(name, work / "whole" / name, work / "made" / name)[0]) != "made":
                raise RuntimeError(f"the whole folder of {name} is {outcome}, expected questions from it")
        for number in range(first, first + count):
            yield _one(work, number, seed, readers[number % len(readers)], limits or Limits())


def _one(work: Path, number: int, seed: int, reader: str, limits: Limits) -> Case:
    case = work / "case"
    shutil.rmtree(case, ignore_errors=True)
    root, outside = case / "root", case / "outside"
    shutil.copytree(work / "whole" / reader, root)
    for folder in (outside, case / "tmp", case / "cwd"):
        folder.mkdir()
    (outside / "file.txt").write_text("1 0 0 0\n")
    result = Case(number, reader, spoil(root, generator(seed, "fuzz", reader, str(number)), outside))
    before = _look(case)
    _run(result, case, limits)
    after = _look(case)
    changed = sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if changed:
        result.outcome, result.reasons = "wrote outside", [*result.reasons, *changed[:5]]
    return result


def _look(case: Path) -> dict[Path, str]:
    """Every file around the output folder, links not followed, with what identifies its content."""
    found: dict[Path, str] = {}
    for path in sorted(case.rglob("*")):
        place = path.relative_to(case)
        if place.parts[0] == "out":
            continue
        if path.is_symlink():
            found[place] = f"link to {path.readlink()}"
        elif path.is_file():
            found[place] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[place] = "folder" if path.is_dir() else "special"
    return found


def _run(result: Case, case: Path, limits: Limits) -> None:
    """Reads the folder in a process of its own and notes what came of it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, result.reader, case, limits), daemon=True)
    process.start()
    theirs.close()
    try:
        if ours.poll(limits.seconds):
            result.outcome, result.reasons, result.grown_mb = ours.recv()
        else:
            result.outcome, result.reasons = "hang", [f"no answer after {limits.seconds:g} s"]
            process.kill()
    except EOFError:
        process.join()
        result.outcome, result.reasons = "crash", [f"exit code {process.exitcode}"]
    process.join()
    if not result.is_finding and result.grown_mb > limits.memory_mb:
        result.outcome = "memory"


class _Tracebacks(logging.Handler):
    """Keeps what the generator logs as a fault of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "Traceback" in text or record.exc_info:
            self.texts.append(text)


def _child(connection: Connection, reader: str, case: Path, limits: Limits) -> None:
    os.chdir(case / "cwd")
    os.environ |= {"TMPDIR": str(case / "tmp"), "HOME": str(case / "cwd")}
    tempfile.tempdir = None
    at_start_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # far above the limit that is looked at, so that a runaway ends before the machine does
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + int(4 * limits.memory_mb * 1e6),) * 2)
    with open(os.devnull, "w") as silence:  # noqa: PTH123
        os.dup2(silence.fileno(), 1)
        os.dup2(silence.fileno(), 2)
    faults = _Tracebacks()
    logging.getLogger().handlers = [faults]
    try:
        outcome, reasons = _generate(reader, case / "root", case / "out")
    except InputError as error:
        outcome, reasons = "refused", [str(error)]
    except BaseException:
        outcome, reasons = "traceback", [traceback.format_exc()]
    if faults.texts:
        outcome, reasons = "traceback", faults.texts
    elif "out of memory" in reasons:
        outcome = "memory"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    connection.send((outcome, reasons, peak_mb - at_start_mb))
    connection.close()


def _generate(reader: str, root: Path, out: Path) -> tuple[str, list[str]]:
    source = open_reader(SEEDS[reader].reader, root, SEEDS[reader].options)
    report = generate_dataset(source, out, CONFIG, workers=0)
    for scene_id in source.scene_ids():
        if scene_id not in report.failures:
            _read_all(source.read(scene_id).views)
    if report.failures:
        return "skipped", list(report.failures.values())
    return ("made" if report.records else "empty"), []


def _read_all(views: Sequence[View]) -> None:
    """Pictures and depth of all views, which questions may not have needed; a refusal is fine."""
    for view in views:
        for read in (view.image.read, view.read_depth):
            try:
                if read is not None:
                    read()
            except (InputError, OSError):
                continue


def summary(cases: Sequence[Case]) -> str:
    """A line for each reader, then one for each finding."""
    lines = []
    for reader in sorted({case.reader for case in cases}):
        mine = [case for case in cases if case.reader == reader]
        outcomes = Counter(case.outcome for case in mine)
        told = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
        lines.append(
            f"{reader:12} {len(mine):5} folders: {told}; at most +{max(case.grown_mb for case in mine):.0f} MB"
        )
    for case in cases:
        if case.is_finding:
            lines.append(f"case {case.number} {case.reader}: {case.outcome} after {'; '.join(case.spoiled)}")
            lines += [f"    {line}" for reason in case.reasons for line in reason.strip().splitlines()[-6:]]
    return "\n".join(lines)


def main(
    count: Annotated[int, typer.Option(min=1, help="Number of spoiled folders.")] = 1000,
    seed: Annotated[int, typer.Option(help="Same seed, same folders.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="Number of the first case, to run one again.")] = 0,
    reader: Annotated[list[str] | None, typer.Option(help="Only this one of seeds.SEEDS; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(help="Time limit of one folder.")] = 60.0,
    memory_mb: Annotated[float, typer.Option(help="Memory one folder may add.")] = 500.0,
    out: Annotated[Path | None, typer.Option(help="Report, a JSON line for each case.")] = None,
) -> None:
    """Spoils scene folders and looks for tracebacks, crashes, hangs, memory and writes outside of the output.

    Example: python -m benchmarks.robustness.fuzz_scenes --count 1000 --out fuzz.jsonl
    """
    from tqdm import tqdm

    done: list[Case] = []
    cases = fuzz(count, seed, tuple(reader or SEEDS), Limits(seconds, memory_mb), first)
    with out.open("w", encoding="utf-8") if out else nullcontext() as stream:
        for case in tqdm(cases, total=count, unit="folder", disable=not sys.stderr.isatty()):
            done.append(case)
            if stream:
                print(json.dumps(asdict(case)), file=stream, flush=True)
    print(summary(done))
    if any(case.is_finding for case in done):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
