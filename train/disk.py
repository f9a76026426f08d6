"""A full or read-only disk is said in words, wherever training writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from atri_cli.errors import AtriError

ROOM = "Make room, then type the same command again."
RESUME = "Make room, then type the same command with `--resume`."


@contextmanager
def saving(what: str, place: Path, hint: str = ROOM) -> Iterator[None]:
    """A context in which to write `what` to `place`.

    Raises:
        AtriError: it cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, sqlite3.OperationalError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise AtriError(f"Cannot save {what} in `{place}`.", why=f"{reason}.", hint=hint) from error
