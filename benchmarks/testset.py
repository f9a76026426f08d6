"""The test set: real recordings of the Debian package gcompris-qt-data, and its query file.

    python -m benchmarks.testset sounds/            downloads the package with apt
    python -m benchmarks.testset sounds/ --package unpacked/

The package keeps its sounds in Qt resource files. Nothing trains or tunes on them.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from atri_cli.audio.formats import is_sound
from atri_cli.errors import AtriError, RuntimeMissingError, UsageError
from benchmarks.rcc import read_rcc

PACKAGE = "gcompris-qt-data"
QUERIES = Path(__file__).with_name("gcompris.tsv")
RESERVED = ("id", "audio", "split", "note")


@dataclass(frozen=True)
class QuerySet:
    """The rows of a query file.

    Args:
        ids: name of each concept.
        audio: globs of its right answers, relative to the folder of sounds.
        texts: language tag → its query for each concept; "" where it is not asked.
    """

    ids: tuple[str, ...]
    audio: tuple[tuple[str, ...], ...]
    texts: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.ids)


def read_queries(path: Path) -> QuerySet:
    """Read a query file: UTF-8, tab-separated, a header with `id`, `audio` and language tags.

    Raises:
        UsageError: the file cannot be read or breaks a rule; the message names line and column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            lines = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the query file `{path}`.", why=str(error)) from error
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    for name in ("id", "audio"):
        if header.count(name) != 1:
            raise UsageError(f"`{path}`, line 1: needs one column `{name}`.")
    if len(set(header)) != len(header) or not all(header):
        raise UsageError(f"`{path}`, line 1: a column has no name or the name of another.")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UsageError(f"`{path}`, line {number}: {len(row)} columns, not {len(header)}.")
        for name in ("id", "audio"):
            if not row[header.index(name)].strip():
                raise UsageError(f"`{path}`, line {number}, column `{name}`: empty.")
        key = row[header.index("id")]
        if key in seen:
            raise UsageError(f"`{path}`, line {number}, column `id`: `{key}` appears twice.")
        seen.add(key)
    columns = {name: tuple(row[i].strip() for row in rows) for i, name in enumerate(header)}
    return QuerySet(
        ids=columns["id"],
        audio=tuple(tuple(cell.split("|")) for cell in columns["audio"]),
        texts={name: texts for name, texts in columns.items() if name not in RESERVED},
    )


def list_sounds(folder: Path) -> list[Path]:
    """Every sound below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_sound(path))


def find_truth(queries: QuerySet, folder: Path, files: list[Path]) -> list[set[int]]:
    """Places of each concept's right answers in `files`.

    Raises:
        UsageError: a glob names no file.
    """
    place = {path: index for index, path in enumerate(files)}
    truth: list[set[int]] = []
    for name, globs in zip(queries.ids, queries.audio, strict=True):
        answers: set[int] = set()
        for glob in globs:
            found = {place[path] for path in folder.glob(glob) if path in place}
            if not found:
                raise UsageError(f"Query `{name}`: `{glob}` names no sound in `{folder}`.")
            answers |= found
        truth.append(answers)
    return truth


def extract_sounds(package: Path, folder: Path) -> int:
    """Write every sound of the package's resource files below `folder`; returns how many.

    Args:
        package: the unpacked package.
        folder: made if missing; the paths inside the resource files are kept.

    Raises:
        UsageError: the package holds no sound, or a sound's path leaves the folder.
    """
    count = 0
    for resource in sorted(package.rglob("*.rcc")):
        for inner, content in read_rcc(resource):
            path = PurePosixPath(inner)
            if not is_sound(path):
                continue
            if path.is_absolute() or ".." in path.parts:
                raise UsageError(f"`{resource}` holds a file outside its own tree: `{inner}`.")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            count += 1
    if not count:
        raise UsageError(
            f"No sound in the resource files of `{package}`.",
            hint=f"Give the folder where the package {PACKAGE} was unpacked.",
        )
    return count


def download_package(folder: Path) -> Path:
    """Fetch the package with apt and unpack it below `folder`.

    Raises:
        RuntimeMissingError: apt-get or dpkg-deb is missing or fails.
    """
    _run(["apt-get", "download", PACKAGE], folder)
    archive = next(folder.glob(f"{PACKAGE}_*.deb"))
    unpacked = folder / "unpacked"
    _run(["dpkg-deb", "-x", str(archive), str(unpacked)], folder)
    return unpacked


def _run(command: list[str], folder: Path) -> None:
    hint = "Unpack the package elsewhere and give its folder with `--package`."
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RuntimeMissingError(
            f"Cannot get {PACKAGE}: `{command[0]}` is not on this system.", hint=hint
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeMissingError(f"`{' '.join(command)}` failed.", why=said[-1], hint=hint)


def make_testset(folder: Path, package: Path | None = None) -> int:
    """Fill `folder` with the test sounds; returns how many.

    Raises:
        RuntimeMissingError: no package given, and apt cannot get it.
        UsageError: the package holds no sound.
    """
    if package is not None:
        return extract_sounds(package, folder)
    with tempfile.TemporaryDirectory() as temporary:
        return extract_sounds(download_package(Path(temporary)), folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Extract the test sounds.")
    parser.add_argument("folder", type=Path, help="where the sounds go")
    parser.add_argument("--package", type=Path, help="the package, already unpacked")
    return parser.parse_args()


def lines_of(error: AtriError) -> Iterator[str]:
    """What, why and hint of an error, for a script to print."""
    yield from (line for line in (error.what, error.why, error.hint) if line)


def main() -> int:
    arguments = _arguments()
    try:
        count = make_testset(arguments.folder, arguments.package)
    except AtriError as error:
        print("\n".join(lines_of(error)), file=sys.stderr)
        return error.exit_code
    print(f"{count} sounds in {arguments.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
