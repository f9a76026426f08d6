"""Failures of the disk in the user's words, and copying that says what was copied."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atri_cli.errors import AtriError

BLOCK = 1 << 20
AGAIN = "Type the same command again: it goes on where it stopped."


@contextmanager
def writing_to(place: Path, hint: str = AGAIN) -> Iterator[None]:
    """Turn a failure of the block to read or write files into an `AtriError` about `place`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full:
            raise AtriError(
                f"No space is left for `{place}`.",
                why="What had been written is kept.",
                hint=f"Free some space. {hint}",
            ) from error
        name = error.filename2 or error.filename
        raise AtriError(
            f"Cannot write `{place}`.",
            why=f"{error.strerror or error}{f': `{os.fsdecode(name)}`' if name else ''}.",
            hint="Look at the permissions of the folder, or choose another with `ATRI_HOME`.",
        ) from error


def need_space(folder: Path, count: int) -> None:
    """See that so many bytes still fit.

    Raises:
        AtriError: they do not.
    """
    from atri_cli.wording import size

    with writing_to(folder):
        free = shutil.disk_usage(folder).free
    if count > free:
        raise AtriError(
            f"No space is left for `{folder}`.",
            why=f"{size(count)} are to come, and {size(free)} are free.",
            hint=f"Free some space. {AGAIN}",
        )


def copy_file(source: Path, target: Path, report: Callable[[int, int], None]) -> str:
    """Copy a file, over one that is there.

    Args:
        source: read to its end.
        target: in a folder that exists.
        report: called with bytes copied, and bytes in all.

    Returns:
        SHA-256 of what was written, hexadecimal.

    Raises:
        OSError: it cannot be read or written.
    """
    digest, done = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as written:
        total = os.fstat(read.fileno()).st_size
        while block := read.read(BLOCK):
            written.write(block)
            digest.update(block)
            done += len(block)
            report(done, total)
        written.flush()
        os.fsync(written.fileno())
    return digest.hexdigest()
