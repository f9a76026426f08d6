"""Search: a ranking of segments, grouped by file.

Which engine answers: a scan of the database, or the HNSW graph where it saves time. Reading the
graph from disk takes longer than scanning the database once, so the first search over an open
library scans, and the graph is loaded when a second one comes (docs/decisions/0003).
Whatever found the files, the scores shown are computed from the stored vectors.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import numpy as np

from atri_cli.encoders.names import load_names
from atri_cli.errors import NothingIndexedError, UsageError
from atri_cli.library import hnsw, hubs
from atri_cli.library.failures import damaged
from atri_cli.library.graph import HnswIndex
from atri_cli.library.query import query_vector
from atri_cli.library.store import SegmentInfo, Store
from atri_cli.library.types import Filters, QueryPart, SearchHit, SearchResult, SegmentHit
from atri_cli.library.vectors import StoredVectors, VectorSearch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.encoders.types import Encoder
    from atri_cli.library.vectors import Ids, Neighbours, Vectors

FIRST_K = 256
GROWTH = 8
MAX_GRAPH_K = 2048  # above, a graph is slower than a scan
POOL = 200  # files of the highest cosines, among which hubs are held back; 100 give the same ten
POOL_K = 1024  # segments in which these files are sought
NOISE = 1e-5  # cosines of equal vectors differ by less, whoever computes them


def search(
    store: Store,
    encoder: Encoder,
    parts: Sequence[QueryPart],
    *,
    limit: int = 10,
    filters: Filters = Filters(),  # noqa: B008  (frozen)
    segments_per_file: int = 1,
    csls: bool = True,
) -> SearchResult:
    """Find the files whose best segment is nearest to the query.

    If the model keeps names and a text is asked for, the nearest files are put in another order:
    those that lie near every name are held back (`hubs.py`).

    Files with equal scores are in the order of their paths, and segments in that of time, so the
    same library and query always give the same result. `z` refers to all searched segments after
    a scan, to a fixed sample of them after HNSW.

    Args:
        store: an open library.
        encoder: the model that made it.
        parts: texts and sounds; negative weights steer away.
        limit: at most so many files.
        filters: which files take part; applied before ranking.
        segments_per_file: at most so many segments of each file, best first.
        csls: whether hubs are held back.

    Raises:
        NothingIndexedError: the library holds no segment.
        UsageError: the query is empty or cancels itself out, or a number is below 1.
        AudioError: a sound to compare with cannot be read.
    """
    if limit < 1 or segments_per_file < 1:
        raise UsageError("A search needs at least one hit and one segment a file.")
    count = store.segment_count()
    if not count:
        raise NothingIndexedError(
            "Nothing is indexed yet.", hint="Index a folder first: `atri index ~/sounds`."
        )
    query = query_vector(encoder, parts)
    wanted = any(part.text is not None and part.weight > 0 for part in parts)
    names = load_names(encoder.card) if csls and wanted else None
    with store.snapshot():
        allowed = store.segment_ids(filters) if filters else None
        searched = count if allowed is None else len(allowed)
        question = _Question(query, limit, allowed, searched, names.vectors if names else None)
        found = _find(store, question)
        held = _held_back(store, question, found)
        hits = _hits(store, question, found, held, segments_per_file)
    name, model = store.path.parent.name, encoder.card.name
    return SearchResult(hits, tuple(parts), name, model, searched, found.method)


@dataclass(frozen=True)
class _Question:
    """`allowed` as in `VectorSearch.search`; `searched` segments take part.

    `names`: float32 [n, dim], by which hubs are known; None holds none back.
    """

    query: Vectors
    limit: int
    allowed: Ids | None
    searched: int
    names: Vectors | None = None

    @property
    def pool(self) -> int:
        """How many files are looked at, of which `limit` are given."""
        return self.limit if self.names is None else max(self.limit, POOL)

    @property
    def first_k(self) -> int:
        """How many segments are asked for at first."""
        return max(FIRST_K if self.names is None else POOL_K, 4 * self.limit)


@dataclass(frozen=True)
class _Found:
    """Files that may be among the best, and their cosines; `certain` when no other can be."""

    files: dict[int, float]
    neighbours: Neighbours
    certain: bool
    method: Literal["exact", "hnsw"]


@dataclass
class _Session:
    """What is kept while a library stays open; `penalties` by file, those of one generation."""

    searches: int = 0
    generation: int = -1
    graph: HnswIndex | None = None
    penalties: dict[int, float] = field(default_factory=dict)
    penalties_of: int = -1


_sessions: WeakKeyDictionary[Store, _Session] = WeakKeyDictionary()


def _find(store: Store, question: _Question) -> _Found:
    graph = _graph(store, question.searched)
    if graph is not None:
        found = _best_files(store, graph, question, min(question.searched, MAX_GRAPH_K))
        if found.certain:
            return found
    return _best_files(store, StoredVectors(store), question, question.searched)


def _graph(store: Store, searched: int) -> HnswIndex | None:
    """The graph, when it is worth using and fits the library as it is now."""
    session = _sessions.setdefault(store, _Session())
    session.searches += 1
    if session.searches == 1 or searched <= hnsw.EXACT_LIMIT:
        return None
    if session.generation != store.generation:
        session.graph = hnsw.load(store)
        session.generation = store.generation
    return session.graph


def _best_files(store: Store, index: VectorSearch, question: _Question, most: int) -> _Found:
    """Ask for more and more segments, at most `most`, until they lie in enough files.

    All files whose cosine is one of the `limit` best, and at most `pool` in all.
    """
    limit, k = question.limit, question.first_k
    while True:
        k = min(k, most)
        found = index.search(question.query, k, question.allowed)
        best: dict[int, float] = {}
        file_of = _files_of(store, found.ids)
        for segment, cosine in zip(found.ids.tolist(), found.cosines.tolist(), strict=True):
            best.setdefault(file_of[segment], cosine)
        floor = _floor(best.values(), limit) if best else 0.0
        enough = len(best) >= limit and float(found.cosines[-1]) < floor
        if enough or len(found.ids) < k or k == most:
            sure = sum(cosine >= floor for cosine in best.values())
            files = dict(islice(best.items(), max(sure, question.pool)))
            exact = not isinstance(index, HnswIndex)
            return _Found(files, found, enough or exact, "exact" if exact else "hnsw")
        k *= GROWTH


def _floor(scores: Iterable[float], limit: int) -> float:
    """What a file must have to be among the `limit` best, whoever computed the scores."""
    return sorted(scores, reverse=True)[:limit][-1] - NOISE


def _files_of(store: Store, segments: Ids) -> dict[int, int]:
    """The file id of each segment id.

    Raises:
        LibraryError: a segment that was just read is not found by its id.
    """
    rows = store.rows(
        "SELECT id, file_id FROM segments WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(segments.tolist()),),
    )
    if len(rows) != len(segments):
        raise damaged(store.path, "Its table of segments contradicts itself")
    return dict(rows)


def _segments_of(store: Store, files: list[int]) -> tuple[dict[int, int], Ids]:
    """The file id of each segment of some files, and the segment ids, ascending."""
    rows = store.rows(
        "SELECT id, file_id FROM segments WHERE file_id IN (SELECT value FROM json_each(?))",
        (json.dumps(files),),
    )
    file_of: dict[int, int] = dict(rows)
    return file_of, np.array(sorted(file_of), np.int64)


def _held_back(store: Store, question: _Question, found: _Found) -> dict[int, float]:
    """The penalties of the files that may be among the best once hubs are held back."""
    if question.names is None or not found.files:
        return dict.fromkeys(found.files, 0.0)
    session = _sessions.setdefault(store, _Session())
    if session.penalties_of != store.generation:
        session.penalties, session.penalties_of = {}, store.generation
    known = session.penalties
    new = [file for file in found.files if file not in known]
    known |= _penalties(store, new, question.names) if new else {}
    scores = [cosine - known[file] for file, cosine in found.files.items()]
    floor = _floor(scores, question.limit)
    pairs = zip(found.files, scores, strict=True)
    return {file: known[file] for file, score in pairs if score >= floor}


def _penalties(store: Store, files: list[int], names: Vectors) -> dict[int, float]:
    file_of, ids = _segments_of(store, files)
    owners = np.array([file_of[one] for one in ids.tolist()], np.int64)
    ids, owners = (some[np.lexsort((ids, owners))] for some in (ids, owners))
    found, counts = np.unique(owners, return_counts=True)
    standing = ids[hubs.sampled(counts)]
    ascending, vectors = store.vectors(np.sort(standing))
    rows = np.searchsorted(ascending, standing)
    held = hubs.penalties(vectors, rows, np.minimum(counts, hubs.SEGMENTS), names)
    return dict(zip(found.tolist(), held.tolist(), strict=True))


def _hits(
    store: Store,
    question: _Question,
    found: _Found,
    held: dict[int, float],
    segments_per_file: int,
) -> tuple[SearchHit, ...]:
    file_of, ids = _segments_of(store, list(held))
    ids, vectors = store.vectors(ids)
    cosines = _cosines(vectors, question.query)
    best: defaultdict[int, list[int]] = defaultdict(list)
    for place in np.lexsort((ids, -cosines)).tolist():
        segments = best[file_of[int(ids[place])]]
        if len(segments) < segments_per_file:
            segments.append(place)
    shown = [place for places in best.values() for place in places]
    info = {one.id: one for one in store.segments_info(ids[shown])}
    if len(info) != len(shown):
        raise damaged(store.path, "A segment belongs to no file")
    hits = [
        _hit([(info[int(ids[at])], float(cosines[at])) for at in places], found, held[file])
        for file, places in best.items()
    ]
    hits.sort(key=lambda hit: (-hit.score, hit.path))
    return tuple(hits[: question.limit])


def _cosines(vectors: Vectors, query: Vectors) -> NDArray[np.float64]:
    """Cosines [n], the same for equal rows wherever they stand, which BLAS does not promise."""
    products: NDArray[np.float64] = np.einsum("nd,d->n", vectors, query, dtype=np.float64)
    return products.round(6).clip(-1.0, 1.0)


def _hit(segments: list[tuple[SegmentInfo, float]], found: _Found, held: float) -> SearchHit:
    shown = tuple(
        SegmentHit(info.start, info.end, round(one - held, 6), found.neighbours.z(one), one)
        for info, one in segments
    )
    first, best = segments[0][0], shown[0]
    return SearchHit(
        path=first.root / first.path,
        root=first.root,
        start=best.start,
        end=best.end,
        score=best.score,
        z=best.z,
        duration=first.seconds,
        segments=shown,
        cosine=best.cosine,
    )
