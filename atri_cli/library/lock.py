"""One writer per library: a lock file that the system releases when its process dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atri_cli.errors import LibraryBusyError
from atri_cli.library.failures import unwritable

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
        if not _take(handle):
            raise LibraryBusyError(
                f"Another `atri index` is writing to the library `{folder}`.",
                why=_holder(handle),
                hint="Searching works meanwhile; type the command again when it has finished.",
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    number = os.pread(handle, 20, 0).decode(errors="replace").strip()
    return f"It is process {number}." if number else ""


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        # Byte 2**30 lies behind the text, which stays readable to the others.
        os.lseek(handle, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
