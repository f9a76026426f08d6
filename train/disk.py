"""A full or read-only disk is said in words, wherever training writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
