"""Approximate nearest vectors by hnswlib: much faster than a scan once the graph is in memory.

Built by one thread in the order given, so the same vectors give the same graph. hnswlib cannot
take a vector out again: removed ones are marked and skipped, and a rebuild drops them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atri_cli.library.vectors import Neighbours, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.library.vectors import Ids, Vectors

M = 16  # links a vector
EF_CONSTRUCTION = 200
EF_SEARCH = 256  # candidates a query keeps at least: recall against time
SAMPLE = 2048  # vectors whose cosines tell mean and spread


class HnswIndex:
    """An hnswlib graph over unit vectors; inner product is then the cosine."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.removed: Ids = np.empty(0, np.int64)
        self._index: Any = None
        self._ids: Ids = np.empty(0, np.int64)
        self._sample: Vectors | None = None  # reading vectors out of the graph is slow

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Ids:
        """The ids that can be found, int64, ascending."""
        return self._ids

    def build(self, ids: Ids, matrix: Vectors) -> None:
        self.reserve(len(ids))
        self.add(ids, matrix)

    def reserve(self, count: int) -> None:
        """Start empty, with room for `count` vectors."""
        self._index = _engine(self.dim)
        self._index.init_index(
            max_elements=max(1, count), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1
        )
        self._ids = self.removed = np.empty(0, np.int64)
        self._sample = None

    def add(self, ids: Ids, matrix: Vectors) -> None:
        """Add vectors under new ids; int64 [n], float32 [n, dim]. Single-threaded."""
        if len(ids):
            self._index.add_items(matrix, ids, num_threads=1)
            self._ids = np.union1d(self._ids, ids)
            self._sample = None

    def remove(self, ids: Ids) -> None:
        """Make ids unfindable; their vectors stay in the graph as stepping stones."""
        for one in ids.tolist():
            self._index.mark_deleted(one)
        self._ids = np.setdiff1d(self._ids, ids, assume_unique=True)
        self.removed = np.union1d(self.removed, ids)
        self._sample = None

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> Neighbours:
        live = self._ids if allowed is None else np.intersect1d(self._ids, allowed)
        k = min(k, len(live))
        if k < 1:
            return Neighbours(live[:0], np.empty(0, np.float32), 0.0, 0.0)
        ids, cosines = self._nearest(query, k, None if allowed is None else set(live.tolist()))
        return Neighbours(ids, cosines, *self._spread(query, live))

    def _nearest(
        self, query: Vectors, k: int, allowed: set[int] | None
    ) -> tuple[Ids, NDArray[np.float32]]:
        keep = None if allowed is None else allowed.__contains__
        self._index.set_ef(max(EF_SEARCH, 2 * k))
        while k:
            try:
                labels, distances = self._index.knn_query(query, k, num_threads=1, filter=keep)
            except RuntimeError:  # fewer than k reached: hnswlib gives all k or nothing
                k //= 2
                continue
            ids, cosines = labels[0].astype(np.int64), (1 - distances[0]).astype(np.float32)
            order = np.lexsort((ids, -cosines))
            return ids[order], cosines[order]
        return np.empty(0, np.int64), np.empty(0, np.float32)

    def _spread(self, query: Vectors, live: Ids) -> tuple[float, float]:
        """Over evenly spaced ids, so the same library and query always give the same."""
        if live is not self._ids:
            return spread(self._sampled(live) @ query)
        if self._sample is None:
            self._sample = self._sampled(live)
        return spread(self._sample @ query)

    def _sampled(self, live: Ids) -> Vectors:
        step = -(-len(live) // SAMPLE)
        return np.asarray(self._index.get_items(live[::step]), np.float32)

    def save(self, path: Path) -> None:
        """Write the graph.

        Raises:
            OSError: it could not be written completely.
        """
        size = self._index.index_file_size()
        try:
            self._index.save_index(os.fsencode(path))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if path.stat().st_size != size:  # hnswlib does not notice a full disk
            raise OSError(f"Only {path.stat().st_size} of {size} bytes were written")

    @classmethod
    def load(cls, path: Path, dim: int, removed: Ids, room: int = 0) -> HnswIndex:
        """Read a graph that `save` wrote, with room for more vectors.

        hnswlib checks neither the dimension nor the contents: the caller must have done so.

        Raises:
            RuntimeError: missing or not a graph.
        """
        index = cls(dim)
        index._index = _engine(dim)
        index._index.load_index(os.fsencode(path))
        if room:
            index._index.resize_index(index._index.get_current_count() + room)
        labels = np.sort(np.array(index._index.get_ids_list(), np.int64))
        index._ids = np.setdiff1d(labels, removed, assume_unique=True)
        index.removed = removed
        return index


def _engine(dim: int) -> Any:
    import hnswlib

    return hnswlib.Index(space="ip", dim=dim)
