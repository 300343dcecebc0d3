"""Nearest neighbours of unit vectors by FAISS: exact, or IVF-PQ whose candidates are sorted by exact distances.

Both kinds keep the exact vectors in a file that is memory-mapped; the approximate kind adds 24 bytes per vector. Rows
to be left out are filtered inside the search, before the nearest are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from geometry_encoders.errors import InputError
from geometry_encoders.whole_files import whole_file

Runs = Sequence[tuple[int, int]]  # rows first..last-1
Found = tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]
_BATCH = 65536
TRAINING_VECTORS = 65536  # for the coarse quantiser and the codes


@dataclass(frozen=True)
class IndexSettings:
    """Which index a database has.

    Attributes:
        kind: ``exact`` compares with every vector, ``ivf_pq`` with those of the nearest lists, compressed.
        lists: inverted lists; None = 4 * sqrt(vectors), at most a 39th of the vectors.
        codes: bytes per vector, a divisor of the embedding's length.
        probes: lists that are searched.
        refine: that many times k candidates are compared exactly.
    """

    kind: Literal["exact", "ivf_pq"] = "exact"
    lists: int | None = None
    codes: int = 16
    probes: int = 32
    refine: int = 16

    def __post_init__(self) -> None:
        if self.kind not in ("exact", "ivf_pq"):
            raise InputError(f"index: kind is {self.kind!r}, expected 'exact' or 'ivf_pq'")
        for name in ("codes", "probes", "refine"):
            if getattr(self, name) < 1:
                raise InputError(f"index: {name} is {getattr(self, name)}, expected at least 1")

    def list_count(self, vectors: int) -> int:
        """Inverted lists for that many vectors; FAISS wants 39 vectors for each."""
        wanted = self.lists or int(4 * np.sqrt(vectors))
        return max(1, min(wanted, vectors // 39))


def faiss() -> Any:
    """The FAISS module; raises ``InputError`` naming the extra where it is not installed."""
    try:
        import faiss as module
    except ImportError as error:
        raise InputError("FAISS is not installed, expected `pip install 'spatialvlm[retrieval]'`") from error
    return module


class ChunkIndex:
    """Vectors in rows 0, 1, 2, ...; made by `build`, or read with everything memory-mapped by `load`."""

    def __init__(self, settings: IndexSettings, flat: Any, lists: Any, mapped: Path | None = None) -> None:
        """Use `build` or `load`; ``mapped`` is the file that ``lists`` is a view of."""
        self.settings, self._flat, self._lists, self._mapped = settings, flat, lists, mapped
        self._refined: Any = None if lists is None else faiss().IndexRefine(lists, flat)

    @classmethod
    def build(
        cls, settings: IndexSettings, dimension: int, count: int, vectors: Iterable[Float32[np.ndarray, "rows dim"]]
    ) -> ChunkIndex:
        """The index over those batches of vectors, which are walked once.

        Raises:
            InputError: too few vectors for the inverted lists, or ``codes`` does not divide the dimension.
        """
        flat = faiss().IndexFlatL2(dimension)
        for batch in vectors:
            flat.add(np.ascontiguousarray(batch, np.float32))
        if settings.kind == "exact":
            return cls(settings, flat, None)
        if dimension % settings.codes or count < 256:
            raise InputError(
                f"index: ivf_pq with {settings.codes} codes over {count} vectors of length {dimension},"
                " expected codes that divide the length and at least 256 vectors"
            )
        lists = faiss().IndexIVFPQ(
            faiss().IndexFlatL2(dimension), dimension, settings.list_count(count), settings.codes, 8
        )
        chosen = np.linspace(0, count - 1, min(count, TRAINING_VECTORS)).astype(np.int64)
        lists.cp.max_points_per_centroid = 64
        lists.cp.min_points_per_centroid = lists.pq.cp.min_points_per_centroid = 1  # few are warned of, not refused
        lists.train(flat.reconstruct_batch(chosen))
        for start in range(0, count, _BATCH):
            lists.add(flat.reconstruct_n(start, min(_BATCH, count - start)))
        return cls(settings, flat, lists)

    @property
    def count(self) -> int:
        """Vectors in the index."""
        return int(self._flat.ntotal)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._flat.d)

    def all_vectors(self, batch: int = _BATCH) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        """All vectors, batch by batch."""
        for start in range(0, self.count, batch):
            yield self._flat.reconstruct_n(start, min(batch, self.count - start))

    # ---- search ------------------------------------------------------------------------------------------------------

    def search(self, queries: Float32[np.ndarray, "queries dim"], k: int, excluded: Runs = ()) -> Found:
        """Squared distances and rows of the k nearest of every query, nearest first.

        Rows in ``excluded`` are never found; the caller sees to it that k others exist. The exact kind equals brute
        force; the approximate one looks into more lists where too few neighbours were found.
        """
        selector = self._selector(excluded)
        if self._refined is None:
            options = faiss().SearchParameters(sel=selector) if selector is not None else None
            return self._flat.search(queries, k, params=options)
        probes = self.settings.probes
        distances, rows = self._search_lists(queries, k, selector, probes)
        while (short := (rows < 0).any(axis=1)).any() and probes < self._lists.nlist:
            probes = min(4 * probes, self._lists.nlist)
            distances[short], rows[short] = self._search_lists(queries[short], k, selector, probes)
        return distances, rows

    def _search_lists(self, queries: Float32[np.ndarray, "queries dim"], k: int, selector: Any, probes: int) -> Found:
        module = faiss()
        inner = module.SearchParametersIVF(nprobe=probes, sel=selector)
        factor = min(self.settings.refine, max(1, self.count // k))
        options = module.IndexRefineSearchParameters(k_factor=float(factor), base_index_params=inner)
        return self._refined.search(queries, k, params=options)

    @staticmethod
    def _selector(excluded: Runs) -> Any:
        """What FAISS is told to look at; None for everything."""
        module = faiss()
        selector: Any = None
        for first, last in excluded:
            part = module.IDSelectorRange(first, last)
            selector = part if selector is None else module.IDSelectorOr(selector, part)
        return None if selector is None else module.IDSelectorNot(selector)

    # ---- growth and files --------------------------------------------------------------------------------------------

    def extended(self, vectors: Iterable[Float32[np.ndarray, "rows dim"]]) -> ChunkIndex:
        """An index with more vectors behind those of this one; the inverted lists are not trained again."""
        module = faiss()
        flat = module.IndexFlatL2(self.dimension)
        for batch in self.all_vectors():
            flat.add(batch)
        lists = self._lists
        if lists is not None:  # mapped lists cannot be written to
            lists = module.clone_index(lists) if self._mapped is None else module.read_index(str(self._mapped))
        for batch in vectors:
            rows = np.ascontiguousarray(batch, np.float32)
            flat.add(rows)
            if lists is not None:
                lists.add(rows)
        return ChunkIndex(self.settings, flat, lists)

    def save(self, stem: Path) -> None:
        """Writes ``<stem>.flat.faiss`` and, for the approximate kind, ``<stem>.lists.faiss``."""
        for index, path in ((self._flat, _flat_path(stem)), (self._lists, _lists_path(stem))):
            if index is not None:
                with whole_file(path) as partial:
                    faiss().write_index(index, str(partial))

    @classmethod
    def load(cls, stem: Path, settings: IndexSettings) -> ChunkIndex:
        """The index of those files, memory-mapped.

        Raises:
            InputError: a file is missing, damaged or of another kind.
        """
        module = faiss()
        flat = _read(_flat_path(stem), module.IO_FLAG_MMAP_IFC, module.IndexFlat)
        if settings.kind == "exact":
            return cls(settings, flat, None)
        lists = _read(_lists_path(stem), module.IO_FLAG_MMAP_IFC, module.IndexIVFPQ)
        if lists.ntotal != flat.ntotal or lists.d != flat.d:
            raise InputError(
                f"{_lists_path(stem)}: {lists.ntotal} vectors of {lists.d}, expected {flat.ntotal} of {flat.d}"
            )
        return cls(settings, flat, lists, _lists_path(stem))


def _flat_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".flat.faiss")


def _lists_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".lists.faiss")


def _read(path: Path, flags: int, kind: Any) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected the index of a chunk database")
    try:
        index = faiss().read_index(str(path), flags)
    except RuntimeError as error:
        raise InputError(f"{path}: damaged ({str(error).splitlines()[0][:200]}), expected a FAISS index") from error
    if not isinstance(index, kind):
        raise InputError(f"{path}: holds a {type(index).__name__}, expected a {kind.__name__}")
    return index
