"""The cache of the HNSW graph: used when it fits in every respect, else left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atri_cli.errors import LibraryError
from atri_cli.library import graph, hnsw
from atri_cli.library.graph import HnswIndex
from atri_cli.library.hnsw import HEADER_FILE, load, rebuild, refresh
from atri_cli.library.hnsw import state as cache_state
from atri_cli.library.store import Store
from tests.vector_data import add_files, clustered, make_store, remove_files


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with make_store(tmp_path / "library", clustered(400, 16), per_file=4) as store:
        yield store


def graph_files(store: Store) -> list[Path]:
    return sorted(store.path.parent.glob("vectors-*"))


def rewrite_header(store: Store, **changes: Any) -> None:
    path = store.path.parent / HEADER_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_rebuilt_cache_is_fresh_and_answers(store: Store) -> None:
    assert cache_state(store) == "missing"
    assert load(store) is None
    rebuild(store)
    assert cache_state(store) == "fresh"
    index = load(store)
    assert index is not None
    ids, matrix = store.vectors()
    np.testing.assert_array_equal(index.ids, ids)
    assert index.search(matrix[17], 3).ids[0] == ids[17]


def test_building_is_reproducible(store: Store) -> None:
    rebuild(store)
    first = graph_files(store)[0].read_bytes()
    rebuild(store)
    assert [path.read_bytes() for path in graph_files(store)] == [first]


def test_k_and_ef_work_after_loading(store: Store) -> None:
    rebuild(store)
    index = load(store)
    assert index is not None
    assert len(index.search(clustered(1, 16)[0], 1000).ids) == 400


def test_a_changed_library_makes_it_stale(store: Store) -> None:
    rebuild(store)
    add_files(store, clustered(4, 16, seed=5))
    assert cache_state(store) == "stale"
    assert load(store) is None


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"dim": 8}, "stale"),
        ({"pipeline_id": "other"}, "stale"),
        ({"count": 399}, "stale"),
        ({"generation": 77}, "stale"),
        ({"version": 2}, "damaged"),
        ({"format": "other"}, "damaged"),
        ({"machine": "big-32"}, "damaged"),
        ({"crc32": 1}, "damaged"),
        ({"bytes": 3}, "damaged"),
        ({"file": "../elsewhere.hnsw"}, "damaged"),
        ({"file": "nowhere.hnsw"}, "damaged"),
        ({"dim": "16"}, "damaged"),
        ({"removed": ["x"]}, "damaged"),
        ({"unknown": 1}, "damaged"),
    ],
)
def test_any_difference_in_the_header_counts(
    store: Store, changes: dict[str, Any], state: str
) -> None:
    rebuild(store)
    rewrite_header(store, **changes)
    assert cache_state(store) == state
    assert load(store) is None
    # The checksum is not looked at by each run of `atri index`: that is for `doctor --fix`.
    (rebuild if "crc32" in changes else refresh)(store)
    assert cache_state(store) == "fresh"
    assert load(store) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_a_damaged_header(store: Store, content: bytes) -> None:
    rebuild(store)
    (store.path.parent / HEADER_FILE).write_bytes(content)
    assert cache_state(store) == "damaged"
    assert load(store) is None


@pytest.mark.parametrize("place", [0, 8, 100, 5000, -1])
def test_one_flipped_bit_anywhere_is_noticed(store: Store, place: int) -> None:
    rebuild(store)
    path = graph_files(store)[0]
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert cache_state(store) == "damaged"
    assert load(store) is None


def test_a_cut_or_missing_graph(store: Store) -> None:
    rebuild(store)
    path = graph_files(store)[0]
    path.write_bytes(path.read_bytes()[:-10])
    assert cache_state(store) == "damaged"
    path.unlink()
    assert cache_state(store) == "damaged"
    assert load(store) is None


def test_refresh_adds_and_removes_without_building_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(store)
    monkeypatch.setattr(hnsw, "rebuild", lambda *_: pytest.fail("built anew"))
    remove_files(store, [1, 50])
    add_files(store, clustered(40, 16, seed=6), per_file=4)
    refresh(store)
    check_same_as_store(store)
    remove_files(store, [2])
    refresh(store)
    check_same_as_store(store)
    assert len(graph_files(store)) == 1


def check_same_as_store(store: Store) -> None:
    assert cache_state(store) == "fresh"
    index = load(store)
    assert index is not None
    ids, matrix = store.vectors()
    np.testing.assert_array_equal(index.ids, ids)
    for row in range(0, len(ids), 37):
        found = index.search(matrix[row], 10)
        cosines = matrix @ matrix[row]
        np.testing.assert_allclose(found.cosines, np.sort(cosines)[::-1][:10], atol=1e-6)


def test_refresh_builds_anew_when_much_is_gone(store: Store) -> None:
    rebuild(store)
    remove_files(store, range(1, 20))
    refresh(store)
    index = load(store)
    assert index is not None
    assert len(index.removed) == 0
    check_same_as_store(store)


def test_refresh_of_a_fresh_cache_neither_reads_nor_writes_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(store)
    before = [path.stat().st_mtime_ns for path in graph_files(store)]
    monkeypatch.setattr(hnsw, "_crc32", lambda path: pytest.fail(f"read {path}"))
    refresh(store)
    assert [path.stat().st_mtime_ns for path in graph_files(store)] == before


def test_refresh_replaces_a_graph_that_is_cut(store: Store) -> None:
    rebuild(store)
    graph_files(store)[0].write_bytes(b"cut")
    refresh(store)
    check_same_as_store(store)


def test_adding_vectors_tells_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw, "ADD_ROWS", 150)
    told: list[tuple[int, int]] = []
    refresh(store, lambda *how_far: told.append(how_far))
    assert told == [(0, 400), (150, 400), (300, 400)]
    add_files(store, clustered(40, 16, seed=6), per_file=4)
    refresh(store, lambda *how_far: told.append(how_far))
    assert told[3:] == [(0, 40)]


def test_a_small_library_needs_and_keeps_no_cache(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(store)
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 400)
    refresh(store)
    assert cache_state(store) == "unused"
    assert sorted(path.name for path in store.path.parent.glob("vectors*")) == []


def test_leftovers_of_a_killed_process_go(store: Store) -> None:
    (store.path.parent / "vectors-123.tmp").write_bytes(b"half")
    rebuild(store)
    assert [path.suffix for path in graph_files(store)] == [".hnsw"]


def test_a_full_disk_is_an_error_that_harms_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(store)
    add_files(store, clustered(4, 16, seed=5))
    before = [path.read_bytes() for path in graph_files(store)]

    def half(_: HnswIndex, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HnswIndex, "save", half)
    with pytest.raises(LibraryError, match=r"No space left on device.*complete"):
        refresh(store)
    assert [path.read_bytes() for path in graph_files(store)] == before
    assert cache_state(store) == "stale"


def test_an_incomplete_save_is_noticed(tmp_path: Path) -> None:
    index = HnswIndex(16)
    index.build(np.arange(5), clustered(5, 16))
    with pytest.raises(OSError, match="No such file"):
        index.save(tmp_path / "nowhere" / "graph")
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match=r"0 of \d+ bytes"):
        index.save(Path("/dev/full"))


def test_a_folder_name_that_is_not_utf8(tmp_path: Path) -> None:
    folder = Path(str(tmp_path) + "/caf\udce9")
    with make_store(folder, clustered(150, 16)) as store:
        rebuild(store)
        assert cache_state(store) == "fresh"
        assert load(store) is not None


def test_dead_ends_give_fewer_hits_instead_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "EF_SEARCH", 2)
    index = HnswIndex(16)
    index.build(np.arange(3000), clustered(3000, 16))
    found = index.search(clustered(1, 16, seed=8)[0], 40, np.arange(0, 3000, 60))
    assert set(found.ids.tolist()) <= set(range(0, 3000, 60))
    assert len(found.ids) <= 40
