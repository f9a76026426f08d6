"""Checkpoints that were pulled: which there are, whether they are whole, and removing them."""

from __future__ import annotations

import shutil
from pathlib import Path

from atri_cli.checkpoints.pull import only_one
from atri_cli.checkpoints.record import RECORD, read_record
from atri_cli.checkpoints.sources import FOLDER
from atri_cli.disk import writing_to
from atri_cli.encoders.registry import compare_files
from atri_cli.errors import ModelError


def checkpoint_folders(models: Path) -> list[Path]:
    """Folders of all pulled checkpoints, by name."""
    found = (path.parent for path in (models / FOLDER).glob(f"*/{RECORD}"))
    return sorted(folder for folder in found if not folder.name.startswith("."))


def verify_checkpoint(folder: Path) -> list[str]:
    """Compare a checkpoint's files with the SHA-256 of when they came.

    Returns:
        One sentence for each file that is missing or differs; empty when all is well.
    """
    try:
        record = read_record(folder)
    except ModelError as error:
        return [f"{error.what} {error.why}"]
    if record is None:
        return [f"`{folder}` has no `{RECORD}`."]
    files = [(folder / name, file.sha256) for name, file in record.files.items()]
    return compare_files(files, "that was pulled")


def remove_checkpoint(name: str, models: Path) -> int | None:
    """Remove a pulled checkpoint, and what an unfinished `pull` left.

    Returns:
        Bytes that were freed; None when there is nothing of this name.

    Raises:
        AtriError: it is being pulled now, or may not be removed.
    """
    home = models / FOLDER
    folders = [home / name, home / f".{name}.part"]
    if not any(folder.is_dir() for folder in folders):
        return None
    freed = 0
    with only_one(name, models), writing_to(home / name):
        for folder in filter(Path.is_dir, folders):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            # The record goes first: what is left after an interruption counts as nothing.
            (folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(folder)
    return freed
