"""Question files as a map-style dataset of view sets: one item is a few views and questions about them.

Everything random depends on (seed, epoch, item), so a run can stop and go on anywhere and any number of processes or
loader workers sees the same items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from jaxtyping import Int
from torch.utils.data import Dataset

from geometry_encoders.errors import InputError
from qa_generation.prompts import ALL_TYPES, WARMUP_TYPES, frame_name
from qa_generation.records import SCHEMA, QARecord
from qa_generation.unpack import unpack_pictures
from spatialvlm.training.answer_format import Exchange, check_shares, draw_style, shuffle_options, write_exchange
from spatialvlm.training.seeding import numpy_generator

_COLUMNS = (
    "id", "dataset", "scene_name", "question_type", "frames", "question", "options", "mc_answer", "ground_truth",
    "images", "view_set_id", "frame_naming", "target_category", "reference_category",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One set of questions.

    Attributes:
        path: folder that `spatialvlm generate` wrote, or `spatialvlm pack` as Parquet, seen from the recipe's
            ``data.root``; the pictures of a packed set are written next to it once.
        split: which of its splits; ``train+warmup`` brings the questions of both about the same views together, which
            is much faster than two sources.
        weight: how often its view sets come in an epoch: 1 once each, 0.5 half of them, 2 twice.
        question_types: only these; all where left out.
        answer_style: shares of letter, words and words_then_letter for this source; those of the data section if empty.
        max_view_sets: only so many view sets, drawn by the seed.
    """

    path: str = "."
    split: str = "train"
    weight: float = 1.0
    question_types: tuple[str, ...] = ()
    answer_style: dict[str, float] = field(default_factory=dict)
    max_view_sets: int | None = None

    def __post_init__(self) -> None:
        known = ALL_TYPES + WARMUP_TYPES
        unknown = [name for name in self.question_types if name not in known]
        if unknown:
            raise ValueError(f"question_types holds {unknown[0]!r}, expected some of {', '.join(known)}")
        if self.answer_style:
            check_shares(self.answer_style, "answer_style")
        if self.weight <= 0:
            raise ValueError(f"weight is {self.weight}, expected more than 0")


@dataclass(frozen=True)
class ViewSet:
    """Views in the order shown and questions about them.

    Attributes:
        view_set_id: id of the views in their order.
        image_paths: pictures.
        labels: what each view is called in the prompt.
        exchanges: questions with answers.
    """

    view_set_id: str
    image_paths: tuple[Path, ...]
    labels: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


class QuestionTable:
    """The questions of one source, grouped by view set; pictures are known to exist, rows stay in Arrow memory."""

    def __init__(self, source: Source, seed: int = 0, root: Path = Path()) -> None:
        """Reads ``root/path/data/split/*.parquet``; the seed chooses view sets where only some are wanted.

        Raises:
            InputError: no such folder or split, not our columns, no question left, or a picture that is missing.
        """
        self.source = source
        self.root = root / source.path
        files, self.packed = self._files()
        self.table = self._read(files)
        if self.packed:
            unpack_pictures(files, self.root)
        naming = self.table["frame_naming"].combine_chunks()
        keys = pc.binary_join_element_wise(self.table["scene_name"], self.table["view_set_id"], naming, "\x1f")
        codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
        order = np.argsort(codes, kind="stable")
        self.groups: list[Int[np.ndarray, " rows"]] = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        if source.max_view_sets is not None and source.max_view_sets < len(self.groups):
            rng = numpy_generator(seed, "view sets", source.split)
            chosen = np.sort(rng.choice(len(self.groups), source.max_view_sets, replace=False))
            self.groups = [self.groups[index] for index in chosen]
        self._check_pictures()

    def _files(self) -> tuple[list[Path], bool]:
        """The Parquet files of the splits, and whether they are packed, that is hold the pictures."""
        files: list[Path] = []
        packed: set[bool] = set()
        for split in self.source.split.split("+"):
            folder = self.root / "data" / split
            found = sorted(folder.glob("*.parquet")) or sorted(folder.parent.glob(f"{split}-[0-9]*.parquet"))
            if not found:
                known = {path.name.split("-")[0] for path in folder.parent.glob("*") if path.suffix != ".partial"}
                splits = ", ".join(sorted(known)) or "no split"
                raise InputError(f"{folder}: no .parquet file there, expected the split to be one of: {splits}")
            packed.add(found[0].parent != folder)
            files += found
        if len(packed) > 1:
            raise InputError(f"{self.root / 'data'}: some splits are packed and others are not, expected one kind")
        return files, packed.pop()

    def _read(self, files: Sequence[Path]) -> pa.Table:
        folder = files[0].parent
        names = {name: "image_paths" if name == "images" and self.packed else name for name in _COLUMNS}
        wanted = pa.schema([SCHEMA.field(name).with_name(source) for name, source in names.items()])
        types = pc.field("question_type").isin(self.source.question_types) if self.source.question_types else None
        columns = {name: pc.field(source) for name, source in names.items()}
        try:
            table = pyarrow.dataset.dataset(list(files), schema=wanted).to_table(columns=columns, filter=types)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            raise InputError(f"{folder}: not readable as question files ({' '.join(str(error).split())})") from error
        missing = [name for name in ("question", "images", "view_set_id") if table[name].null_count]
        if missing:
            raise InputError(f"{folder}: column {missing[0]!r} has gaps, expected files written by spatialvlm generate")
        if not table.num_rows:
            wanted_types = ", ".join(self.source.question_types) or "that we know"
            raise InputError(f"{folder}: no question of the types {wanted_types}, expected at least one")
        return table.combine_chunks()  # rows are taken at random: one lookup instead of one per file

    def _check_pictures(self) -> None:
        rows = self.table["images"] if self.source.max_view_sets is None else self._rows_in_use()["images"]
        names = pc.unique(pc.list_flatten(rows)).to_pylist()
        missing: list[str] = []
        for name in names:
            parts = PurePosixPath(name)
            if parts.is_absolute() or ".." in parts.parts:
                raise InputError(f"{self.root}: image {name!r} leaves the dataset folder, expected a path inside it")
            if not (self.root / name).is_file():
                missing.append(name)
        if missing:
            count = f"{len(missing)} of {len(names)} pictures are missing"
            raise InputError(f"{self.root / missing[0]}: no such file ({count}), expected every image of the questions")

    def _rows_in_use(self) -> pa.Table:
        return self.table.take(pa.array(np.concatenate(self.groups)))

    def __len__(self) -> int:
        """Number of view sets."""
        return len(self.groups)

    @property
    def num_questions(self) -> int:
        """Questions in all view sets."""
        return sum(map(len, self.groups))

    def records(self, rows: Sequence[int]) -> list[QARecord]:
        """The records of those rows; columns that training does not need are left empty."""
        blank = {"overlap_avg": 0.0, "occlusion_avg": 0.0}
        blank_labels = dict.fromkeys(("occ_level", "overlap_level", "vis_level", "gt_scenario"), "")
        taken = self.table.take(pa.array(rows)).to_pylist()
        return [
            QARecord.from_row({**blank, **blank_labels, **{k: v for k, v in row.items() if v is not None}})
            for row in taken
        ]

    def view_set(self, records: Sequence[QARecord], exchanges: Sequence[Exchange]) -> ViewSet:
        """The views of these records with the given questions."""
        first = records[0]
        labels = tuple(frame_name(first.frame_naming, i, frame) for i, frame in enumerate(first.frames))
        paths = tuple(self.root / name for name in first.images)
        return ViewSet(first.view_set_id, paths, labels, tuple(exchanges))


