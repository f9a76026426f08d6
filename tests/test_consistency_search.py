"""The gallery against the search that users see: the same files, order, scores and places."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency import gallery as module
from atri_cli.consistency.gallery import Gallery
from atri_cli.consistency.ranking import first_files
from atri_cli.errors import LibraryError
from atri_cli.library import flat
from atri_cli.library.search import search
from atri_cli.library.store import Store
from atri_cli.library.types import QueryPart
from tests.fake_encoder import PointingEncoder
from tests.vector_data import PIPELINE, clustered, make_store, unit

DIM = 8
# Of equal files the order of folders decides, which is not that of the whole path's bytes.
NAMES = ("b/x.wav", "b-c/x.wav", "b.wav", "B/x.wav", "b/é.wav", "b/z.wav", "b/a b/c.wav", "a.wav")


def fill(folder: Path, owners: list[int], vectors: np.ndarray) -> Store:
    """Segments of the files `NAMES`, the n-th of the file `owners[n]`, in that order of ids."""
    store = Store.open(folder, pipeline_id=PIPELINE, dim=DIM, model="test")
    with store.transaction() as db:
        db.execute("INSERT INTO roots (id, path, added) VALUES (1, ?, 0)", (b"/sounds",))
        db.executemany(
            "INSERT INTO files (id, root_id, path, size, mtime_ns, seconds, status)"
            " VALUES (?, 1, ?, 1, 1, 1, 'ok')",
            [(file + 1, NAMES[file].encode()) for file in sorted(set(owners))],
        )
        db.executemany(
            "INSERT INTO segments (file_id, start, end, vector) VALUES (?, ?, ?, ?)",
            [
                (file + 1, float(n), n + 1.0, row.astype("<f4").tobytes())
                for n, (file, row) in enumerate(zip(owners, vectors, strict=True))
            ],
        )
        store.segments_changed()
    return store


segments = st.lists(st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, 3)), min_size=1)


@given(segments, st.integers(0, 50))
def test_order_scores_and_places_are_those_of_a_search(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int]], seed: int
) -> None:
    kinds = clustered(4, DIM, seed)  # few, so that many files and segments are equal
    owners, chosen = [file for file, _ in drawn], [kind for _, kind in drawn]
    vector = clustered(1, DIM, 100 + seed)[0]
    with fill(tmp_path_factory.mktemp("library"), owners, kinds[chosen]) as store:
        found = Gallery(store)
        # A block of queries, whose products are rounded otherwise than those of one.
        block = np.concatenate([vector[None], clustered(70, DIM, 7)])
        top, scores = first_files(found.scores(block), len(found), found.order)
        hits = search(store, PointingEncoder(vector), [QueryPart("x")], limit=len(NAMES)).hits
        places = [found.place(store, int(column), vector) for column in top[0]]
    assert [place.path for place in places] == [hit.path for hit in hits]
    np.testing.assert_allclose(scores[0], [hit.score for hit in hits], atol=1e-6)
    for place, hit in zip(places, hits, strict=True):
        assert (place.score, place.start, place.end) == (hit.score, hit.start, hit.end)
        assert (place.root, place.path) == (hit.root, hit.path)


def test_of_equal_segments_the_first_is_shown(tmp_path: Path) -> None:
    vector = unit(np.arange(1, DIM + 1.0))
    noisy = np.stack([vector] * 5)
    noisy[3] = np.nextafter(noisy[3], np.float32(2))  # nearer by less than a score shows
    with fill(tmp_path / "library", [0] * 5, noisy) as store:
        assert Gallery(store).place(store, 0, vector).start == 0
        assert search(store, PointingEncoder(vector), [QueryPart("x")]).hits[0].start == 0


def damage_ids(file: Path, ids: list[int]) -> None:
    """Give the first records of a cache file other segment ids."""
    content = bytearray(file.read_bytes())
    size = 8 + 4 * DIM
    for place, one in enumerate(ids):
        start = flat.HEADER_BYTES + place * size
        content[start : start + 8] = one.to_bytes(8, "little")
    file.write_bytes(content)


@pytest.mark.parametrize("ids", [[10**9], [2, 1], [1, 1], [0]])
def test_a_damaged_cache_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[int]
) -> None:
    monkeypatch.setattr(flat, "SMALLEST", 10)
    queries = clustered(4, DIM, 3)
    with make_store(tmp_path / "library", clustered(50, DIM), 3) as store:
        expected = Gallery(store).scores(queries)
        flat.refresh(store)
        damage_ids(store.path.parent / flat.FILE, ids)
        assert list(flat.blocks(store) or ())
        np.testing.assert_array_equal(Gallery(store).scores(queries), expected)


def test_a_cache_file_of_earlier_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "SMALLEST", 10)
    queries = clustered(4, DIM, 3)
    with make_store(tmp_path / "library", clustered(50, DIM), 3) as store:
        flat.refresh(store)
        with store.transaction() as db:
            db.execute("UPDATE segments SET vector = (SELECT vector FROM segments WHERE id = 1)")
            store.segments_changed()
        scores = Gallery(store).scores(queries)
    np.testing.assert_allclose(scores, scores[:, :1].repeat(scores.shape[1], 1), atol=1e-6)


def test_one_very_long_file_among_others(tmp_path: Path) -> None:
    owners = [0] * 9000 + [1, 2, 2] + [0] * 100
    vectors = clustered(len(owners), DIM)
    queries = clustered(300, DIM, 5)
    with fill(tmp_path / "library", owners, vectors) as store:
        found = Gallery(store)
    expected = queries.astype(np.float64) @ vectors.astype(np.float64).T
    tracemalloc.start()
    scores = found.scores(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 300 * (module.TAIL_ROWS + 2000)
    for column, file in enumerate(found.ids.tolist()):
        own = [place for place, owner in enumerate(owners) if owner + 1 == file]
        np.testing.assert_allclose(scores[:, column], expected[:, own].max(axis=1), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_damage(tmp_path: Path, value: float) -> None:
    vectors = clustered(9, DIM)
    vectors[5, 2] = value
    with (
        make_store(tmp_path / "library", vectors, 3) as store,
        pytest.raises(LibraryError, match="damaged"),
    ):
        Gallery(store)


def test_a_segment_without_a_file_is_damage(tmp_path: Path) -> None:
    with make_store(tmp_path / "library", clustered(9, DIM), 3) as store:
        store.db.execute("PRAGMA foreign_keys = OFF")
        store.db.execute("DELETE FROM files WHERE id = 2")
        with pytest.raises(LibraryError, match="damaged"):
            Gallery(store)
