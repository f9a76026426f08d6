"""Named recordings of public repositories: which, under which licence, and how to get them.

    python -m train.repositories --sounds DIR

`labels/repositories.tsv` names each repository, a commit and the licence; `labels/recordings.tsv`
the files that are used, with their concepts. Git fetches that commit alone, and each file lands in
`DIR/repositories/OWNER/NAME/` once its hash is the one of the table. Nothing of them is committed.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from atri_cli.__main__ import show_error
from atri_cli.errors import AtriError, RuntimeMissingError
from atri_cli.vocabulary.concepts import read_table
from train.captions import CONCEPTS
from train.sources import Source

LABELS = Path(__file__).parent / "labels"
HOME = "https://github.com"


@dataclass(frozen=True)
class Repository:
    """A repository at one commit, and the licence of the recordings that are used of it."""

    name: str
    commit: str
    licence: str


@dataclass(frozen=True)
class Recording:
    """One file of a repository: first 16 hex digits of its SHA-1, and its concepts, best first."""

    repository: str
    path: str
    sha1: str
    concepts: tuple[str, ...]

    def place(self, sounds: Path) -> Path:
        """Where it lies beside the other recordings."""
        return sounds / "repositories" / self.repository / self.path


def repositories(table: Path = LABELS / "repositories.tsv") -> list[Repository]:
    """Every repository of the table."""
    return [Repository(r["repository"], r["commit"], r["licence"]) for r in read_table(table)]


def recordings(table: Path = LABELS / "recordings.tsv") -> list[Recording]:
    """Every recording of the table."""
    return [
        Recording(r["repository"], r["path"], r["sha1"], tuple(r["concepts"].split("|")))
        for r in read_table(table)
    ]


def repository_sources(sounds: Path, known: Collection[str]) -> list[Source]:
    """The recordings that are on disk, all for training.

    Args:
        sounds: folder that `fetch` filled.
        known: hashes of recordings that are used already, or kept for evaluation.
    """
    return [
        Source(
            package=recording.repository,
            path=path,
            sha1=recording.sha1,
            label="|".join(recording.concepts),
            kind=CONCEPTS,
            vague=False,
            seconds=0.0,
            validation=False,
        )
        for recording in recordings()
        if recording.sha1 not in known and (path := recording.place(sounds)).is_file()
    ]


def fetch(
    wanted: Repository, files: Sequence[Recording], sounds: Path, home: str = HOME
) -> list[Recording]:
    """Bring what is missing of one repository; those whose content is another are left out.

    Args:
        wanted: the repository.
        files: its recordings.
        sounds: the folder of recordings.
        home: address or folder in which repositories lie as `OWNER/NAME`.

    Returns:
        The recordings that are on disk now.

    Raises:
        RuntimeMissingError: git is not installed.
        AtriError: git cannot fetch the commit.
    """
    missing = [file for file in files if not file.place(sounds).is_file()]
    if missing:
        with tempfile.TemporaryDirectory() as folder:
            _git(folder, "init", "--quiet", "--bare")
            _git(folder, "fetch", "--quiet", "--depth=1", f"{home}/{wanted.name}", wanted.commit)
            for file in missing:
                _put(_git(folder, "cat-file", "blob", f"{wanted.commit}:{file.path}"), file, sounds)
    return [file for file in files if file.place(sounds).is_file()]


def _put(content: bytes, file: Recording, sounds: Path) -> None:
    """Write a file by rename, if it is the one of the table."""
    if hashlib.sha1(content).hexdigest()[:16] != file.sha1:
        print(f"skipping {file.path}: not the recording that the table names", file=sys.stderr)
        return
    path = file.place(sounds)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _git(folder: str, *words: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        raise RuntimeMissingError("`git` is not installed.", hint="Install git.") from error
    except subprocess.CalledProcessError as error:
        raise AtriError(
            f"git could not bring a repository: `git {' '.join(words)}` failed.",
            why=error.stderr.decode(errors="replace").strip(),
            hint="Look at your connection, and type the command again: it goes on.",
        ) from error


def main(words: Sequence[str] | None = None) -> int:
    """Fetch every repository of the table; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.repositories", description=__doc__)
    parser.add_argument("--sounds", type=Path, required=True, help="the folder of recordings")
    parser.add_argument("--home", default=HOME, help="where repositories lie as OWNER/NAME")
    options = parser.parse_args(words)
    files: dict[str, list[Recording]] = defaultdict(list)
    for file in recordings():
        files[file.repository].append(file)
    try:
        for wanted in repositories():
            own = files[wanted.name]
            found = fetch(wanted, own, options.sounds.expanduser(), options.home)
            print(f"{wanted.name}: {len(found)} of {len(own)} recordings")
    except AtriError as error:
        show_error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
