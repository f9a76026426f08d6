"""Connections to a library's database: for writing, for reading, and on read-only media."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from atri_cli.library.failures import unwritable

PAGE_BYTES = 16384  # rows of 1-2 KB vectors waste a quarter to a half of a 4 KB page


def connect(path: Path, read_only: bool) -> sqlite3.Connection:
    """A connection to a library's database, which is made when it may be.

    Transactions are up to the caller. Raises sqlite3.Error, and `LibraryError` for the folder.
    """
    if read_only:
        return _connect_reader(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    db = _configured(_connection(os.fspath(path)))
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Read-only; on a read-only medium, where the log's index cannot be made, as immutable."""
    address = path.absolute().as_uri() + "?mode=ro"
    db = _configured(_connection(address))
    try:
        db.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    except sqlite3.OperationalError:
        db.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:  # what it holds would be missing
            raise
        return _configured(_connection(address + "&immutable=1"))
    except BaseException:
        db.close()
        raise
    return db


def connect_memory() -> sqlite3.Connection:
    """A connection to an empty database that leaves nothing behind."""
    return _configured(_connection(":memory:"))


def _connection(address: str) -> sqlite3.Connection:
    is_uri = address.startswith("file:")
    return sqlite3.connect(address, uri=is_uri, isolation_level=None, check_same_thread=False)


def _configured(db: sqlite3.Connection) -> sqlite3.Connection:
    db.execute("PRAGMA busy_timeout = 10000")
    db.execute("PRAGMA foreign_keys = ON")
    return db