class TrainingViewSets(Dataset[ViewSet]):
    """What training reads: the view sets of several sources, reshuffled every epoch.

    Each item holds up to ``questions_per_view_set`` questions, all in one answer style drawn by the shares, since
    questions of one style have about the same length; a quarter as many where each comes with all its options.
    """

    def __init__(
        self,
        tables: Sequence[QuestionTable],
        questions_per_view_set: int,
        answer_style: dict[str, float],
        seed: int,
        shuffle_choices: bool = True,
    ) -> None:
        self.tables = tables
        self.questions_per_view_set = questions_per_view_set
        self.answer_style = answer_style
        self.seed = seed
        self.shuffle_choices = shuffle_choices
        self.lengths = [max(1, round(table.source.weight * len(table))) for table in tables]
        self.epoch = 0
        self._orders: tuple[int, list[Int[np.ndarray, " items"]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, before the loader's workers start."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Items in an epoch."""
        return sum(self.lengths)

    def _order(self, source: int) -> Int[np.ndarray, " items"]:
        """View sets of one source in the order of this epoch: whole permutations, the last one cut."""
        if self._orders is None or self._orders[0] != self.epoch:
            orders = []
            for index, (table, length) in enumerate(zip(self.tables, self.lengths, strict=True)):
                rounds = range(-(-length // len(table)))
                rngs = (numpy_generator(self.seed, "order", self.epoch, index, round_) for round_ in rounds)
                orders.append(np.concatenate([rng.permutation(len(table)) for rng in rngs])[:length])
            self._orders = (self.epoch, orders)
        return self._orders[1][source]

    def __getitem__(self, index: int) -> ViewSet:
        """Views and questions of one item; the same for the same seed, epoch and index."""
        source, position = 0, index
        while position >= self.lengths[source]:
            position -= self.lengths[source]
            source += 1
        table = self.tables[source]
        rng = numpy_generator(self.seed, "item", self.epoch, source, position)
        rows = table.groups[self._order(source)[position]]
        style = draw_style(table.source.answer_style or self.answer_style, rng)
        room = self.questions_per_view_set if style != "every_letter" else max(1, self.questions_per_view_set // 4)
        if len(rows) > room:
            rows = rng.choice(rows, room, replace=False)
        records = table.records(rows.tolist())
        if self.shuffle_choices:
            records = [shuffle_options(record, rng) for record in records]
        exchanges = [write_exchange(record, style) for record in records]
        if style == "every_letter":
            exchanges = [each for exchange in exchanges for each in exchange.every_letter()]
        return table.view_set(records, exchanges)
