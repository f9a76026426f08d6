"""Fetching a checkpoint: from the network, a mirror, a folder, or the hub's cache.

Files come into the hidden folder `.NAME.part`, which becomes `NAME` when all are there and right.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from atri_cli.checkpoints.download import discard, download
from atri_cli.checkpoints.hubcache import blob_digest, find_cached, offline
from atri_cli.checkpoints.record import RECORD, FileRecord, Record, read_record, write_record
from atri_cli.checkpoints.sources import FOLDER, Source, SourceFile
from atri_cli.disk import copy_file, writing_to
from atri_cli.encoders.registry import file_sha256
from atri_cli.errors import AtriError, ModelError, UsageError
from atri_cli.locking import holder, sign, take

Report = Callable[[str, int, int], None]
KEEP = "What has come so far is kept."
KEPT, COPIED, CACHED, DOWNLOADED, RESUMED = "kept", "copied", "cached", "downloaded", "resumed"


@dataclass(frozen=True)
class PulledFile:
    """A file of a pulled checkpoint: `how` is one of the words above."""

    name: str
    how: str
    record: FileRecord


@dataclass(frozen=True)
class Pulled:
    """What `pull` leaves behind."""

    source: Source
    folder: Path
    files: tuple[PulledFile, ...]


def pull(
    source: Source, models: Path, *, origin: str | None, accept: bool, report: Report
) -> Pulled:
    """Bring all files of a checkpoint into `MODELS/checkpoints/NAME`.

    Args:
        source: from `find_source`.
        models: the user's folder of models.
        origin: a folder or an address to take the files from; None: the hub's cache, else the
            public addresses.
        accept: the user acknowledges a licence that forbids commercial use.
        report: called with a file's name, bytes there, and bytes in all (0 if not known).

    Raises:
        AtriError: it could not be done. What has come is kept; the next call goes on from there.
    """
    with only_one(source.name, models):
        return _Pull(source, models / FOLDER, origin, report).run(accept)


@contextmanager
def only_one(name: str, models: Path) -> Iterator[None]:
    """Hold the only right to change a checkpoint for the length of the block.

    Raises:
        AtriError: another process holds it.
    """
    home = models / FOLDER
    with writing_to(home):
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(home / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not take(handle):
            raise AtriError(
                f"Another `atri models` is working at `{name}`.",
                why=holder(handle),
                hint="Type the command again when it has finished.",
            )
        sign(handle)
        yield
    finally:
        os.close(handle)


class _Pull:
    """One call of `pull`, with the right to do it."""

    def __init__(self, source: Source, home: Path, origin: str | None, report: Report) -> None:
        self.source = source
        self.folder = home / source.name
        self.staging = home / f".{source.name}.part"
        self.origin = origin
        self.report = report
        self.record = Record(source.name)

    def run(self, accept: bool) -> Pulled:
        known = read_record(self.staging) or read_record(self.folder) or self.record
        accepted = known.accepted or accept
        if not self.source.commercial and not accepted:
            raise _licence_first(self.source)
        self.record = Record(self.source.name, self.source.licence, accepted, known.files)
        with writing_to(self.staging):
            self.staging.mkdir(exist_ok=True)
        write_record(self.record, self.staging)
        files = tuple(self._file(file) for file in self.source.files)
        with writing_to(self.folder):
            self._install()
        return Pulled(self.source, self.folder, files)

    def _file(self, file: SourceFile) -> PulledFile:
        wanted = file.sha256 or self.record.digest(file.name)
        for folder in (self.folder, self.staging):
            if wanted and _has(folder / file.name, wanted):
                return self._note(file, KEPT, folder / file.name, wanted)
        how, fresh, digest = self._fetch(file, wanted)
        if wanted not in ("", digest):
            discard(fresh)
            raise self._differs(file, digest, wanted)
        done = self._note(file, how, fresh, digest)
        with writing_to(fresh):
            os.replace(fresh, self.staging / file.name)
        discard(fresh)
        return done

    def _note(self, file: SourceFile, how: str, place: Path, digest: str) -> PulledFile:
        entry = self.record.files.get(file.name)
        if how != KEPT or entry is None:
            with writing_to(place):
                length = place.stat().st_size
            entry = FileRecord(digest, length, self._address(file), bool(file.sha256))
            self.record = self.record.with_file(file.name, entry)
            write_record(self.record, self.staging)
        return PulledFile(file.name, how, entry)

    def _fetch(self, file: SourceFile, wanted: str) -> tuple[str, Path, str]:
        """How a file came, where it is now, and its SHA-256."""
        copy = self.staging / f"{file.name}.copy"
        tell = partial(self.report, file.name)
        if self.origin and not _is_address(self.origin):
            found = _in_folder(self.origin, self.source.name, file.name)
            with writing_to(copy):
                return COPIED, copy, copy_file(found, copy, tell)
        cached = find_cached(*file.on_hub) if file.on_hub and not self.origin else None
        if cached is not None:
            with writing_to(copy):
                digest = copy_file(cached, copy, tell)
            if all(right in ("", digest) for right in (wanted, blob_digest(cached))):
                return CACHED, copy, digest
            discard(copy)
        return self._download(file, tell)

    def _download(
        self, file: SourceFile, tell: Callable[[int, int], None]
    ) -> tuple[str, Path, str]:
        part = self.staging / f"{file.name}.part"
        if variable := offline():
            raise AtriError(
                f"`{file.name}` of `{self.source.name}` is not here, and nothing may be fetched.",
                why=f"`{variable}` is set.",
                hint=f"Unset it, or name a folder that has the file: `--from DIR`. {KEEP}",
            )
        arrived = download(self._address(file), part, tell)
        with writing_to(part):
            digest = file_sha256(part)
        if arrived.sha256 not in ("", digest):
            discard(part)
            raise self._differs(file, digest, arrived.sha256)
        return RESUMED if arrived.resumed else DOWNLOADED, part, digest

    def _address(self, file: SourceFile) -> str:
        if self.origin is None:
            return file.url
        if _is_address(self.origin):
            return f"{self.origin.rstrip('/')}/{quote(file.name)}"
        return self.origin

    def _differs(self, file: SourceFile, digest: str, wanted: str) -> ModelError:
        first = not file.sha256 and self.record.digest(file.name) == wanted
        should = "the first download had" if first else "it should have"
        hint = f"Type the same command again. {KEEP}"
        if first:
            hint = (
                f"If its publisher has changed it, `atri models remove {self.source.name}` "
                "forgets the old one; then pull again."
            )
        return ModelError(
            f"What came as `{file.name}` is not what was expected, and is not kept.",
            why=f"Its SHA-256 is {digest[:16]}…, and {should} {wanted[:16]}…: it was damaged on the"
            " way, or is another file.",
            hint=hint,
        )

    def _install(self) -> None:
        names = {file.name for file in self.source.files} | {RECORD}
        for stray in [path for path in self.staging.iterdir() if path.name not in names]:
            stray.unlink()
        if not self.folder.exists():
            self.staging.rename(self.folder)
            return
        # The record last: until then, it is the old one that goes with the old files.
        for path in sorted(self.staging.iterdir(), key=lambda path: path.name == RECORD):
            os.replace(path, self.folder / path.name)
        self.staging.rmdir()


def _has(path: Path, digest: str) -> bool:
    try:
        return file_sha256(path) == digest
    except OSError:
        return False


def _is_address(origin: str) -> bool:
    return origin.startswith(("http://", "https://"))


def _in_folder(origin: str, model: str, name: str) -> Path:
    folder = Path(origin).expanduser()
    for found in (folder / name, folder / model / name):
        if found.is_file():
            return found
    raise AtriError(
        f"`{folder}` has no `{name}`.",
        why=f"It was looked for there and in `{folder / model}`.",
        hint="The files must have the names that `atri models pull` lists.",
    )


def _licence_first(source: Source) -> AtriError:
    return AtriError(
        f"`{source.name}` may not be used commercially.",
        why=f"Its licence is {source.licence}: {source.terms}",
        hint="Read it, and if it allows what you want to do, type "
        f"`atri models pull {source.name} --accept-license`. It is asked once.",
    )


def check_origin(origin: str | None) -> None:
    """See that the value of `--from` is a folder or an address.

    Raises:
        UsageError: it is neither.
    """
    if origin is None or _is_address(origin) or Path(origin).expanduser().is_dir():
        return
    why = "Only http and https are known." if "://" in origin else "There is no such folder."
    raise UsageError(f"Cannot take files from `{origin}`.", why=why)
