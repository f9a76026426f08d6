"""The database: opening, refusing, vectors, filters, generations."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import atri_cli
from atri_cli.errors import (
    LibraryBusyError,
    LibraryError,
    LibraryTooNewError,
    NothingIndexedError,
    PipelineMismatchError,
)
from atri_cli.library import store as store_module
from atri_cli.library.catalog import Catalog, Embedded
from atri_cli.library.connection import PAGE_BYTES
from atri_cli.library.lock import writing
from atri_cli.library.migrations import APPLICATION_ID, SCHEMA_VERSION
from atri_cli.library.plan import MAY_HEAL
from atri_cli.library.scan import JUNK, Found
from atri_cli.library.store import Store
from atri_cli.library.types import Filters, Window
from tests.library_tools import without_root_rights

DIM = 4


def new_store(folder: Path) -> Store:
    return Store.open(folder, pipeline_id="p1", dim=DIM, model="one")


def sound(segments: int, seconds: float = 3.0, seed: int = 0) -> Embedded:
    matrix = np.random.default_rng(seed).standard_normal((segments, DIM)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    windows = tuple(Window(float(n), n + 2.0) for n in range(segments))
    return Embedded(seconds, 16000, 1, windows, matrix)


def filled(folder: Path) -> Store:
    """Two roots; 1 + 2 + 3 + 4 segments; durations 1, 2, 3, 4 s; dates 10, 20, 30, 40 s."""
    store = new_store(folder)
    catalog = Catalog(store)
    with store.transaction():
        catalog.add_root(Path("/a"))
        catalog.add_root(Path("/b"))
        places = [(1, b"dogs/bark.wav"), (1, b"dogs/old/HOWL.WAV"), (2, b"rain.flac")]
        places.append((2, "café.flac".encode()))
        for number, (root, path) in enumerate(places, start=1):
            found = Found(root, path, number, number * 10 * 10**9)
            catalog.put(found, bytes([number]) * 16, sound(number, float(number), number))
    return store


def files_of(store: Store, filters: Filters) -> set[str]:
    ids = store.segment_ids(filters)
    assert list(ids) == sorted(ids)
    return {info.path.name for info in store.segments_info(ids)}


def test_file_is_what_the_documentation_says(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    raw = (tmp_path / "library.db").read_bytes()
    assert raw[:16] == b"SQLite format 3\0"
    assert int.from_bytes(raw[16:18], "big") == PAGE_BYTES
    assert raw[18:20] == b"\2\2"  # write-ahead log
    assert int.from_bytes(raw[68:72], "big") == APPLICATION_ID
    with new_store(tmp_path) as store:
        meta = dict(store.rows("SELECT key, value FROM meta"))
    assert float(meta.pop("created")) > 1.7e9
    assert meta == {
        "schema_version": str(SCHEMA_VERSION),
        "pipeline_id": "p1",
        "model": "one",
        "dim": "4",
        "generation": "0",
    }


def test_vectors_come_back_as_written(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        ids, matrix = store.vectors()
        assert ids.dtype == np.int64
        assert matrix.dtype == np.float32
        assert store.segment_count() == len(ids) == 10
        expected = np.concatenate([sound(n, seed=n).vectors for n in range(1, 5)])
        np.testing.assert_array_equal(matrix, expected)
        some, part = store.vectors(np.array([9, 2, 999]))
        assert list(some) == [2, 9]
        np.testing.assert_array_equal(part, expected[[1, 8]])


@pytest.mark.parametrize("batch", [1, 3, 10, 100])
def test_iter_vectors_is_vectors_in_pieces(tmp_path: Path, batch: int) -> None:
    with filled(tmp_path) as store:
        pieces = list(store.iter_vectors(batch))
        ids, matrix = store.vectors()
    assert max(len(some) for some, _ in pieces) <= batch
    np.testing.assert_array_equal(np.concatenate([some for some, _ in pieces]), ids)
    np.testing.assert_array_equal(np.concatenate([block for _, block in pieces]), matrix)


def test_an_empty_library_has_no_vectors(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        ids, matrix = store.vectors()
        assert ids.shape == (0,)
        assert matrix.shape == (0, DIM)
        assert store.segments_info([1]) == []


def test_segments_info_keeps_the_order_asked_for(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        infos = store.segments_info([10, 1, 777, 4])
    assert [info.id for info in infos] == [10, 1, 4]
    assert infos[0][2:] == (Path("/b"), Path("café.flac"), 3.0, 5.0, 4.0)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (Filters(), {"bark.wav", "HOWL.WAV", "rain.flac", "café.flac"}),
        (Filters(extensions=("wav",)), {"bark.wav", "HOWL.WAV"}),
        (Filters(extensions=(".FLAC", "mp3")), {"rain.flac", "café.flac"}),
        (Filters(extensions=("av",)), set()),
        (Filters(min_seconds=2, max_seconds=3), {"HOWL.WAV", "rain.flac"}),
        (Filters(max_seconds=0), set()),
        (Filters(since=30), {"rain.flac", "café.flac"}),
        (Filters(roots=(Path("/a"),)), {"bark.wav", "HOWL.WAV"}),
        (Filters(roots=(Path("/a/dogs/old"), Path("/b"))), {"HOWL.WAV", "rain.flac", "café.flac"}),
        (Filters(roots=(Path("/a/do"),)), set()),
        (Filters(roots=(Path("/"),), extensions=("wav",)), {"bark.wav", "HOWL.WAV"}),
        (Filters(paths=("dogs/*",)), {"bark.wav", "HOWL.WAV"}),
        (Filters(paths=("/b/*", "*bark*")), {"bark.wav", "rain.flac", "café.flac"}),
        (Filters(paths=("cafe\u0301*",)), {"café.flac"}),
        (Filters(paths=("*.flac",), max_seconds=3.5, since=0), {"rain.flac"}),
    ],
)
def test_filters(tmp_path: Path, filters: Filters, names: set[str]) -> None:
    with filled(tmp_path) as store:
        assert files_of(store, filters) == names


@given(st.text(alphabet="ab*?[]!/.%_'é", max_size=8))
def test_any_text_is_a_glob(tmp_path_factory: pytest.TempPathFactory, glob: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "globs"
    if not (folder / "library.db").exists():
        filled(folder).close()
    with Store.open(folder, pipeline_id="p1", dim=None, read_only=True) as store:
        everything = set(store.segment_ids(Filters()))
        assert set(store.segment_ids(Filters(paths=(glob,)))) <= everything
        assert set(store.segment_ids(Filters(extensions=(glob,)))) <= everything


def half_a_change(store: Store) -> None:
    catalog = Catalog(store)
    with store.transaction():
        catalog.remove_files([2])
        catalog.put(Found(99, b"x.wav", 1, 1), bytes(16), sound(1))  # there is no root 99


def test_generation_rises_with_segments_alone(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        catalog = Catalog(store)
        start = store.generation
        with store.transaction():
            catalog.touch(1, Found(1, b"renamed.wav", 1, 1))
        assert store.generation == start
        with store.transaction():
            catalog.remove_files([1])
        assert store.generation == start + 1
        with pytest.raises(LibraryError):
            half_a_change(store)
        assert store.generation == start + 1
        assert store.segment_count() == 9


def test_segment_ids_are_never_used_again(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        catalog = Catalog(store)
        with store.transaction():
            catalog.remove_files([4])
        with store.transaction():
            catalog.put(Found(2, b"new.wav", 1, 1), bytes(16), sound(1))
        assert store.vectors()[0].max() == 11


def test_a_reader_sees_one_moment_while_another_process_writes(tmp_path: Path) -> None:
    with filled(tmp_path) as writer, reader_of(tmp_path) as reader:
        with reader.snapshot():
            assert reader.segment_count() == 10
            with writer.transaction():
                Catalog(writer).remove_files([1, 2, 3])
            assert reader.segment_count() == 10
            assert len(reader.vectors()[0]) == 10
        assert reader.segment_count() == 4


def reader_of(folder: Path) -> Store:
    return Store.open(folder, pipeline_id="p1", dim=None, read_only=True)


def test_a_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        with store.rehearsal():
            Catalog(store).remove_files([1, 2, 3, 4])
            assert store.segment_count() == 0
        assert store.segment_count() == 10


def test_nothing_indexed(tmp_path: Path) -> None:
    with pytest.raises(NothingIndexedError, match="atri index"):
        Store.open(tmp_path / "none", pipeline_id="p1", dim=DIM, read_only=True)
    assert not (tmp_path / "none").exists()
    (tmp_path / "library.db").touch()  # killed before the first write
    with pytest.raises(NothingIndexedError):
        Store.open(tmp_path, pipeline_id="p1", dim=DIM, read_only=True)
    with closing(sqlite3.connect(tmp_path / "library.db")) as db:  # or a moment later
        db.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(NothingIndexedError):
        Store.open(tmp_path, pipeline_id="p1", dim=DIM, read_only=True)
    with pytest.raises(NothingIndexedError):
        Store.open(tmp_path, pipeline_id=None, dim=None)
    with new_store(tmp_path) as store:  # or before it knew its model
        store.rows("DELETE FROM meta WHERE key != 'schema_version'")
    with pytest.raises(NothingIndexedError):
        reader_of(tmp_path)
    new_store(tmp_path).close()
    reader_of(tmp_path).close()


def test_another_model_is_refused(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    with pytest.raises(PipelineMismatchError) as caught:
        Store.open(tmp_path, pipeline_id="p2", dim=8, model="two")
    message = str(caught.value)
    for part in ("`one` (p1)", "`two` (p2)", "--reindex", "--library"):
        assert part in message


def test_a_newer_library_is_refused_and_left_alone(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.set_meta(schema_version=SCHEMA_VERSION + 1)
    for read_only in (True, False):
        with pytest.raises(LibraryTooNewError, match="pip install --upgrade"):
            Store.open(tmp_path, pipeline_id="p1", dim=DIM, read_only=read_only)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "library.db")) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(LibraryError, match="not a library of atri"):
        new_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "library.db")) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_migration_is_applied_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atri_cli.library import migrations

    filled(tmp_path).close()
    second = (*migrations.MIGRATIONS, lambda: "CREATE TABLE more (x); INSERT INTO more VALUES (7)")
    for module in (migrations, store_module):
        monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(migrations, "MIGRATIONS", second)
    with pytest.raises(LibraryError, match="older version"):
        reader_of(tmp_path)
    for _ in range(2):
        with new_store(tmp_path) as store:
            assert store.rows("SELECT x FROM more") == [(7,)]
            assert store.meta("schema_version") == "2"
            assert store.segment_count() == 10


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "library.db").write_bytes(b"This is a letter. " * 1000)
    for read_only in (True, False):
        with pytest.raises(LibraryError, match="damaged") as caught:
            Store.open(tmp_path, pipeline_id="p1", dim=DIM, read_only=read_only)
        assert "move the file away" in caught.value.hint


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_an_error_or_harmless(tmp_path: Path, seed: int) -> None:
    with filled(tmp_path) as store:
        catalog = Catalog(store)
        with store.transaction():
            for number in range(300):
                catalog.put(Found(1, b"%d.wav" % number, 1, 1), os.urandom(16), sound(20))
    path = tmp_path / "library.db"
    raw = bytearray(path.read_bytes())
    start = np.random.default_rng(seed).integers(PAGE_BYTES, len(raw) - 4 * PAGE_BYTES)
    raw[start : start + 3 * PAGE_BYTES] = b"\xa5" * (3 * PAGE_BYTES)
    path.write_bytes(raw)
    with reader_of(tmp_path) as store:
        assert store.problems()
        with suppress(LibraryError):  # a damaged page may belong to another table
            assert len(store.vectors()[0]) == 6010


def test_a_vector_of_a_wrong_length_is_damage(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        assert store.problems() == []
        with store.transaction() as db:
            db.execute("UPDATE segments SET vector = x'00' WHERE id = 3")
        assert store.problems() == ["1 vectors of a wrong length"]
        with pytest.raises(LibraryError, match="damaged"):
            store.vectors()
        with store.transaction() as db:
            db.execute("UPDATE segments SET vector = 7 WHERE id = 3")
        with pytest.raises(LibraryError, match="no sequence of bytes"):
            store.vectors()


def test_the_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LibraryError, match="not a directory"):
            new_store(folder)
        with pytest.raises(LibraryError, match="not a directory"), writing(folder):
            pytest.fail("the lock was taken")


def test_a_read_only_folder_can_be_read_and_not_written(tmp_path: Path) -> None:
    filled(tmp_path).close()
    for path in (tmp_path / "library.db", tmp_path):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with without_root_rights():
            with reader_of(tmp_path) as store:
                assert len(store.vectors()[0]) == 10
            with pytest.raises(LibraryError, match="Cannot write"), writing(tmp_path):
                pytest.fail("the lock was taken")
            with pytest.raises(LibraryError), new_store(tmp_path) as store, store.transaction():
                Catalog(store).remove_files([1])
    finally:
        tmp_path.chmod(0o755)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    busy = pytest.raises(LibraryBusyError, match=f"process {os.getpid()}")
    with writing(tmp_path), busy, writing(tmp_path):
        pytest.fail("the lock was taken twice")
    with writing(tmp_path):
        pass


def test_version_is_that_of_the_distribution() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert atri_cli.__version__ == project["project"]["version"]


DOCUMENT = (Path(__file__).parents[1] / "docs" / "storage.md").read_text(encoding="utf-8")


def test_the_documented_way_to_read_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled(tmp_path) as store:
        expected = store.vectors()[1]
    monkeypatch.chdir(tmp_path)
    code = DOCUMENT.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(code + "db.close()", names)
    np.testing.assert_array_equal(names["matrix"], expected)


def test_the_document_names_every_column_and_reason(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        for (table,) in store.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            if not table.startswith("sqlite_"):
                assert f"### {table}" in DOCUMENT
                columns = store.rows(f"SELECT name FROM pragma_table_info('{table}')")
                assert [name for (name,) in columns if f"`{name}`" not in DOCUMENT] == []
    assert [reason for reason in MAY_HEAL if f"`{reason}`" not in DOCUMENT] == []
    assert [name for name in JUNK if name.decode() not in DOCUMENT.lower()] == []
