"""Numbered changes of the database's schema, each applied once and whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from atri_cli.errors import LibraryError, LibraryTooNewError

APPLICATION_ID = 0x61747269  # "atri", at byte 68 of the file


def _schema() -> str:
    return Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


# Migration n brings a database from version n - 1 to n. Append, never edit.
MIGRATIONS = (_schema,)
SCHEMA_VERSION = len(MIGRATIONS)


def schema_version(db: sqlite3.Connection, database: Path) -> int:
    """The version of an open database; 0 for an empty file.

    Raises:
        LibraryError: an SQLite database that is not a library of atri.
    """
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    if not tables:
        return 0
    row = None
    if "meta" in tables:
        row = db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    if row is None or not str(row[0]).isdecimal():
        raise LibraryError(
            f"`{database}` is not a library of atri.",
            why="It is a database of another program.",
            hint="Name another library with `--library`.",
        )
    return int(row[0])


def refuse_newer(version: int, database: Path) -> None:
    """Raise `LibraryTooNewError` when this version of atri does not know the schema."""
    if version > SCHEMA_VERSION:
        raise LibraryTooNewError(
            f"The library `{database}` was written by a newer version of atri.",
            why=f"It has schema {version}; this version knows {SCHEMA_VERSION}.",
            hint="Upgrade with `pip install --upgrade atri-cli`.",
        )


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Apply all migrations above `version`, each in a transaction of its own."""
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        db.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {script()};"
            f"INSERT OR REPLACE INTO meta VALUES ('schema_version', '{number}'); COMMIT;"
        )
