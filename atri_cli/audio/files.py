"""Opening a path that may be anything: never blocks, never writes, says plainly what is wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atri_cli.errors import AudioError

# A FIFO without a writer would block `open`; O_NONBLOCK changes nothing for regular files.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_REASONS = {
    errno.ENOENT: ("missing", "is not there"),
    errno.ENOTDIR: ("missing", "is not there"),
    errno.ELOOP: ("broken-link", "is a symbolic link that leads in a circle"),
    errno.EISDIR: ("not-a-file", "is a folder"),
    errno.ENXIO: ("not-a-file", "is a socket or a device"),
    errno.EACCES: ("unreadable", "may not be read by you"),
    errno.EPERM: ("unreadable", "may not be read by you"),
}


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A read-only file descriptor of a regular, non-empty file; closed at the end.

    The descriptor, not the name, goes to the decoder, so that a name in any bytes works.

    Raises:
        AudioError: reasons `missing`, `broken-link`, `not-a-file`, `unreadable`, `empty`.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise AudioError(f"`{show(path)}` is not a regular file.", reason="not-a-file")
        if facts.st_size == 0:
            raise AudioError(f"`{show(path)}` is empty.", reason="empty")
        yield descriptor
    finally:
        os.close(descriptor)


def show(path: Path) -> str:
    """A path as text that any terminal and any JSON can hold: odd bytes become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _refusal(path: Path, error: OSError | ValueError) -> AudioError:
    if isinstance(error, OSError) and error.errno == errno.ENOENT and path.is_symlink():
        return AudioError(f"`{show(path)}` is a symbolic link to nothing.", reason="broken-link")
    code = error.errno if isinstance(error, OSError) else None
    if code in _REASONS:
        reason, what = _REASONS[code]
        return AudioError(f"`{show(path)}` {what}.", reason=reason)
    why = getattr(error, "strerror", None) or str(error)
    return AudioError(f"`{show(path)}` cannot be opened.", reason="unreadable", why=f"{why}.")
