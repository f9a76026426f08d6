"""The vectors' cache: the same answers as the database, and never those of another library."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atri_cli.errors import LibraryError
from atri_cli.library import flat
from atri_cli.library.store import Store
from atri_cli.library.vectors import StoredVectors
from tests.vector_data import add_files, clustered, make_store, remove_files

DIM = 7  # odd: records are padded
COUNT = 3000
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "SMALLEST", 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with make_store(tmp_path, clustered(COUNT, DIM)) as store:
        yield store


def contents(store: Store) -> tuple[np.ndarray, np.ndarray] | None:
    found = flat.blocks(store)
    if found is None:
        return None
    pairs = [(ids.copy(), vectors.copy()) for ids, vectors in found]
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def assert_same(store: Store) -> None:
    found = contents(store)
    assert found is not None
    for got, wanted in zip(found, store.vectors(), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert flat.state(store) == "fresh"


def test_gives_what_the_database_gives(store: Store) -> None:
    assert contents(store) is None
    assert flat.state(store) == "missing"
    flat.refresh(store)
    assert_same(store)


def test_new_segments_are_appended(store: Store) -> None:
    flat.refresh(store)
    inode = flat._path(store).stat().st_ino
    add_files(store, clustered(2500, DIM, 1))
    assert flat.state(store) == "stale"
    assert contents(store) is None
    flat.refresh(store)
    assert flat._path(store).stat().st_ino == inode
    assert_same(store)


def test_after_a_removal_it_is_written_anew(store: Store) -> None:
    flat.refresh(store)
    inode = flat._path(store).stat().st_ino
    remove_files(store, [5, COUNT])
    add_files(store, clustered(2, DIM, 2))  # as many as before
    assert contents(store) is None
    flat.refresh(store)
    assert flat._path(store).stat().st_ino != inode
    assert_same(store)


def test_an_interrupted_append_does_no_harm(store: Store) -> None:
    flat.refresh(store)
    with flat._path(store).open("ab") as file:
        file.write(b"half a record")
    assert_same(store)
    add_files(store, clustered(5, DIM, 3))
    flat.refresh(store)
    assert_same(store)


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda data: data[:0], "damaged"),
        (lambda data: data[:100], "damaged"),
        (lambda data: data[:-1], "damaged"),
        (lambda data: b"\0" * 4096 + data[4096:], "damaged"),
        (lambda data: data[:5000] + b"\1" + data[5001:], "damaged"),
        (lambda data: json.dumps([1]).encode().ljust(4096) + data[4096:], "damaged"),
        (lambda data: data.replace(b'"version": 1', b'"version": 2'), "damaged"),
        (lambda data: data.replace(b'"pipeline_id": "', b'"pipeline_id": "x'), "stale"),
        (lambda data: data.replace(b'"count": 3000', b'"count": 2999'), "stale"),
    ],
)
def test_damage_is_found_and_repaired(store: Store, damage, state: str) -> None:
    flat.refresh(store)
    path = flat._path(store)
    path.write_bytes(damage(path.read_bytes()))
    assert flat.state(store) == state
    flat.rebuild(store)
    assert_same(store)


def test_a_search_is_the_same_with_and_without(store: Store) -> None:
    query = clustered(1, DIM, 9)[0]
    allowed = np.arange(2, COUNT, 2)
    without = [StoredVectors(store).search(query, 20, ids) for ids in (None, allowed)]
    flat.refresh(store)
    for before, ids in zip(without, (None, allowed), strict=True):
        after = StoredVectors(store).search(query, 20, ids)
        np.testing.assert_array_equal(before.ids, after.ids)
        np.testing.assert_allclose(before.cosines, after.cosines, atol=1e-6)
        assert after.mean == pytest.approx(before.mean)


def test_a_small_library_has_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flat.refresh(store)
    monkeypatch.setattr(flat, "SMALLEST", COUNT + 1)
    flat.refresh(store)
    assert not flat._path(store).exists()
    assert flat.state(store) == "unused"


def test_a_reader_keeps_what_it_has_opened(store: Store) -> None:
    flat.refresh(store)
    found = flat.blocks(store)
    assert found is not None
    first = next(found)[0].copy()
    remove_files(store, [1])
    flat.refresh(store)
    ids = np.concatenate([first, *(ids.copy() for ids, _ in found)])
    np.testing.assert_array_equal(ids, np.arange(1, COUNT + 1))


def test_a_full_disk_leaves_the_old_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flat, "_finish", full)
    with pytest.raises(LibraryError, match="vectors' cache"):
        flat.refresh(store)
    assert sorted(path.name for path in store.path.parent.glob("vectors*")) == []


WRITER = """
import sys
from pathlib import Path
from atri_cli.library import flat
from atri_cli.library.store import Store
from tests.vector_data import PIPELINE, add_files, clustered, remove_files
flat.SMALLEST = 10
with Store.open(Path(sys.argv[1]), pipeline_id=PIPELINE, dim=7, model="test") as store:
    for round in range(1000):
        add_files(store, clustered(400, 7, round))
        if round % 3 == 2:
            remove_files(store, [round + 1])
        flat.refresh(store)
        print(round, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kills_at_random_moments(store: Store) -> None:
    random = np.random.default_rng(0)
    folder = store.path.parent
    for _ in range(8):
        command = [sys.executable, "-c", WRITER, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        process.stdout.readline()  # it writes now
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.communicate()
        found = contents(store)
        if found is not None:
            assert_same(store)
    flat.refresh(store)
    assert_same(store)
