"""The manifest: a query file whose `audio` column names the sounds that its captions describe."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from atri_cli.errors import UsageError
from atri_cli.queryfile import QueryRow, read_queries
from train.clips import Clip
from train.data.filenames import recording_key

SHOWN = 3


def read_manifest(path: Path, root: Path | None = None) -> list[Clip]:
    """Clips of a manifest, in its order; a row with several sounds gives a clip for each.

    Args:
        path: the query file (`atri_cli.queryfile`).
        root: what its paths and globs are relative to; None is the manifest's own folder.

    Raises:
        UsageError: the table is wrong, a row names no sound, or sounds are missing; with line.
    """
    table = read_queries(path)
    if not table.has_audio:
        raise UsageError(
            f"`{path}` names no sounds.", hint="Add a column `audio` with paths beside the texts."
        )
    folder = path.parent if root is None else root
    clips: list[Clip] = []
    missing: list[str] = []
    for row in table.rows:
        found = list(_sounds(row, folder))
        where = f"line {row.line}, column `audio`"
        missing += [f"{where}: `{name}`" for name, sounds in found if not sounds]
        clips += _clips(row, [sound for _, sounds in found for sound in sounds])
    if missing:
        rest = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"`{path}` names sounds that are not there: {len(missing)} of its entries.",
            why="; ".join(missing[:SHOWN]) + rest + ".",
            hint=f"Paths are relative to `{folder}`.",
        )
    return clips


def _sounds(row: QueryRow, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each entry of the cell, and the files that it names."""
    for name in row.audio:
        exact = folder / name
        if exact.is_file():
            yield name, [exact]
        else:
            matches = sorted(
                glob.glob(os.path.join(glob.escape(str(folder)), name), recursive=True)
            )
            yield name, [Path(match) for match in matches if os.path.isfile(match)]


def _clips(row: QueryRow, sounds: list[Path]) -> Iterator[Clip]:
    for number, sound in enumerate(dict.fromkeys(sounds), start=1):
        yield Clip(
            id=row.id if number == 1 else f"{row.id}#{number}",
            audio=sound,
            captions=row.texts,
            split=row.split or "train",
            recording=recording_key(sound),
            line=row.line,
            note=row.note,
        )
