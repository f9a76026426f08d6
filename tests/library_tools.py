"""What tests of the library share: its whole content as plain values, and losing root's rights."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

Content = dict[str, tuple[Any, ...]]


def content(folder: Path, *, ids: bool = False) -> Content:
    """Everything a library says about its files, by absolute path; row ids on request."""
    with closing(sqlite3.connect(folder / "library.db")) as db:
        files = db.execute(
            "SELECT f.id, r.path, f.path, size, mtime_ns, content_hash, seconds, sample_rate,"
            " channels, status, reason FROM files f JOIN roots r ON r.id = f.root_id"
        ).fetchall()
        found: Content = {}
        for file_id, root, path, *facts in files:
            segments = db.execute(
                "SELECT id, start, end, vector FROM segments WHERE file_id = ? ORDER BY start",
                (file_id,),
            ).fetchall()
            own = [row if ids else row[1:] for row in segments]
            name = os.fsdecode(root + b"/" + path)
            found[name] = (file_id if ids else None, *facts, own)
    return found


def names(folder: Path, status: str = "ok") -> set[str]:
    """File names, without folders, of the library's files of a status."""
    return {os.path.basename(path) for path, row in content(folder).items() if row[-3] == status}


@contextmanager
def without_root_rights() -> Iterator[None]:
    """Obey file permissions as other users must, also when the tests run as root (Linux)."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    before, now = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    now[:] = before[:]
    now[0] &= ~0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER; effective set only
    assert libc.capset(header, now) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
