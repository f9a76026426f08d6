"""The files of a library as columns of scores: what a query gives each of them.

A file's score is the cosine of its best segment. The vectors are held once, in layers: first
segments of all files, second segments of the files that have one, and so on, files with more
segments first. A layer is then a prefix of the columns, and the best segment a running maximum.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atri_cli.errors import NothingIndexedError
from atri_cli.library import flat, hubs
from atri_cli.library.failures import damaged

if TYPE_CHECKING:
    from atri_cli.library.store import Store
    from atri_cli.library.vectors import Vectors

NARROW = 16  # files; segments beyond layers this narrow are taken file by file
TAIL_ROWS = 4096  # segments of one long file at once
READ_ROWS = 2048


@dataclass(frozen=True)
class Place:
    """Where a hit is: `start` and `end` in seconds of the file, `score` as a search gives it.

    `right` says whether the file is among the query's right answers.
    """

    path: Path
    root: Path
    start: float
    end: float
    score: float
    right: bool = False


class Gallery:
    """All searchable files of an open library, of one moment."""

    def __init__(self, store: Store) -> None:
        """Read all vectors: 4 * dim bytes a segment.

        Raises:
            NothingIndexedError: there is no segment.
            LibraryError: the database is damaged.
        """
        with store.snapshot():
            segments, self._counts, self.ids = _segments_by_file(store)
            rows = _layers(self._counts)
            self._row_of = rows  # [n]: of the segments in the order of files, their matrix row
            self._segments = segments
            self._matrix = _fill(store, segments, rows)
            names = {
                row[0]: row[1:]
                for row in store.rows(
                    "SELECT f.id, r.path, f.path FROM files f JOIN roots r ON r.id = f.root_id"
                )
            }
        if not names.keys() >= set(self.ids.tolist()):
            raise damaged(store.path, "A segment belongs to no file")
        self.roots = [Path(os.fsdecode(names[one][0])) for one in self.ids.tolist()]
        self.paths = [
            root / os.fsdecode(names[one][1])
            for root, one in zip(self.roots, self.ids.tolist(), strict=True)
        ]
        by_path = sorted(range(len(self.paths)), key=[p.parts for p in self.paths].__getitem__)
        self.order = np.argsort(by_path)  # of equal files, as a search sorts them
        self.columns = {one: column for column, one in enumerate(self.ids.tolist())}
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])

    def __len__(self) -> int:
        """How many files."""
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._matrix.shape[1])

    @property
    def segments(self) -> int:
        """How many segments."""
        return len(self._matrix)

    def scores(self, vectors: Vectors) -> NDArray[np.float32]:
        """Cosines with the best segment of each file, float32 [q, files].

        Args:
            vectors: float32 [q, dim], unit length.
        """
        counts = self._counts
        width = len(counts)
        best: NDArray[np.float32] = vectors @ self._matrix[:width].T
        row, depth = width, 1
        while row < len(self._matrix):
            width = int(np.searchsorted(-counts, -depth, side="left"))  # files with more than depth
            if width < NARROW:
                break
            layer = vectors @ self._matrix[row : row + width].T
            np.maximum(best[:, :width], layer, out=best[:, :width])
            row, depth = row + width, depth + 1
        for column in range(width if row < len(self._matrix) else 0):
            end = row + int(counts[column]) - depth
            for start in range(row, end, TAIL_ROWS):
                tail = self._matrix[start : min(start + TAIL_ROWS, end)]
                np.maximum(best[:, column], (vectors @ tail.T).max(axis=1), out=best[:, column])
            row = end
        return best

    def penalties(self, names: Vectors) -> NDArray[np.float32]:
        """What a search takes off the score of each file, float32 [files].

        Args:
            names: float32 [n, dim], those of the model.
        """
        rows = self._row_of[hubs.sampled(self._counts)]
        counts = np.minimum(self._counts, hubs.SEGMENTS)
        return hubs.penalties(self._matrix, rows, counts, names).astype(np.float32)

    def place(self, store: Store, column: int, vector: Vectors, held: float = 0.0) -> Place:
        """The best segment of a file for a query, float32 [dim].

        `held` is taken off its cosine.
        """
        own = slice(self._starts[column], self._starts[column + 1])
        cosines = np.einsum("nd,d->n", self._matrix[self._row_of[own]], vector, dtype=np.float64)
        scores = cosines.round(6).clip(-1.0, 1.0)  # as a search shows them
        segment = self._segments[own][int(scores.argmax())]
        ((start, end),) = store.rows(
            "SELECT start, end FROM segments WHERE id = ?", (int(segment),)
        )
        score = round(float(scores.max()) - held, 6)
        return Place(self.paths[column], self.roots[column], start, end, score)


def _segments_by_file(
    store: Store,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Segment ids file by file, how many each file has, file ids; most segments first."""
    pairs = np.array(store.rows("SELECT id, file_id FROM segments ORDER BY id"), np.int64)
    if not len(pairs):
        raise NothingIndexedError("The library holds no sound yet.", hint="Type `atri index DIR`.")
    files, inverse, counts = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    order = np.lexsort((files, -counts))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    by_file = np.lexsort((pairs[:, 0], rank[inverse]))
    return pairs[by_file, 0], counts[order], files[order]


def _layers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row in the layered matrix of each segment, int64 [n]; segments in the order of files."""
    column = np.repeat(np.arange(len(counts)), counts)
    depth = np.arange(len(column)) - np.repeat(np.cumsum(counts) - counts, counts)
    narrow = max(1, int(np.searchsorted(-np.bincount(depth), -NARROW, side="right")))
    # Wide layers one after another, then what is left of the few longest files, file by file.
    late = depth >= narrow
    order = np.lexsort((np.where(late, depth, 0), column, np.where(late, narrow, depth)))
    rows = np.empty_like(order)
    rows[order] = np.arange(len(order))
    return rows


def _fill(store: Store, segments: NDArray[np.int64], rows: NDArray[np.int64]) -> Vectors:
    by_id = np.argsort(segments)
    ids, target = segments[by_id], rows[by_id]
    matrix = np.empty((len(segments), store.dim), np.float32)
    for blocks in (flat.blocks(store), store.iter_vectors(READ_ROWS)):
        filled = 0
        for some, block in blocks or ():
            end = filled + len(some)
            if not np.array_equal(ids[filled:end], some) or not np.isfinite(block.sum()):
                break
            matrix[target[filled:end]] = block
            filled = end
        if filled == len(ids):
            return matrix
        # The cache file may be damaged, or end early; the database may not.
    raise damaged(store.path, "A vector is not finite")
