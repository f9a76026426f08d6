"""The right answers of a query file: paths and globs, looked up in a library."""

from __future__ import annotations

import bisect
import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from atri_cli.errors import UsageError
from atri_cli.library.filtering import composed
from atri_cli.library.store import Store
from atri_cli.queryfile import QueryRow

ANY_FOLDERS = re.compile(r"(?:^|(?<=/))\*\*/")
WILD = re.compile(r"\*+|\?|\[!?+\]?+[^\]]*\]")
SHOWN = 5


@dataclass(frozen=True)
class Answers:
    """What is right.

    Args:
        files: for each row the ids of its right files, ascending; empty without `audio`.
        missing: (line, pattern, why) of the patterns that no searchable file matches.
    """

    files: tuple[tuple[int, ...], ...]
    missing: tuple[tuple[int, str, str], ...] = ()


def find_answers(store: Store, rows: Sequence[QueryRow]) -> Answers:
    """Look every `audio` pattern up: relative to any root, or absolute; `*` also crosses `/`.

    A name that is there as it is written counts as that file, whatever signs it has. `**/` is any
    number of folders, also none.
    """
    listed = store.rows(
        "SELECT f.id, r.path, f.path, f.status, f.reason FROM files f"
        " JOIN roots r ON r.id = f.root_id"
    )
    ready = _Names([(row[0], row[1], row[2]) for row in listed if row[3] == "ok"])
    skipped = _Names([(row[0], row[1], row[2]) for row in listed if row[3] != "ok"])
    reasons = {row[0]: str(row[4]) for row in listed if row[3] != "ok"}
    files: list[tuple[int, ...]] = []
    missing: list[tuple[int, str, str]] = []
    for row in rows:
        right: set[int] = set()
        for pattern in row.audio:
            found = ready.find(pattern)
            right.update(found)
            if not found:
                passed = skipped.find(pattern)
                why = f"skipped: {reasons[passed[0]] or 'not indexed yet'}" if passed else ""
                missing.append((row.line, pattern, why))
        files.append(tuple(sorted(right)))
    return Answers(tuple(files), tuple(missing))


def refuse_missing(path: Path, answers: Answers, column: int) -> None:
    """Complain of patterns that match nothing.

    Args:
        path: of the query file.
        answers: from `find_answers`.
        column: number of the column `audio`, from 1.

    Raises:
        UsageError: there are any; names the first few with line and column.
    """
    if not answers.missing:
        return
    (line, pattern, why), *others = answers.missing
    said = [f"It was {why}"] if why else []
    said += [f"line {n}: `{name}`" + (f" ({w})" if w else "") for n, name, w in others[: SHOWN - 1]]
    if len(others) >= SHOWN:
        said.append(f"and {len(others) - SHOWN + 1} more")
    what = "is in the library but cannot be found" if why else "matches no sound of the library"
    raise UsageError(
        f"`{path}`, line {line}, column {column}: `{pattern}` {what}.",
        why="; ".join(said),
        hint="Paths are relative to an indexed folder (`atri roots`); `--skip-missing` leaves out "
        "what is not there.",
    )


class _Names:
    """Files by name: relative to their root, and absolute."""

    def __init__(self, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        self._relative = _Sorted([(path, number) for number, _, path in rows])
        whole = [(os.path.join(root, path), number) for number, root, path in rows]
        self._absolute = _Sorted(whole)
        self._known: dict[str, tuple[int, ...]] = {}

    def find(self, pattern: str) -> tuple[int, ...]:
        """Ids of the files, ascending."""
        if pattern not in self._known:
            self._known[pattern] = self._find(composed(os.path.expanduser(pattern)))
        return self._known[pattern]

    def _find(self, pattern: str) -> tuple[int, ...]:
        # A relative glob must not match the names of the folders that a root lies in.
        names = self._absolute if os.path.isabs(pattern) else self._relative
        return tuple(sorted(names.named(pattern) or names.matching(pattern)))


class _Sorted:
    """Names in one long text, each between zeros, so that a part of one is found at once."""

    def __init__(self, rows: Sequence[tuple[bytes, int]]) -> None:
        pairs = sorted((composed(os.fsdecode(name)), number) for name, number in rows)
        self._names = [name for name, _ in pairs]
        self._ids = [number for _, number in pairs]
        self._text = "\0".join(["", *self._names, ""])
        self._starts = list(accumulate((len(name) + 1 for name in self._names), initial=0))
        self._count = cache(self._text.count)

    def named(self, name: str) -> set[int]:
        """Ids of the files that are called so."""
        low = bisect.bisect_left(self._names, name)
        return set(self._ids[low : bisect.bisect_right(self._names, name, low)])

    def matching(self, pattern: str) -> set[int]:
        """Ids of the files that a glob matches."""
        found: set[int] = set()
        if not WILD.search(pattern):
            return found
        glob = fnmatch.translate(ANY_FOLDERS.sub("\0", pattern))
        test = re.compile(glob.replace("\0", "(?:.*?/)??")).match
        # Only names with the rarest of the pattern's literal parts are compared.
        literal = WILD.split(f"\0{ANY_FOLDERS.sub('*', pattern)}\0")
        part = min((one for one in literal if one.strip("\0")), key=self._count, default="\0")
        start = self._text.find(part)
        while 0 <= start < len(self._text) - 1:
            place = bisect.bisect_right(self._starts, start) - 1
            if test(self._names[place]):
                found.add(self._ids[place])
            start = self._text.find(part, self._starts[place + 1])
        return found
