"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from atri_cli.errors import AtriError


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target first, then take its place; a link keeps pointing to its file.

    What is there and no plain file (`/dev/stdout`) is written to as it is.

    Raises:
        AtriError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()
        part = target.with_name(f".atri-{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise AtriError(
            f"Cannot write `{path}`.", why=f"{error.strerror}.", hint=_hint(path)
        ) from error


def _hint(path: Path) -> str:
    folder = path.parent
    if not folder.exists():
        return f"Make its folder first: `mkdir -p {shlex.quote(str(folder))}`."
    return "Name a file in a folder that you may write to, on a drive with room left."
