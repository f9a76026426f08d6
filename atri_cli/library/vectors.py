"""Nearest vectors: the interface that every engine keeps, and the exact scan that is its referee.

A scan of 100,000 segments costs about 0.01 s from the vectors' cache (`flat.py`) and under 0.1 s
from the database, in bounded memory (docs/decisions/0003-exact-or-hnsw.md), so it is the rule;
`hnsw.py` is for many searches over large libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from atri_cli.library import flat

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.library.store import Store

    Ids = NDArray[np.int64]
    Vectors = NDArray[np.float32]
    Block = tuple[Ids, Vectors]
    Blocks = Iterable[Block]

BLOCK_ROWS = 256  # a block stays in the processor's cache: a third faster than 4096
FLAT_SPREAD = 1e-6  # a smaller standard deviation is rounding noise


class Neighbours(NamedTuple):
    """The nearest segments, nearest first, and how all searched cosines are spread.

    `ids` int64 [m] and `cosines` float32 [m], m <= k; equal cosines in the order of ids.
    `mean` and `std` are those of the cosines of the searched segments, or of a fixed sample.
    """

    ids: Ids
    cosines: NDArray[np.float32]
    mean: float
    std: float

    def z(self, cosine: float) -> float:
        """Standard deviations above the mean; 0 when all cosines are alike."""
        return (cosine - self.mean) / self.std if self.std > FLAT_SPREAD else 0.0


class VectorSearch(Protocol):
    """Answers nearest-vector questions over unit vectors."""

    def __len__(self) -> int:
        """How many vectors can be found."""

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> Neighbours:
        """The k vectors with the largest cosine.

        Args:
            query: float32 [dim], unit length.
            k: how many; fewer come back when there are fewer, or when an approximate engine
                reaches fewer.
            allowed: int64, ascending: only these ids take part; None for all.
        """


class VectorIndex(VectorSearch, Protocol):
    """An engine that is filled from arrays; a distributed one can stand behind it too."""

    def build(self, ids: Ids, matrix: Vectors) -> None:
        """Replace the contents.

        Args:
            ids: int64 [n], all different.
            matrix: float32 [n, dim], rows of unit length.
        """


class ExactIndex:
    """All cosines, by numpy, over a matrix in memory (held, not copied)."""

    def __init__(self) -> None:
        self._ids: Ids = np.empty(0, np.int64)
        self._matrix: Vectors = np.empty((0, 0), np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    def build(self, ids: Ids, matrix: Vectors) -> None:
        self._ids, self._matrix = ids, matrix

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> Neighbours:
        starts = range(0, len(self), BLOCK_ROWS)
        blocks = ((self._ids[i : i + BLOCK_ROWS], self._matrix[i : i + BLOCK_ROWS]) for i in starts)
        return scan(blocks if allowed is None else _only(blocks, allowed), query, k)


class StoredVectors:
    """All cosines, a block at a time from the vectors' cache or the database; a few MB."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __len__(self) -> int:
        return self._store.segment_count()

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> Neighbours:
        return scan(self._blocks(allowed), query, k)

    def _blocks(self, allowed: Ids | None) -> Blocks:
        if allowed is None:
            return self._all()
        # Single rows cost more than rows in sequence: from a quarter on, read everything.
        if len(allowed) * 4 > len(self):
            return _only(self._all(), allowed)
        starts = range(0, len(allowed), BLOCK_ROWS)
        return (self._store.vectors(allowed[i : i + BLOCK_ROWS]) for i in starts)

    def _all(self) -> Blocks:
        return flat.blocks(self._store) or self._store.iter_vectors(BLOCK_ROWS)


def scan(blocks: Blocks, query: Vectors, k: int) -> Neighbours:
    """Exact search over blocks of (ids [b], vectors [b, dim]); memory: 12 bytes a vector."""
    labels: list[Ids] = [np.empty(0, np.int64)]
    cosines: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    for ids, block in blocks:
        labels.append(ids)
        cosines.append(block @ query)
    every = np.concatenate(cosines)
    ids, best = nearest(np.concatenate(labels), every, k)
    return Neighbours(ids, best, *spread(every))


def nearest(ids: Ids, cosines: NDArray[np.float32], k: int) -> tuple[Ids, NDArray[np.float32]]:
    """The k largest cosines and their ids, largest first, equal ones by id."""
    if 0 < k < len(ids):
        # Of equal cosines at the edge those with the lowest ids stay: argpartition takes any.
        edge = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
        above, level = np.flatnonzero(cosines > edge), np.flatnonzero(cosines == edge)
        level = level[np.argsort(ids[level], kind="stable")]
        kept = np.concatenate([above, level])[:k]
        ids, cosines = ids[kept], cosines[kept]
    order = np.lexsort((ids, -cosines))
    return ids[order][:k], cosines[order][:k]


def spread(cosines: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and population standard deviation; zeros for no cosines at all."""
    if not len(cosines):
        return 0.0, 0.0
    return float(cosines.mean(dtype=np.float64)), float(cosines.std(dtype=np.float64))


def _only(blocks: Blocks, allowed: Ids) -> Iterator[Block]:
    if not len(allowed):
        return
    for ids, block in blocks:
        place = np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)
        kept = allowed[place] == ids
        if kept.any():
            yield ids[kept], block[kept]
