"""Ranking, grouping, filters and the choice of engine, with vectors chosen by the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import NothingIndexedError, UsageError
from atri_cli.library import hnsw, search
from atri_cli.library.hnsw import HEADER_FILE, rebuild
from atri_cli.library.search import search as run
from atri_cli.library.store import Store
from atri_cli.library.types import Filters, QueryPart, SearchResult
from tests.fake_encoder import FakeEncoder, PointingEncoder
from tests.vector_data import Vectors, add_files, clustered, make_store, remove_files, unit

DIM = 16


FIRST_AXIS = np.eye(DIM, dtype=np.float32)[0]


def ask(
    store: Store,
    *,
    encoder: FakeEncoder | None = None,
    limit: int = 10,
    filters: Filters = Filters(),  # noqa: B008  (frozen)
    segments_per_file: int = 1,
) -> SearchResult:
    return run(
        store,
        encoder or PointingEncoder(FIRST_AXIS),
        [QueryPart(text="any")],
        limit=limit,
        filters=filters,
        segments_per_file=segments_per_file,
    )


def paths(result: SearchResult) -> list[str]:
    return [hit.path.name for hit in result.hits]


def best_files(matrix: Vectors, query: Vectors, per_file: int) -> list[int]:
    scores = (matrix @ query).reshape(-1, per_file).max(axis=1)
    return np.argsort(-scores, kind="stable").tolist()


def test_files_are_ranked_by_their_best_segment(tmp_path: Path) -> None:
    matrix = clustered(600, DIM)
    query = clustered(1, DIM, seed=3)[0]
    with make_store(tmp_path / "mine", matrix, per_file=3) as store:
        result = ask(store, encoder=PointingEncoder(query), limit=25, segments_per_file=2)
    order = best_files(matrix, query, 3)[:25]
    assert [int(hit.path.stem) for hit in result.hits] == order
    assert (result.library, result.model) == ("mine", "fake")
    assert (result.searched_segments, result.method) == (600, "exact")
    cosines = matrix @ query
    for hit in result.hits:
        own = cosines[int(hit.path.stem) * 3 :][:3]
        assert hit.score == pytest.approx(own.max(), abs=1e-6)
        assert (hit.start, hit.end) == (own.argmax(), own.argmax() + 1)
        assert hit.z == pytest.approx((own.max() - cosines.mean()) / cosines.std(), abs=1e-3)
        assert [one.score for one in hit.segments] == pytest.approx(np.sort(own)[:0:-1], abs=1e-6)
        assert (hit.root, hit.duration) == (Path("/sounds"), 3.0)


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_one_long_file_does_not_hide_the_others(tmp_path: Path, limit: int) -> None:
    axis = np.eye(DIM)[0]
    noise = 0.05 * np.random.default_rng(0).standard_normal((5000, DIM))
    with make_store(tmp_path, unit(axis + noise), per_file=5000) as store:
        add_files(store, clustered(30, DIM))
        hits = ask(store, limit=limit).hits
    assert len(hits) == limit
    assert hits[0].path.name == "000000.flac"
    assert len({hit.path for hit in hits}) == limit


def test_fewer_files_than_asked_for(tmp_path: Path) -> None:
    with make_store(tmp_path, clustered(10, DIM), per_file=5) as store:
        result = ask(store, limit=100, segments_per_file=100)
    assert [len(hit.segments) for hit in result.hits] == [5, 5]


def test_equal_scores_are_in_the_order_of_paths_and_times(tmp_path: Path) -> None:
    same = np.repeat(clustered(1, DIM), 3000, axis=0)
    with make_store(tmp_path, same, per_file=3) as store:
        result = ask(store, limit=4, segments_per_file=2)
    assert [hit.path.stem for hit in result.hits] == ["000000", "000001", "000002", "000003"]
    assert [[one.start for one in hit.segments] for hit in result.hits] == [[0.0, 1.0]] * 4
    assert {hit.z for hit in result.hits} == {0.0}


def test_filters_come_before_the_ranking(tmp_path: Path) -> None:
    matrix = clustered(900, DIM)
    query = clustered(1, DIM, seed=3)[0]
    with make_store(tmp_path, matrix) as store:
        encoder = PointingEncoder(query)
        result = ask(store, encoder=encoder, limit=5, filters=Filters(extensions=("flac",)))
        expected = [3 * row for row in best_files(matrix[::3], query, 1)[:5]]
        assert [int(hit.path.stem) for hit in result.hits] == expected
        assert result.searched_segments == 300
        nothing = ask(store, filters=Filters(extensions=("mp3",)))
        assert (nothing.hits, nothing.searched_segments) == ((), 0)
        since = ask(store, limit=1000, filters=Filters(since=890.0, paths=("*.wav",)))
        assert all(int(hit.path.stem) >= 890 and hit.path.suffix == ".wav" for hit in since.hits)
        assert since.hits


def test_an_empty_library_says_what_to_type(tmp_path: Path) -> None:
    empty = np.empty((0, DIM), np.float32)
    message = "atri index ~/sounds"
    with make_store(tmp_path, empty) as store, pytest.raises(NothingIndexedError, match=message):
        ask(store)


@pytest.mark.parametrize("options", [{"limit": 0}, {"segments_per_file": 0}])
def test_numbers_below_one_are_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with make_store(tmp_path, clustered(3, DIM)) as store, pytest.raises(UsageError):
        ask(store, **options)


@given(count=st.integers(1, 60), per_file=st.integers(1, 7), limit=st.integers(1, 12))
def test_any_shape_of_library_agrees_with_a_naive_ranking(
    tmp_path_factory: pytest.TempPathFactory, count: int, per_file: int, limit: int
) -> None:
    matrix = clustered(count * per_file, DIM, seed=count)
    query = clustered(1, DIM, seed=per_file)[0]
    with make_store(tmp_path_factory.mktemp("store"), matrix, per_file) as store:
        result = ask(store, encoder=PointingEncoder(query), limit=limit)
    expected = best_files(matrix, query, per_file)[:limit]
    assert [int(hit.path.stem) for hit in result.hits] == expected


# Which engine answers


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Counts as large, and has been searched once."""
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 100)
    store = make_store(tmp_path / "large", clustered(2000, DIM), per_file=4)
    rebuild(store)
    assert ask(store).method == "exact"
    return store


