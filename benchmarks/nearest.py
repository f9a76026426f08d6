"""HNSW against the exact scan, on vectors of real shape."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from atri_cli.library import hnsw
from atri_cli.library.graph import EF_CONSTRUCTION, EF_SEARCH, M
from atri_cli.library.store import Store
from atri_cli.library.vectors import ExactIndex, StoredVectors, VectorSearch
from benchmarks.data import Vectors, make_library, sound_vectors, text_vectors
from benchmarks.options import Options
from benchmarks.table import Row, Table

QUERIES = 200
K = 10
T = TypeVar("T")


def hnsw_and_exact(options: Options, table: Table) -> None:
    """Recall, latency, build and load."""
    folder = options.scratch / "nearest"
    make_library(folder, options.card, sound_vectors(options.segments, options.card.dim))
    queries = text_vectors(QUERIES, options.card.dim, options.segments)
    with Store.open(folder, pipeline_id=options.card.pipeline_id, dim=None) as store:
        build, _ = _timed(lambda: hnsw.rebuild(store))
        load, graph = _timed(lambda: hnsw.load(store))
        if graph is None:
            raise RuntimeError("the graph that was just built is not accepted")
        exact = ExactIndex()
        exact.build(*store.vectors())
        truth, in_memory = _ask(exact, queries)
        found, by_graph = _ask(graph, queries)
        _, by_scan = _ask(StoredVectors(store), queries[:10])
        size = sum(path.stat().st_size for path in folder.glob("vectors-*.hnsw")) / 2**20
    hits = [len(np.intersect1d(one, other)) for one, other in zip(truth, found, strict=True)]
    recall = sum(hits) / (K * QUERIES)
    shape = f"{options.segments:,} x {options.card.dim}"
    settings = f"M {M}, ef {EF_SEARCH}, built with {EF_CONSTRUCTION}, one thread"
    table.rows += [
        Row(
            f"HNSW recall@{K}, {shape}",
            f"{recall:.4f}",
            f"exact scan; {QUERIES} queries off the sounds' manifold",
            "0.99",
            recall >= 0.99,
        ),
        Row(
            "HNSW query, median",
            f"{by_graph:.2f} ms",
            f"numpy in memory {in_memory:.1f} ms, from the library {by_scan:.0f} ms",
            "2 ms",
            by_graph < 2,
        ),
        Row("HNSW build and save", f"{build:.1f} s", settings),
        Row("HNSW check and load", f"{load:.2f} s", f"{size:.0f} MB"),
    ]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def _ask(index: VectorSearch, queries: Vectors) -> tuple[list[NDArray[np.int64]], float]:
    """The ids found for each query, and the median time in ms."""
    runs = [_timed(partial(index.search, query, K)) for query in queries]
    return [found.ids for _, found in runs], 1000 * statistics.median(one for one, _ in runs)
