"""One writer per library: a lock file that the system releases when its process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atri_cli.errors import LibraryBusyError
from atri_cli.library.failures import unwritable
from atri_cli.locking import holder, sign, take

LOCK_FILE = "index.lock"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the library's only right to write for the length of the block.

    Raises:
        LibraryBusyError: another process, or another `Library` of this one, holds it.
        LibraryError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        if not take(handle):
            raise LibraryBusyError(
                f"Another `atri index` is writing to the library `{folder}`.",
                why=holder(handle),
                hint="Searching works meanwhile; type the command again when it has finished.",
            )
        sign(handle)
        yield
    finally:
        os.close(handle)