def test_the_graph_is_used_from_the_second_search_on(large: Store) -> None:
    with large as store:
        for seed in range(20):
            encoder = PointingEncoder(clustered(1, DIM, seed=seed)[0])
            by_graph = ask(store, encoder=encoder, segments_per_file=3)
            search._sessions.pop(store)
            by_scan = ask(store, encoder=encoder, segments_per_file=3)
            assert (by_graph.method, by_scan.method) == ("hnsw", "exact")
            assert paths(by_graph) == paths(by_scan)
            for one, other in zip(by_graph.hits, by_scan.hits, strict=True):
                assert (one.score, one.start) == (other.score, other.start)
                assert one.z == pytest.approx(other.z, abs=1e-3)
                assert len(one.segments) == 3
            ask(store)


def test_few_segments_after_filtering_are_scanned(large: Store) -> None:
    with large as store:
        assert ask(store, filters=Filters(extensions=("flac",))).method == "hnsw"
        assert ask(store, filters=Filters(paths=("*00001*",))).method == "exact"


def test_a_filtered_search_by_graph_is_right(large: Store) -> None:
    with large as store:
        encoder = PointingEncoder(clustered(1, DIM, seed=5)[0])
        filters = Filters(extensions=("flac",))
        by_graph = ask(store, encoder=encoder, filters=filters)
        search._sessions.pop(store)
        assert paths(by_graph) == paths(ask(store, encoder=encoder, filters=filters))
        assert all(name.endswith(".flac") for name in paths(by_graph))


def test_a_stale_graph_is_not_used(large: Store) -> None:
    with large as store:
        assert ask(store).method == "hnsw"
        add_files(store, np.eye(DIM, dtype=np.float32)[:1])
        result = ask(store)
        assert (result.method, result.hits[0].path.stem) == ("exact", "000500")
        hnsw.refresh(store)
        search._sessions.pop(store)
        ask(store)
        assert ask(store).method == "hnsw"
        remove_files(store, [501])
        assert "000500" not in {hit.path.stem for hit in ask(store).hits}


@pytest.mark.parametrize("victim", [HEADER_FILE, "*.hnsw"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 1000, None])
def test_a_damaged_cache_changes_no_answer(large: Store, victim: str, damage: bytes | None) -> None:
    with large as store:
        before = ask(store)
        for path in store.path.parent.glob(victim):
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage)
        search._sessions.pop(store)
        for _ in range(2):
            after = ask(store)
            assert (after.method, paths(after)) == ("exact", paths(before))


def test_many_equal_vectors_send_the_graph_back_to_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 100)
    monkeypatch.setattr(search, "MAX_GRAPH_K", 300)
    same = np.repeat(clustered(1, DIM), 1000, axis=0)
    with make_store(tmp_path, same) as store:
        rebuild(store)
        ask(store)
        result = ask(store, limit=3)
    assert result.method == "exact"
    assert [hit.path.stem for hit in result.hits] == ["000000", "000001", "000002"]
