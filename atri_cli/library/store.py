"""One SQLite database per library: the only source of truth. docs/storage.md describes it.

`Store` opens it, gives out vectors and segments for searching, and runs transactions;
`catalog.py` has the roots and files that indexing reads and writes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from atri_cli.errors import LibraryError, NothingIndexedError, PipelineMismatchError
from atri_cli.library.connection import connect, connect_memory
from atri_cli.library.failures import damaged, explained
from atri_cli.library.filtering import matching_files
from atri_cli.library.migrations import SCHEMA_VERSION, migrate, refuse_newer, schema_version

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atri_cli.library.types import Filters

    Ids = NDArray[np.int64]
    Vectors = NDArray[np.float32]

DATABASE_FILE = "library.db"
ROWS_PER_FETCH = 2048


class SegmentInfo(NamedTuple):
    """Where a segment is; `start`, `end` and `seconds` (of the whole file) in seconds."""

    id: int
    file_id: int
    root: Path
    path: Path
    start: float
    end: float
    seconds: float


class Store:
    """An open library database. Use it from one thread at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path, read_only: bool) -> None:
        self.db = db
        self.path = path
        self.read_only = read_only
        self._segments_changed = False

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        pipeline_id: str | None,
        dim: int | None,
        read_only: bool = False,
        model: str = "",
    ) -> Store:
        """Open the database in `folder`; make it when `pipeline_id` and `dim` are given.

        Args:
            folder: the library's folder.
            pipeline_id: the model that must have made the library; None accepts any.
            dim: numbers in a vector; needed to make a new library.
            read_only: never write, never create.
            model: the model's name, for a new library and for error messages.

        Raises:
            NothingIndexedError: there is no library and none may be made.
            PipelineMismatchError: the library was made with another model.
            LibraryTooNewError: a newer version of atri made it.
            LibraryError: it cannot be opened, or is damaged.
        """
        path = folder / DATABASE_FILE
        creating = not read_only and pipeline_id is not None and dim is not None
        if not creating and not _has_content(path):
            raise _nothing_indexed()
        with explained(path):
            store = cls(connect(path, read_only), path, read_only)
            try:
                store._prepare(pipeline_id, dim, model)
            except BaseException:
                store.close()
                raise
        return store

    @classmethod
    def in_memory(cls, pipeline_id: str, dim: int, model: str) -> Store:
        """An empty library that leaves nothing behind."""
        store = cls(connect_memory(), Path(":memory:"), False)
        store._prepare(pipeline_id, dim, model)
        return store

    def _prepare(self, pipeline_id: str | None, dim: int | None, model: str) -> None:
        version = schema_version(self.db, self.path)
        refuse_newer(version, self.path)
        making = not self.read_only and pipeline_id is not None and dim is not None
        if version == 0 and not making:  # killed before its first write
            raise _nothing_indexed()
        if version < SCHEMA_VERSION:
            self._upgrade(version)
        made_by = self.pipeline_id
        if made_by:
            if pipeline_id not in (None, made_by):
                raise self._mismatch(pipeline_id, model)
        elif self.read_only or pipeline_id is None or dim is None:
            raise _nothing_indexed()
        else:
            self.set_model(pipeline_id, dim, model)

    def _upgrade(self, version: int) -> None:
        if self.read_only:
            raise LibraryError(
                f"The library `{self.path}` was written by an older version of atri.",
                hint="`atri index` brings it up to date.",
            )
        migrate(self.db, version)

    def _mismatch(self, pipeline_id: str | None, model: str) -> PipelineMismatchError:
        asked = f"`{model}` ({pipeline_id})" if model else f"`{pipeline_id}`"
        return PipelineMismatchError(
            f"The library was made with the model `{self.model}` ({self.pipeline_id}), "
            f"and now {asked} is asked for.",
            why="Vectors of two models cannot be compared.",
            hint=(
                "Embed everything again with `atri index --reindex`, "
                "or keep both models side by side with `--library NAME`."
            ),
        )

    def close(self) -> None:
        """Close the database; the last one to close it folds the write-ahead log in."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the library is

    def meta(self, key: str, default: str = "") -> str:
        """A value of the table `meta`."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else default

    def set_meta(self, **values: str | int | float) -> None:
        """Write values of the table `meta` at once; inside or outside a transaction."""
        pairs = [part for key, value in values.items() for part in (key, str(value))]
        marks = ", ".join(["(?, ?)"] * len(values))
        with explained(self.path):
            self.db.execute(f"INSERT OR REPLACE INTO meta VALUES {marks}", pairs)

    def set_model(self, pipeline_id: str, dim: int, model: str) -> None:
        """Say which model makes this library's vectors."""
        created = self.meta("created") or str(time.time())
        self.set_meta(
            pipeline_id=pipeline_id,
            dim=dim,
            model=model,
            created=created,
            generation=self.generation,
        )

    @property
    def pipeline_id(self) -> str:
        return self.meta("pipeline_id")

    @property
    def model(self) -> str:
        return self.meta("model")

    @property
    def model_folder(self) -> Path | None:
        """Where the model was when it was last used for indexing."""
        stored = self.meta("model_folder")
        return Path(json.loads(stored)) if stored else None

    @model_folder.setter
    def model_folder(self, folder: Path) -> None:
        # JSON escapes what is not UTF-8 in a name; SQLite's text would refuse it.
        self.set_meta(model_folder=json.dumps(os.path.abspath(folder)))

    @property
    def dim(self) -> int:
        return int(self.meta("dim", "0"))

    @property
    def generation(self) -> int:
        """Raised by each transaction that changes segments: a cache of another one is stale."""
        return int(self.meta("generation", "0"))

    # Transactions

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing. Raises `generation` when `segments_changed` was called."""
        with explained(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            self._segments_changed = False
            try:
                yield self.db
                if self._segments_changed:
                    self.set_meta(generation=self.generation + 1)
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # a full disk has already rolled back
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Write as in `transaction`, and take it all back at the end."""
        with explained(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                self.db.execute("ROLLBACK")

    def segments_changed(self) -> None:
        """Say, inside a transaction, that it adds or removes segments."""
        self._segments_changed = True

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read inside is of one moment, whatever another process writes."""
        if self.db.in_transaction:
            yield
            return
        with explained(self.path):
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                self.db.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with explained(self.path):
            return self.db.execute(sql, values).fetchall()

    # Reading segments

    def segment_count(self) -> int:
        """How many segments the library holds."""
        return int(self.rows("SELECT count(*) FROM segments")[0][0])

    def vectors(self, ids: Ids | None = None) -> tuple[Ids, Vectors]:
        """Segment ids, ascending, and their vectors, in about one copy's memory.

        Args:
            ids: int64 [m], only these (those that no longer exist are left out); None for all.

        Returns:
            int64 [n] and float32 [n, dim], rows of unit length.
        """
        import numpy as np

        with self.snapshot():
            size = self.segment_count() if ids is None else len(ids)
            labels = np.empty(size, np.int64)
            matrix = np.empty((size, self.dim), np.float32)
            end = 0
            for some, block in self._batches(ROWS_PER_FETCH, ids):
                labels[end : end + len(some)] = some
                matrix[end : end + len(some)] = block
                end += len(some)
        return labels[:end], matrix[:end]

    def iter_vectors(self, batch: int = ROWS_PER_FETCH) -> Iterator[tuple[Ids, Vectors]]:
        """As `vectors`, `batch` segments at a time, all of one moment."""
        with self.snapshot():
            yield from self._batches(batch, None)

    def _batches(self, batch: int, ids: Ids | None) -> Iterator[tuple[Ids, Vectors]]:
        import numpy as np

        sql = "SELECT id, vector FROM segments"
        values: tuple[str, ...] = ()
        if ids is not None:
            sql += " WHERE id IN (SELECT value FROM json_each(?))"
            values = (_json(ids),)
        dim = self.dim
        with closing(self.db.execute(sql + " ORDER BY id", values)) as cursor:
            while rows := cursor.fetchmany(batch):
                some, blobs = zip(*rows, strict=True)
                try:
                    joined = b"".join(blobs)
                except TypeError as error:
                    raise damaged(self.path, "a vector is no sequence of bytes") from error
                if len(joined) != len(rows) * dim * 4:
                    raise damaged(self.path, f"a vector does not have {dim} numbers")
                block = np.frombuffer(joined, "<f4").reshape(len(rows), dim)
                yield np.array(some, np.int64), block

    def segment_ids(self, filters: Filters) -> Ids:
        """Ids, ascending, int64 [n], of the segments of the files that `filters` let through."""
        import numpy as np

        if not filters:
            rows = self.rows("SELECT id FROM segments")
        else:
            with self.snapshot():
                files = matching_files(self, filters)
                rows = self.rows(
                    "SELECT id FROM segments WHERE file_id IN (SELECT value FROM json_each(?))",
                    (json.dumps(files),),
                )
        return np.sort(np.fromiter((row[0] for row in rows), np.int64, len(rows)))

    def segments_info(self, ids: Sequence[int] | Ids) -> list[SegmentInfo]:
        """Where segments are, in the order of `ids`; those that no longer exist are left out."""
        rows = self.rows(
            "SELECT s.id, s.file_id, r.path, f.path, s.start, s.end, f.seconds"
            " FROM segments s JOIN files f ON f.id = s.file_id JOIN roots r ON r.id = f.root_id"
            " WHERE s.id IN (SELECT value FROM json_each(?))",
            (_json(ids),),
        )
        found = {row[0]: _info(row) for row in rows}
        return [found[int(one)] for one in ids if int(one) in found]

    def problems(self) -> list[str]:
        """What SQLite's own check and the vectors' lengths say; empty for a sound library."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(10)")]
            wrong = self.rows(
                "SELECT count(*) FROM segments WHERE length(vector) != ?", (4 * self.dim,)
            )[0][0]
        except LibraryError as error:
            return [error.why or error.what]
        problems = [] if found == ["ok"] else found
        return problems + ([f"{wrong} vectors of a wrong length"] if wrong else [])


def _nothing_indexed() -> NothingIndexedError:
    return NothingIndexedError(
        "Nothing is indexed yet.",
        hint="Type `atri index DIR` with a folder of sounds, then search again.",
    )


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LibraryError(
            f"Cannot open the library `{path}`.", why=f"{error.strerror}."
        ) from error


def _json(ids: Sequence[int] | Ids) -> str:
    return json.dumps([int(one) for one in ids])


def _info(row: tuple[Any, ...]) -> SegmentInfo:
    segment, file, root, path, start, end, seconds = row
    return SegmentInfo(
        segment, file, Path(os.fsdecode(root)), Path(os.fsdecode(path)), start, end, seconds or end
    )
