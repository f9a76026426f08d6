"""Locks on files that the system releases when the process that holds them dies."""

from __future__ import annotations

import os
import sys


def sign(handle: int) -> None:
    """Write the number of this process into a lock file that it holds."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)


def holder(handle: int) -> str:
    """Who signed a lock file, as a sentence; empty when nobody did."""
    number = os.pread(handle, 20, 0).decode(errors="replace").strip()
    return f"It is process {number}." if number else ""


if sys.platform == "win32":
    import msvcrt

    def take(handle: int) -> bool:
        """Take an open lock file without waiting; whether nobody else holds it."""
        # Byte 2**30 lies behind the text, which stays readable to the others.
        os.lseek(handle, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take(handle: int) -> bool:
        """Take an open lock file without waiting; whether nobody else holds it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
