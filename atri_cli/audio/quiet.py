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
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # The encoding is the terminal's; line buffering as Python's own stderr has it.
    sys.stderr = open(
        kept, "w", buffering=1, encoding=python_stderr.encoding, errors=python_stderr.errors
    )
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        sys.stderr.close()
        os.close(nowhere)
        sys.stderr = python_stderr
