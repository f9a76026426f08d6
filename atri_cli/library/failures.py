"""SQLite's errors in the user's words: what happened, what is safe, what to type."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atri_cli.errors import LibraryBusyError, LibraryError

SQLITE_BUSY, SQLITE_LOCKED, SQLITE_READONLY = 5, 6, 8
SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_CANTOPEN, SQLITE_NOTADB = 10, 11, 13, 14, 26


@contextmanager
def explained(database: Path) -> Iterator[None]:
    """Turn sqlite3 errors of the block into a `LibraryError` about `database`."""
    try:
        yield
    except sqlite3.Error as error:
        # Errors that Python's module raises by itself (misuse) carry no code: 0.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise _library_error(code, str(error), database) from error


def unwritable(folder: Path, error: OSError) -> LibraryError:
    """The error for a library folder that cannot be made or written."""
    if error.errno == errno.ENOSPC:
        return _disk_full(folder)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return LibraryError(
            f"`{folder}` cannot hold a library: it is not a directory.",
            hint="Name another library with `--library`, or another place with `ATRI_HOME`.",
        )
    return LibraryError(
        f"Cannot write the library folder `{folder}`.",
        why=f"{error.strerror or error}.",
        hint="Make the folder writable, or choose another place with `ATRI_HOME`.",
    )


def damaged(database: Path, why: str) -> LibraryError:
    """The error for a database whose contents cannot be trusted."""
    return LibraryError(
        f"The library `{database}` is damaged.",
        why=f"{why.rstrip('.')}.",
        hint=(
            "To start again, move the file away and type `atri index DIR`: "
            "your sounds are untouched."
        ),
    )


def _disk_full(place: Path) -> LibraryError:
    return LibraryError(
        f"No space is left for the library `{place}`.",
        why="What was indexed before is safe; the last files were not saved.",
        hint="Free some space and type the same command again: it goes on where it stopped.",
    )


def _library_error(code: int, text: str, database: Path) -> LibraryError:
    if code == SQLITE_FULL:
        return _disk_full(database)
    if code in (SQLITE_CORRUPT, SQLITE_NOTADB):
        return damaged(database, text)
    if code in (SQLITE_BUSY, SQLITE_LOCKED):
        return LibraryBusyError(
            f"The library `{database}` is in use by another program.",
            why=f"{text}.",
            hint="Try again when it has finished.",
        )
    if code == SQLITE_READONLY:
        return LibraryError(
            f"The library `{database}` is read-only.",
            hint="Make the file and its folder writable; searching works without that.",
        )
    hint = "`atri doctor` looks at the library's folder and database."
    if code == SQLITE_CANTOPEN:
        hint = "Look at the permissions of the file and its folder."
    elif code == SQLITE_IOERR:
        hint = "Look at the disk and its free space; what was saved before is safe."
    return LibraryError(f"Cannot use the library `{database}`.", why=f"{text}.", hint=hint)
