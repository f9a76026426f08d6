"""Which checkpoints there are to fetch: `atri_cli/models/sources.toml`, checked and typed."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from atri_cli.errors import ModelError, UsageError

TABLE = Path(__file__).parents[1] / "models" / "sources.toml"
FOLDER = "checkpoints"  # in the user's folder of models; no model may have this name
_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class SourceFile:
    """One file of a checkpoint; `sha256` is empty where its publisher's digest is not known."""

    name: str
    url: str
    sha256: str

    @property
    def on_hub(self) -> tuple[str, str, str] | None:
        """Repository, revision and path, if it comes from the Hugging Face hub."""
        match = _HUB.fullmatch(self.url)
        return (match[1], match[2], match[3]) if match else None


@dataclass(frozen=True)
class Source:
    """A checkpoint: what it is, under which licence, and its files."""

    name: str
    what: str
    licence: str
    commercial: bool
    terms: str
    files: tuple[SourceFile, ...]


@cache
def sources() -> dict[str, Source]:
    """All checkpoints of the table, by name.

    Raises:
        ModelError: the table is missing or wrong, which is a broken installation.
    """
    try:
        table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
        return {name: _source(name, facts) for name, facts in table.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"Cannot read the table of models `{TABLE}`.",
            why=f"{error}.",
            hint="Install atri again.",
        ) from error


def find_source(name: str) -> Source:
    """A checkpoint by its name.

    Raises:
        UsageError: there is none, with the nearest names.
    """
    known = sources()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(f'`{n}`' for n in near)}? " if near else ""
    raise UsageError(
        f"There is no model `{name}` to pull.",
        why=f"Known: {', '.join(known)}.",
        hint=hint + "`atri models pull` lists them; `atri models add DIR` takes a folder.",
    )


def _source(name: str, facts: dict[str, object]) -> Source:
    files = facts["files"]
    assert isinstance(files, dict)
    commercial = facts["commercial"]
    if not isinstance(commercial, bool):
        raise TypeError(f"`commercial` of {name} is neither true nor false")
    return Source(
        name=name,
        what=str(facts["what"]),
        licence=str(facts["licence"]),
        commercial=commercial,
        terms=str(facts["terms"]),
        files=tuple(SourceFile(file, one["url"], one["sha256"]) for file, one in files.items()),
    )
