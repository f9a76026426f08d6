"""Find the sound files below the roots: names and stats only, nothing is opened.

Hidden names (a leading dot), the junk of operating systems and what `.atriignore` names are
passed over in silence. Links to files are followed. A link to a folder is followed when it leads
outside all roots, for what lies inside them is found under its own name; each folder is
entered once, so loops end. What has a sound's name and is none (a pipe, a folder, a link to
nowhere) is reported with its reason.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from atri_cli.audio.formats import (
    EXTENSIONS,
    INSTALL_FORMATS,
    OPTIONAL_EXTENSIONS,
    has_optional,
)
from atri_cli.library.ignore import IGNORE_FILE, Rules, parse_rules
from atri_cli.library.types import Skipped

JUNK = frozenset(
    name.encode()
    for name in (
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "__macosx",
        "lost+found",
        "system volume information",
    )
)

SOUNDS = EXTENSIONS | OPTIONAL_EXTENSIONS


class Found(NamedTuple):
    """A sound file by name; `path` is relative to its root, os.fsencode, '/' separated."""

    root_id: int
    path: bytes
    size: int
    mtime_ns: int


@dataclass
class Scan:
    """What the walk saw.

    Args:
        files: sound files in a fixed order.
        skipped: names that cannot be indexed, with reasons.
        unknown: (root id, relative path) of files and folders that exist but could not be looked
            into: what the library holds of them must stay.
    """

    files: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unknown: set[tuple[int, bytes]] = field(default_factory=set)

    def may_hold(self, root_id: int, path: bytes) -> bool:
        """Whether a file that was not found may still be there."""
        while path:
            if (root_id, path) in self.unknown:
                return True
            path = path.rpartition(b"/")[0]
        return (root_id, b"") in self.unknown


def is_online(root: Path, expects_files: bool) -> bool:
    """Whether a root is there.

    A folder that cannot be listed is not. Nor is one without visible entries where the library
    `expects_files`: the mount point of an unplugged drive looks like that.
    """
    try:
        with os.scandir(os.fsencode(root)) as entries:
            return not expects_files or not all(_is_passed_over(entry.name) for entry in entries)
    except OSError:
        return False


def scan(roots: Sequence[tuple[int, Path]], other_roots: Sequence[Path] = ()) -> Scan:
    """Walk the roots, given as (id, path), in the order given.

    Args:
        roots: what to walk; no root may lie in another.
        other_roots: roots not walked now; links into them are not followed either.
    """
    every = [*(path for _, path in roots), *other_roots]
    walk = _Walk([os.path.realpath(os.fsencode(path)) for path in every])
    for root_id, path in roots:
        walk.root(root_id, os.fsencode(path))
    return walk.result


class _Walk:
    """One walk over all roots; remembers the folders it has entered."""

    def __init__(self, real_roots: list[bytes]) -> None:
        self.result = Scan()
        self.real_roots = real_roots
        self.entered: set[tuple[int, int]] = set()
        self.can_read_all = has_optional()

    def root(self, root_id: int, path: bytes) -> None:
        """Walk one root: its own folders first, then those its links lead to."""
        links: list[tuple[bytes, Rules]] = []
        self._tree(root_id, path, b"", Rules(), links)
        while links:
            relative, rules = links.pop(0)
            if self._leads_outside(os.path.join(path, relative)):
                self._tree(root_id, path, relative, rules, links)

    def _tree(
        self, root_id: int, base: bytes, top: bytes, rules: Rules, links: list[tuple[bytes, Rules]]
    ) -> None:
        pending = [(top, rules)]
        while pending:
            relative, above = pending.pop()
            folder = os.path.join(base, relative)
            try:
                if not self._enter(folder):
                    continue
                entries = _listing(folder)
            except OSError as error:
                self._cannot_read(root_id, relative, folder, error)
                continue
            here = self._rules(entries, relative, above)
            folders: list[tuple[bytes, Rules]] = []
            for entry, name in self._wanted(entries, relative, here):
                if _is_folder(entry):
                    self._note_folder_with_sound_name(entry)
                    (links if entry.is_symlink() else folders).append((name, here))
                else:
                    self._file(root_id, entry, name)
            pending.extend(reversed(folders))

    def _enter(self, folder: bytes) -> bool:
        facts = os.stat(folder)
        key = (facts.st_dev, facts.st_ino)
        new = key not in self.entered
        self.entered.add(key)
        return new

    def _leads_outside(self, link: bytes) -> bool:
        target = os.path.realpath(link) + b"/"
        return not any(target.startswith(root.rstrip(b"/") + b"/") for root in self.real_roots)

    def _rules(self, entries: list[os.DirEntry[bytes]], relative: bytes, above: Rules) -> Rules:
        for entry in entries:
            if entry.name == IGNORE_FILE.encode() and _kind(entry) == stat.S_IFREG:
                try:
                    text = Path(os.fsdecode(entry.path)).read_text("utf-8", "surrogateescape")
                except OSError as error:
                    self._skip(entry, "unreadable", error.strerror or str(error))
                    return above
                return parse_rules(text, os.fsdecode(relative), above)
        return above

    def _wanted(
        self, entries: list[os.DirEntry[bytes]], relative: bytes, rules: Rules
    ) -> Iterator[tuple[os.DirEntry[bytes], bytes]]:
        for entry in entries:
            if _is_passed_over(entry.name):
                continue
            name = relative + b"/" + entry.name if relative else entry.name
            is_folder = _is_folder(entry)
            if not is_folder and _extension(entry.name) not in SOUNDS:
                continue
            if not rules.ignores(os.fsdecode(name), is_folder):
                yield entry, name

    def _file(self, root_id: int, entry: os.DirEntry[bytes], name: bytes) -> None:
        try:
            facts = entry.stat()
        except OSError as error:
            self.result.unknown.add((root_id, name))
            if entry.is_symlink():
                self._skip(entry, "broken-link", "The link leads to no file.")
            else:
                self._skip(entry, "unreadable", error.strerror or str(error))
            return
        if not stat.S_ISREG(facts.st_mode):
            self._skip(entry, "not-a-file", "It is a pipe, a socket or a device.")
        elif not self.can_read_all and _extension(entry.name) not in EXTENSIONS:
            self.result.unknown.add((root_id, name))
            self._skip(entry, "needs-formats-extra", f"Reading it needs `{INSTALL_FORMATS}`.")
        else:
            self.result.files.append(Found(root_id, name, facts.st_size, facts.st_mtime_ns))

    def _note_folder_with_sound_name(self, entry: os.DirEntry[bytes]) -> None:
        if _extension(entry.name) in EXTENSIONS:
            self._skip(entry, "not-a-file", "It is a folder; the sounds inside it are indexed.")

    def _cannot_read(self, root_id: int, relative: bytes, folder: bytes, error: OSError) -> None:
        self.result.unknown.add((root_id, relative))
        path = Path(os.fsdecode(folder))
        self.result.skipped.append(Skipped(path, "unreadable", error.strerror or str(error)))

    def _skip(self, entry: os.DirEntry[bytes], reason: str, detail: str) -> None:
        self.result.skipped.append(Skipped(Path(os.fsdecode(entry.path)), reason, detail))


def _listing(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_passed_over(name: bytes) -> bool:
    return name.startswith(b".") or name.lower() in JUNK


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _kind(entry: os.DirEntry[bytes]) -> int:
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return 0


def _extension(name: bytes) -> str:
    return os.path.splitext(os.fsdecode(name))[1].lower().lstrip(".")
