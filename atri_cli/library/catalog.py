"""Roots and files in the database: what indexing reads and writes. Writes need a transaction."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from atri_cli.library.scan import Found, is_online
from atri_cli.library.types import Root, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.library.store import Store

FILE_COLUMNS = "id, root_id, path, size, mtime_ns, content_hash, status, reason, detail"
PENDING = "pending"  # known, and to be embedded again with another model


class FileRow(NamedTuple):
    """A file as the library knows it; fields as in schema.sql."""

    id: int
    root_id: int
    path: bytes
    size: int
    mtime_ns: int
    content_hash: bytes | None
    status: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Embedded:
    """What reading a sound gave.

    Args:
        seconds, sample_rate, channels: of the file.
        windows: its n segments.
        vectors: float32 [n, dim], unit length.
    """

    seconds: float
    sample_rate: int
    channels: int
    windows: tuple[Window, ...]
    vectors: NDArray[np.float32]


class Catalog:
    """The roots and files of one open store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # Roots

    def roots(self) -> list[Root]:
        """All roots in the order they were added, with their files and whether they are there."""
        rows = self.store.rows(
            "SELECT r.id, r.path, count(f.id), coalesce(sum(f.seconds), 0) FROM roots r"
            " LEFT JOIN files f ON f.root_id = r.id AND f.status = 'ok'"
            " GROUP BY r.id ORDER BY r.id"
        )
        found = []
        for root_id, raw, files, seconds in rows:
            path = Path(os.fsdecode(raw))
            found.append(Root(root_id, path, is_online(path, files > 0), files, seconds))
        return found

    def add_root(self, path: Path) -> int:
        """Remember a folder; returns its id."""
        cursor = self.store.db.execute(
            "INSERT INTO roots (path, added) VALUES (?, ?)", (os.fsencode(path), time.time())
        )
        return int(cursor.lastrowid or 0)

    def remove_root(self, root_id: int) -> int:
        """Forget a root with its files and segments; returns how many files it had."""
        files = self.store.rows("SELECT count(*) FROM files WHERE root_id = ?", (root_id,))[0][0]
        self.store.db.execute("DELETE FROM roots WHERE id = ?", (root_id,))
        self.store.segments_changed()
        return int(files)

    def set_root_path(self, root_id: int, path: Path) -> None:
        """The same files lie elsewhere now."""
        self.store.db.execute(
            "UPDATE roots SET path = ? WHERE id = ?", (os.fsencode(path), root_id)
        )

    def absorb_root(self, inner: int, outer: int, below: bytes) -> None:
        """Give the files of root `inner` to `outer`, in whose folder `below` they lie."""
        known = "SELECT path FROM files WHERE root_id = ?"
        self.store.db.execute(
            f"DELETE FROM files WHERE root_id = ? AND CAST(? || path AS BLOB) IN ({known})",
            (inner, below + b"/", outer),
        )
        self.store.db.execute(
            "UPDATE files SET root_id = ?, path = CAST(? || path AS BLOB) WHERE root_id = ?",
            (outer, below + b"/", inner),
        )
        self.remove_root(inner)

    # Files

    def files(self, root_ids: Sequence[int]) -> list[FileRow]:
        """What is known of the files of some roots, by root and path."""
        marks = ", ".join("?" * len(root_ids))
        rows = self.store.rows(
            f"SELECT {FILE_COLUMNS} FROM files WHERE root_id IN ({marks}) ORDER BY root_id, path",
            root_ids,
        )
        return [FileRow(*row) for row in rows]

    def paths(self) -> list[Path]:
        """Absolute paths of the files that have segments, by root and path."""
        rows = self.store.rows(
            "SELECT r.path, f.path FROM files f JOIN roots r ON r.id = f.root_id"
            " WHERE f.status = 'ok' ORDER BY r.id, f.path"
        )
        return [Path(os.fsdecode(root)) / os.fsdecode(inner) for root, inner in rows]

    def hashes(self) -> set[bytes]:
        """Content hashes of the files that have segments."""
        rows = self.store.rows("SELECT content_hash FROM files WHERE status = 'ok'")
        return {row[0] for row in rows}

    def with_hash(self, content_hash: bytes) -> list[FileRow]:
        """Searchable files of this content."""
        rows = self.store.rows(
            f"SELECT {FILE_COLUMNS} FROM files WHERE content_hash = ? AND status = 'ok'"
            " ORDER BY id",
            (content_hash,),
        )
        return [FileRow(*row) for row in rows]

    def embedded(self, file_id: int) -> Embedded:
        """The facts and vectors of a searchable file, read back to be copied."""
        seconds, rate, channels = self.store.rows(
            "SELECT seconds, sample_rate, channels FROM files WHERE id = ?", (file_id,)
        )[0]
        rows = self.store.rows(
            "SELECT start, end, vector FROM segments WHERE file_id = ? ORDER BY id", (file_id,)
        )
        windows = tuple(Window(start, end) for start, end, _ in rows)
        joined = b"".join(vector for _, _, vector in rows)
        vectors = np.frombuffer(joined, "<f4").reshape(len(rows), -1)
        return Embedded(seconds, rate, channels, windows, vectors)

    def put(self, found: Found, content_hash: bytes | None, sound: Embedded) -> None:
        """Write a searchable file and its segments, in place of what was there."""
        facts = (sound.seconds, sound.sample_rate, sound.channels)
        file_id = self._put_row(found, content_hash, facts, ("ok", "", ""))
        self.store.db.executemany(
            "INSERT INTO segments (file_id, start, end, vector) VALUES (?, ?, ?, ?)",
            [
                (file_id, window.start, window.end, vector.astype("<f4").tobytes())
                for window, vector in zip(sound.windows, sound.vectors, strict=True)
            ],
        )
        self.store.segments_changed()

    def put_skipped(
        self, found: Found, content_hash: bytes | None, reason: str, detail: str
    ) -> None:
        """Write a file that cannot be indexed; the segments it had leave."""
        detail = detail.encode("utf-8", "backslashreplace").decode()
        self._put_row(found, content_hash, (None, None, None), ("skipped", reason, detail))

    def _put_row(
        self,
        found: Found,
        content_hash: bytes | None,
        facts: tuple[Any, ...],
        status: tuple[str, str, str],
    ) -> int:
        names = (
            "size, mtime_ns, content_hash, seconds, sample_rate, channels, status, reason, detail"
        )
        changes = ", ".join(f"{name} = excluded.{name}" for name in names.split(", "))
        row = self.store.db.execute(
            f"INSERT INTO files (root_id, path, {names}) VALUES ({', '.join('?' * 11)})"
            f" ON CONFLICT (root_id, path) DO UPDATE SET {changes} RETURNING id",
            (*found, content_hash, *facts, *status),
        ).fetchone()
        gone = self.store.db.execute("DELETE FROM segments WHERE file_id = ?", (row[0],))
        if gone.rowcount:
            self.store.segments_changed()
        return int(row[0])

    def touch(self, file_id: int, found: Found) -> None:
        """The same content under this name, size and time: a rename, or a new date."""
        self.store.db.execute(
            "UPDATE files SET root_id = ?, path = ?, size = ?, mtime_ns = ? WHERE id = ?",
            (*found, file_id),
        )

    def remove_files(self, file_ids: Iterable[int]) -> None:
        """Files that are gone, with their segments."""
        self.store.db.executemany(
            "DELETE FROM files WHERE id = ?", [(file_id,) for file_id in file_ids]
        )
        self.store.segments_changed()

    def mark_all_pending(self) -> None:
        """Drop all vectors; every file is to be read again when it is next seen."""
        self.store.db.execute("DELETE FROM segments")
        self.store.db.execute(
            "UPDATE files SET status = 'skipped', reason = ?, detail = ''", (PENDING,)
        )
        self.store.segments_changed()
