"""Keeping C libraries off the terminal: mpg123 inside libsndfile prints about odd MP3 files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Send what C code writes to stderr nowhere; Python's own `sys.stderr` keeps working.

    File descriptor 2 belongs to the whole process, so this is for a program's main thread around
    its work, never for a library call. Does nothing where stderr is not file descriptor 2.
    """
    python_stderr = sys.stderr
    try:
        ours = python_stderr is not None and python_stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        yield
        return
    python_stderr.flush()
    with (
        # Line-buffered, as Python's own stderr is.
        open(os.dup(2), "w", 1, python_stderr.encoding, python_stderr.errors) as spare,
        open(os.devnull, "wb") as nowhere,
    ):
        sys.stderr = spare
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            spare.flush()
            os.dup2(spare.fileno(), 2)
            sys.stderr = python_stderr
