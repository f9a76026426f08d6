"""What is known of a pulled checkpoint: `pulled.json` beside its files.

The digest of a file's first download stands there, and later ones are compared with it; and that
the licence was acknowledged.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from atri_cli.disk import writing_to
from atri_cli.errors import ModelError

RECORD = "pulled.json"


@dataclass(frozen=True)
class FileRecord:
    """One file: where it came from, and whether its publisher's digest was known beforehand."""

    sha256: str
    bytes: int
    url: str
    published: bool


@dataclass(frozen=True)
class Record:
    """A checkpoint as it was pulled."""

    model: str
    licence: str = ""
    accepted: bool = False
    files: dict[str, FileRecord] = field(default_factory=dict)

    def with_file(self, name: str, file: FileRecord) -> Record:
        """The same with one file more, or another in its place."""
        return replace(self, files={**self.files, name: file})

    def digest(self, name: str) -> str:
        """SHA-256 of the first download of a file; empty before that."""
        return self.files[name].sha256 if name in self.files else ""


def read_record(folder: Path) -> Record | None:
    """The record of a folder; None when there is none.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / RECORD
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        files = {name: FileRecord(**file) for name, file in facts["files"].items()}
        return Record(str(facts["model"]), str(facts["licence"]), facts["accepted"] is True, files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        name = folder.name.removeprefix(".").removesuffix(".part")
        raise ModelError(
            f"Cannot read `{path}`.",
            why=str(error),
            hint=f"Type `atri models remove {name}`, and pull it again.",
        ) from error


def write_record(record: Record, folder: Path) -> None:
    """Write it, whole or not at all."""
    facts: dict[str, Any] = {"schema": 1, **asdict(record)}
    path = folder / RECORD
    with writing_to(path):
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        os.replace(fresh, path)
